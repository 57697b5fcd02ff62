-- lock: Whoever changes the keys, or makes the first, does it alone.
lock table signing_keys in exclusive mode;

-- listed: All keys that there ever were, the one that signs last at the end.
select kid, pem, created_at, signs_from, retired_at from signing_keys order by signs_from, created_at;

-- add: A key that signs from a time on.
insert into signing_keys (kid, pem, signs_from) values ($1, $2, $3);

-- sign_now: A key that is not retired signs at once.
update signing_keys set signs_from = now() where kid = $1 and retired_at is null;

-- retire: A key is withdrawn, and its private half erased.
update signing_keys set pem = null, retired_at = now() where kid = $1 and retired_at is null;
