-- "sales": what the list of a partner's carts is sorted and filtered by. The times are those at which the events were
-- stored; carts from before this migration have them after a rebuild.
alter table carts add column status text not null default 'open';     -- open | checked-out | discarded
alter table carts add column opened_at timestamptz not null default '1970-01-01T00:00Z';
alter table carts add column changed_at timestamptz not null default '1970-01-01T00:00Z';
update carts set status = 'checked-out' where checked_out is not null;
create index on carts (partner, status, changed_at);
