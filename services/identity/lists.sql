-- places: list the people of an organisation ($1) who hold this role ($2), null for any, on this contract ($3), "" for any;
-- everybody if neither is given.
select account_id, sealed_name, sealed_email, joined_at from people p
where organisation_id = $1 and (
    $2::text is null and $3 = '' or exists (
        select from held_roles r
        where r.account_id = p.account_id and ($2::text is null or r.role = $2) and $3 in ('', r.contract_id)
    )
);

-- people: list these people ($2) of an organisation ($1), with their sealed names and addresses.
select account_id, sealed_name, sealed_email, administrator, founder, joined_at from people
where organisation_id = $1 and account_id = any($2::text[]);

-- roles_of_people: list the roles that these people hold.
select account_id, contract_id, role, may_assign_seats from held_roles
where account_id = any($1::text[]) order by contract_id, role;

-- holds_role: check whether an account holds a role on any contract.
select exists (select from held_roles where account_id = $1);

-- role_requests: list an account's requests for roles ($6) with their answers; of a state ($7) and a contract ($8), "" for
-- any.
select request_id, contract_id, role, sealed_message, requested_at, state, answered_by, sealed_reason, answered_at,
    answer_id
from role_requests where account_id = $6 and $7 in ('', state) and $8 in ('', contract_id);
