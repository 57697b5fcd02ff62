-- What became of each record of a publisher, noted with the checkpoint of the consumer that decides on it. A record that
-- waited, and was applied by an operator afterwards, has two.
create table engine.outcomes (
    n bigint generated always as identity primary key,
    source text collate "C" not null,   -- '' if the record may not be from there, or cannot be read
    id text collate "C" not null,
    type text not null,
    topic text not null,
    partition int not null,
    "offset" bigint not null,
    status text not null check (status in ('accepted', 'rejected', 'waiting')),
    rule text not null,
    reason text not null,
    remedy text not null,
    because json not null,
    events json not null,
    time timestamptz not null default clock_timestamp(),
    sent boolean not null default false,    -- whether it is on the topic of outcomes
    unique (topic, partition, "offset", status)
);
create index outcomes_of on engine.outcomes (source, id, n);
create index outcomes_unsent on engine.outcomes (topic, n) where not sent;
