-- moved: list the clocks that were moved after a change number.
select organisation_id, ahead_s, change from engine.clocks where change > $1 order by change;
