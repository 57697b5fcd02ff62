-- holder: find the stream that holds one of these unique names.
select stream from log.claims where key = any($1::text[]);
