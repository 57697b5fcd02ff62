-- relayed: read how far a relay is.
select coalesce(max(position), 0) from engine.leases where name = $1;
