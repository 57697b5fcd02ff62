-- use: note that an ID token repeated the nonce. Nothing comes back where another request has used it.
insert into used_nonces as u (nonce, used_by, expires_at) values ($1, $2, $3)
on conflict (nonce) do update set used_by = u.used_by where u.used_by = excluded.used_by
returning true;

-- used: whether another request has used it.
select exists (select from used_nonces where nonce = $1 and used_by <> $2);

-- prune: nonces that are out of time are refused without being known.
delete from used_nonces where expires_at < $1;
