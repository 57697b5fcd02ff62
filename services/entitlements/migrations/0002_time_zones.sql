-- The zone of the pool's dates: the order's. Pools from before count in UTC.
alter table pools add column time_zone text not null default 'UTC';
alter table pools add column begins_at timestamptz not null default '-infinity';  -- the first instant of the first term
update pools set begins_at = starts::timestamp at time zone 'UTC';

-- The zone of a scheduled agreement's first day.
alter table access_agreements add column time_zone text not null default 'UTC';
