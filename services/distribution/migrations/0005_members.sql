-- The members of a group, which lists of groups and policies show: without it each group looked through its contract's.
create index on fleet_members (contract_id, group_id, account_id);
