-- The organisation that the stream belongs to, so that nobody else is told how far it is. Null: not noted yet.
alter table engine.seen add column tenant text collate "C";
