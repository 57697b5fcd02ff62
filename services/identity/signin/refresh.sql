-- begin: A session, for somebody whose verifier is still the one that was checked (null: no password was asked for).
insert into sessions (session_id, account_id, since, started, last_used, expires, tag, seed, current)
select $1, $2, $3, $4, $4, $5, $6, $7, $8
where $9::text is null
    or exists (select from credentials where account_id = $2 and verifier = $9 for share)
returning true;

-- prune: Those of an account that can't be used any more.
delete from sessions where account_id = $1 and (expires <= $2 or last_used <= $3);

-- locked: One session, for whoever rotates its token.
select session_id, account_id, since, last_used, expires, tag, seed, current, previous, rotated
from sessions where session_id = $1 for update;

-- rotate: Put the next token in the place of the current one.
update sessions set previous = current, current = $2, rotated = $3, last_used = $3 where session_id = $1;

-- listed: The sessions of an account, the newest first.
select session_id, since, started, last_used, expires from sessions
where account_id = $1 and expires > $2 and last_used > $3
order by started desc, session_id;
