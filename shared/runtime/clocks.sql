-- carry_over: number a rebuilt table's changes after the live one's, so that readers of the live one see every row as
-- changed.
update {new}.clocks set change = change + (select coalesce(max(change), 0) from engine.clocks);

-- alone: let no other transaction number a change until this one has ended. Two consumers or workers of a rebuild would
-- otherwise take the same number.
lock table engine.clocks in share row exclusive mode;

-- move: set how far an organisation's clock is ahead.
insert into engine.clocks (organisation_id, ahead_s, change)
values ($1, $2, (select coalesce(max(change), 0) + 1 from engine.clocks))
on conflict (organisation_id) do update set ahead_s = excluded.ahead_s, change = excluded.change;
