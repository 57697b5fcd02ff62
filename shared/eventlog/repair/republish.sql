-- hashes: read the hashes of all events, in order.
select hash from log.events order by position;

-- relayed: read how far a relay is.
select position from engine.leases where name = $1;

-- move_relay: set how far a relay is, as the owner of its lease.
update engine.leases set position = $2 where name = $1 and token = $3;

-- chain: read the chain over all events.
select chain from log.head;

-- offsets: list how far the consumers are.
select consumer, topic, partition, "offset" from engine.checkpoints where "offset" >= 0;
