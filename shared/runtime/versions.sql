-- version: find the version of one of the service's own streams ($1) that all of its projections ($2) have folded.
select min(version) from engine.seen where stream = $1 and consumer = any($2::text[])
having count(*) = cardinality($2::text[]);
