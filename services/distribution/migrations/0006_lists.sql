-- The users of each rollout are counted for the list of rollouts, without reading their rows.
create index on rollout_targets (rollout_id, account_id) where removed is null;
