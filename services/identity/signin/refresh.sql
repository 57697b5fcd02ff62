-- begin: add a session, if the verifier that was checked ($9, null without a password) is still the account's.
insert into sessions (session_id, account_id, since, started, last_used, expires, tag, seed, current)
select $1, $2, $3, $4, $4, $5, $6, $7, $8
where $9::text is null
    or exists (select from credentials where account_id = $2 and verifier = $9 for share)
returning true;

-- prune: delete an account's expired sessions.
delete from sessions where account_id = $1 and (expires <= $2 or last_used <= $3);

-- locked: read and lock a session, to rotate its token.
select session_id, account_id, since, last_used, expires, tag, seed, current, previous, rotated
from sessions where session_id = $1 for update;

-- rotate: replace the current token by the next.
update sessions set previous = current, current = $2, rotated = $3, last_used = $3 where session_id = $1;

-- listed: list the sessions of an account that have not expired, the newest first.
select session_id, since, started, last_used, expires from sessions
where account_id = $1 and expires > $2 and last_used > $3
order by started desc, session_id;
