-- person: count an account's events, and those with personal data; read its last event's type, and whether its key
-- exists.
select (select count(*) from log.events where stream = $1) as events,
    (select count(*) from log.events where data->>'account_id' = $2 and type = any($3)) as personal,
    (select count(*) from log.events) as looked,
    (select type from log.events where stream = $1 order by version desc limit 1) as last,
    exists (select from person_keys where account_id = $2 and key is not null) as readable;
