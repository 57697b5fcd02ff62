-- of_event: read what became of the records of an event, by its source and id, the newest first.
select type, topic, partition, "offset", status, rule, reason, remedy, because, events, time
from engine.outcomes where source = $1 and id = $2 order by n desc limit $3;
