-- standing: how far a store and its relay are, why the store takes no commands, whether a restore runs now, and whether
-- it has the relay's lease, which a topic's restore publishes with.
select h.position, h.fenced, coalesce(r.position, 0) as relayed, ({{runs}}) as runs,
    coalesce(r.owner = $1, false) as has_lease
from log.head h left join engine.leases r on r.name like 'relay:%';
