-- people: list an organisation's people ($1), or one of them ($2), with their sealed names and addresses.
select account_id, sealed_name, sealed_email, administrator, founder, joined_at from people
where organisation_id = $1 and ($2 = '' or account_id = $2);

-- roles_of_people: list the roles that an organisation's people hold.
select r.account_id, r.contract_id, r.role, r.may_assign_seats
from people p join held_roles r using (account_id)
where p.organisation_id = $1 and ($2 = '' or p.account_id = $2) order by r.contract_id, r.role;

-- holds_role: check whether an account holds a role on any contract.
select exists (select from held_roles where account_id = $1);

-- role_requests: list an account's requests for roles ($6) with their answers; of a state ($7) and a contract ($8), "" for
-- any.
select request_id, contract_id, role, sealed_message, requested_at, state, answered_by, sealed_reason, answered_at,
    answer_id
from role_requests where account_id = $6 and $7 in ('', state) and $8 in ('', contract_id);
