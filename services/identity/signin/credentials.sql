-- replace: replace the given verifier.
update credentials set verifier = $2 where account_id = $1 and verifier = $3 returning true;

-- add: store the first verifier of an open account. The lock is on the row that erasing a person changes first, so that
-- no verifier is left of an account that closes at the same time.
insert into credentials (account_id, verifier)
select account_id, $2 from person_keys where account_id = $1 and key is not null for share
on conflict do nothing returning true;

-- store_first: store the verifier of an account that is being opened, if it has none.
insert into credentials (account_id, verifier) values ($1, $2) on conflict do nothing returning true;

-- verifier: read an account's verifier.
select verifier from credentials where account_id = $1;
