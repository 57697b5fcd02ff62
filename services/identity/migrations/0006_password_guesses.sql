-- Private, not folded from events, and not worth a restore: how often somebody guessed a password. A subject is the salted
-- digest of an e-mail address, or of an address and the network that the guesses came from.
create unlogged table password_guesses (
    subject bytea primary key,
    failures integer not null default 0,
    last_at timestamptz not null,  -- the last guess that was compared
    known_until timestamptz  -- the right password came from this network: until then it is a known one
);
create index on password_guesses (last_at);

create table password_guess_salt (salt bytea not null);
insert into password_guess_salt values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
