-- The partners that support a customer, by marketplace's events. A released partner supports what it ordered.
create table supporting_partners (
    customer text not null,
    partner text not null,
    engaged boolean not null,
    primary key (customer, partner)
);
