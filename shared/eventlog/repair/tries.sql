-- unfence: allow appends again, if a restore or this service's guard has fenced the log.
update log.head set fenced = null where starts_with(fenced, $1) or starts_with(fenced, $2);

-- position: read the position of the last event.
select position from log.head;

-- fence: refuse all appends, for a reason.
update log.head set fenced = $1;
