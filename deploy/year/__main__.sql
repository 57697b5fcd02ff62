-- left: count what is on its way: events to be published, timers that are due, parked records.
select (select position from log.head)
    - coalesce((select max(position) from engine.leases where name like 'relay:%'), 0) as unpublished,
(select count(*) from engine.timers t left join engine.clocks c on c.organisation_id = t.customer
    where t.due <= now() + coalesce(c.ahead_s, 0) * interval '1 s') as due,
(select count(*) from engine.parked) as parked;

-- head: read the position of the last event.
select position from log.head;
