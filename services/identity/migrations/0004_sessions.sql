-- Private: the sessions of people. That one has ended is not written here: it follows from the log. Of tokens only their
-- SHA-256 is kept. `tag` tells a token that was good once from a guess; `seed` makes the successor of a token, so that
-- whoever asks twice with the same one, because the answer was lost, gets the same answer.
create table sessions (
    session_id text primary key,
    account_id text not null,
    since bigint not null,           -- the position of the log at which it began
    started timestamptz not null,
    last_used timestamptz not null,
    expires timestamptz not null,
    tag bytea not null check (length(tag) = 32),
    seed bytea not null check (length(seed) = 32),
    current bytea not null check (length(current) = 32),
    previous bytea check (length(previous) = 32),
    rotated timestamptz
);
create index on sessions (account_id);
