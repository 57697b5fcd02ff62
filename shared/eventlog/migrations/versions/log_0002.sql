-- The schema `log` is the event log: what is in it is written by log.append alone. The schema `engine` is what consumers,
-- relay, timers, rebuilds and snapshots keep, and what a service's processes write as they go.
create schema engine;

alter table log.leases set schema engine;
alter table log.checkpoints set schema engine;
alter table log.seen set schema engine;
alter table log.parked set schema engine;
alter table log.settled set schema engine;
alter table log.clocks set schema engine;
alter table log.timers set schema engine;
alter table log.rebuilds set schema engine;
alter table log.scratches set schema engine;
alter table log.snapshots set schema engine;
alter function log.refused(text) set schema engine;
