-- What foreign events said that a consumer reacted to, by the digest of their source and id: another event of that name
-- is no repeat. Their senders' records are in no store, so this is known of those since this table is there.
create table engine.inbound (
    consumer text collate "C" not null,
    identity bytea not null,
    content bytea not null,
    time timestamptz not null default clock_timestamp(),
    primary key (consumer, identity)
);
