-- recent: list the ends of sessions after the position $1, and the log's head.
select head.position as head, event.position, event.type, event.data::text, event.time
from log.head
left join log.events event
    on event.position > $1 and event.type = any($2::text[]) and event.time > now() - $3::interval
order by event.position;
