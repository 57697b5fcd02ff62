-- What a snapshot has to be: the digest of its other columns and its stream. Those of before have none and are made anew.
alter table engine.snapshots add column digest bytea not null default '';
