-- The refusals of an account's commands, and of all commands, in the order of time. A command's id begins with the
-- account that sent it; that of a reaction or a timer begins with its name.
create index commands_refused_of on log.commands (split_part(id, ':', 1), time, id) where refusal is not null;
create index commands_refused on log.commands (time, id) where refusal is not null;

-- What a route refused before a decider was asked, such as for want of a role. The command's id is free: sent again, the
-- command is decided again, and its latest refusal stays here.
create table engine.refusals (
    id text collate "C" primary key,
    request text not null,      -- method and path
    refusal json not null,      -- as in log.commands
    time timestamptz not null
);
create index refusals_of on engine.refusals (split_part(id, ':', 1), time, id);
create index refusals_all on engine.refusals (time, id);
