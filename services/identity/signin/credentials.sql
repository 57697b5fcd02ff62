-- replace: put the verifier in the place of the one that is known.
update credentials set verifier = $2 where account_id = $1 and verifier = $3 returning true;

-- add: store the first verifier of an account that is open. The lock is on what erasing a person changes first: of an
-- account that closes meanwhile no verifier is left.
insert into credentials (account_id, verifier)
select account_id, $2 from person_keys where account_id = $1 and key is not null for share
on conflict do nothing returning true;

-- keep: store the verifier of an account that is being opened; the first one stays.
insert into credentials (account_id, verifier) values ($1, $2) on conflict do nothing returning true;

-- verifier: read an account's verifier.
select verifier from credentials where account_id = $1;
