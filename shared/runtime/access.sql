-- assign_role: note a role of an account on a contract, and its rights.
insert into access_roles (contract_id, account_id, role, may_assign_seats, event_id)
values ($1, $2, $3, $4, $5)
on conflict (contract_id, account_id, role) do update set may_assign_seats = excluded.may_assign_seats,
    event_id = excluded.event_id, revoked = null;

-- revoke_role: note which event revoked the role.
update access_roles set revoked = $4 where contract_id = $1 and account_id = $2 and role = $3;

-- schedule_agreement: note an agreement that begins later.
insert into access_agreements (contract_id, subscription_id, kind, phase, starts, event_id, time_zone)
values ($1, $2, $3, 'scheduled', $4, $5, $6)
on conflict do nothing;

-- start_agreement: note that an agreement runs.
insert into access_agreements (contract_id, subscription_id, kind, phase, event_id)
values ($1, $2, $3, 'running', $4)
on conflict (contract_id, subscription_id) do update set kind = excluded.kind, phase = excluded.phase,
    event_id = excluded.event_id;

-- end_agreement: note that an agreement has ended.
update access_agreements set phase = 'ended', event_id = $3 where contract_id = $1 and subscription_id = $2;

-- roles: list the roles that the account holds or held on a contract, in the order in which they were revoked.
select role, may_assign_seats, event_id, revoked from access_roles
where contract_id = $1 and account_id = $2
order by revoked;

-- agreements: list a contract's agreements, in the order of the last event about each.
select kind, phase, starts, event_id, time_zone from access_agreements
where contract_id = $1
order by event_id;
