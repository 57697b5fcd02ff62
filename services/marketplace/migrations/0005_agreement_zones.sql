-- The zone of a scheduled agreement's first day.
alter table access_agreements add column time_zone text not null default 'UTC';
