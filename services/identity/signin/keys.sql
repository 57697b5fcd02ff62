-- lock: exclude other changes of the keys, and the creation of the first one.
lock table signing_keys in exclusive mode;

-- listed: list all keys, retired ones too, in the order in which they sign.
select kid, pem, created_at, signs_from, retired_at from signing_keys order by signs_from, created_at;

-- add: add a key that signs from $3 on.
insert into signing_keys (kid, pem, signs_from) values ($1, $2, $3);

-- sign_now: let a key sign at once, unless it is retired.
update signing_keys set signs_from = now() where kid = $1 and retired_at is null;

-- retire: retire a key and erase its private key.
update signing_keys set pem = null, retired_at = now() where kid = $1 and retired_at is null;
