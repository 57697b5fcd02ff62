-- has_log: tell whether the database has a log; null if it has none.
select to_regclass('log.head');

-- fenced: read why the log takes no events, if it takes none.
select fenced from log.head;

-- has_checkpoints: tell whether the database has checkpoints; null if it has none.
select to_regclass('engine.checkpoints');
