-- moved: list the clocks that were moved after a change number.
select * from engine.clocks where change > $1 order by change;
