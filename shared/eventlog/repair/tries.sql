-- unfence: let appends go on, if a restore or this service has ended them.
update log.head set fenced = null where starts_with(fenced, $1) or starts_with(fenced, $2);

-- position: read the position of the last event.
select position from log.head;

-- fence: end all appends, for a reason.
update log.head set fenced = $1;
