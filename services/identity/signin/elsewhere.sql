-- use: record that the request $2 has used the nonce; no row is returned if another request has used it.
insert into used_nonces as u (nonce, used_by, expires_at) values ($1, $2, $3)
on conflict (nonce) do update set used_by = u.used_by where u.used_by = excluded.used_by
returning true;

-- used: check whether another request has used the nonce.
select exists (select from used_nonces where nonce = $1 and used_by <> $2);

-- prune: delete expired nonces, which are refused without a row.
delete from used_nonces where expires_at < $1;
