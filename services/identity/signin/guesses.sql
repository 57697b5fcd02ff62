-- hold: lock the counters of these subjects ($1) in a fixed order, after adding missing ones; $2 is now.
insert into password_guesses as held (subject, last_at)
select sha256(salt || convert_to(named, 'UTF8')), $2
from password_guess_salt, unnest($1::text[]) as named
order by 1
on conflict (subject) do update set subject = excluded.subject
returning
    subject, failures, last_at, known_until,
    subject = (select sha256(salt || convert_to(($1::text[])[1], 'UTF8')) from password_guess_salt) as of_pair;

-- count: add one guess to each of these counters ($1), which restart where $2 is true; $3 is now.
update password_guesses set failures = case when restarts then 1 else failures + 1 end, last_at = $3
from unnest($1::bytea[], $2::boolean[]) as counted (of_subject, restarts)
where subject = of_subject;

-- uncount: subtract a guess that was never checked from each of these counters ($1).
with held as (select subject from password_guesses where subject = any($1::bytea[]) order by subject for update)
update password_guesses set failures = greatest(failures - 1, 0) where subject in (select subject from held);

-- forgive: restart these counters ($1) after a right password; the pair ($2) is known until $3.
with held as (select subject from password_guesses where subject = any($1::bytea[]) order by subject for update)
update password_guesses
set failures = 0, known_until = case when subject = $2 then $3 else known_until end
where subject in (select subject from held);

-- pardon: restart the counter of the subject ($1).
update password_guesses set failures = 0
where subject = (select sha256(salt || convert_to($1, 'UTF8')) from password_guess_salt);

-- forget: delete the counters that have no effect any more at $1, one day after the last guess.
delete from password_guesses
where last_at < $1::timestamptz - interval '1 day' and (known_until is null or known_until < $1);
