-- hold: the counters of these subjects ($1), made where there are none, locked in one order; $2 is now.
insert into password_guesses as held (subject, last_at)
select sha256(salt || convert_to(named, 'UTF8')), $2
from password_guess_salt, unnest($1::text[]) as named
order by 1
on conflict (subject) do update set subject = excluded.subject
returning
    subject, failures, last_at, known_until,
    subject = (select sha256(salt || convert_to(($1::text[])[1], 'UTF8')) from password_guess_salt) as of_pair;

-- count: one more guess of each of these ($1), which began again where $2 says so; $3 is now.
update password_guesses set failures = case when begins_anew then 1 else failures + 1 end, last_at = $3
from unnest($1::bytea[], $2::boolean[]) as counted (of_subject, begins_anew)
where subject = of_subject;

-- uncount: those guesses ($1) were never compared.
with held as (select subject from password_guesses where subject = any($1::bytea[]) order by subject for update)
update password_guesses set failures = greatest(failures - 1, 0) where subject in (select subject from held);

-- forgive: the password was right, so that these ($1) begin anew, and the pair ($2) is known until $3.
with held as (select subject from password_guesses where subject = any($1::bytea[]) order by subject for update)
update password_guesses
set failures = 0, known_until = case when subject = $2 then $3 else known_until end
where subject in (select subject from held);

-- pardon: the subject ($1) begins anew.
update password_guesses set failures = 0
where subject = (select sha256(salt || convert_to($1, 'UTF8')) from password_guess_salt);

-- forget: those that nothing depends on any more at $1, one day after the last guess.
delete from password_guesses
where last_at < $1::timestamptz - interval '1 day' and (known_until is null or known_until < $1);
