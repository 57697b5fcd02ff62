-- By its hash a consumer knows an event again: a repeat is byte for byte what was dealt with, and the next event continues
-- it. Null: noted before hashes were kept; the next event is believed.
alter table engine.seen add column hash bytea;

-- The events of other services' streams that this service's consumers have dealt with. Its own are in log.events.
create table engine.hashes (
    stream text collate "C" not null,
    version integer not null,
    hash bytea not null,
    primary key (stream, version)
);

-- What an operator has changed has the hash of what it was.
alter table engine.parked add column edited boolean not null default false;
update engine.parked p set edited = true where exists (
    select from engine.settled s
    where (s.consumer, s.topic, s.partition, s."offset") = (p.consumer, p.topic, p.partition, p."offset")
    and s.outcome = 'edited'
);
create index on engine.settled (consumer, topic, partition, "offset");
