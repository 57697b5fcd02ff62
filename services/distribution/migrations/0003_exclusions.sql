create table rollout_exclusions (
    rollout_id text not null,
    account_id text not null,
    machine text not null,  -- empty for the user
    reason text not null,
    excluded_by text not null,
    primary key (rollout_id, account_id, machine)
);
