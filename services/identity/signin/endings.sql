-- recent: What ended sessions after a position, and how far the log is.
select head.position as head, event.position, event.type, event.data::text, event.time
from log.head
left join log.events event
    on event.position > $1 and event.type = any($2::text[]) and event.time > now() - $3::interval
order by event.position;
