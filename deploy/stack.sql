-- wal_position: anything that needs a server that takes writes.
select pg_current_wal_lsn();
