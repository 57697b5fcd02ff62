-- carry_over: copy the rows that routes added into the tables of a rebuild ({new}).
insert into {new}.account_contracts (account_id, contract_id)
select account_id, contract_id from public.account_contracts on conflict do nothing;
insert into {new}.invitations (invitation_id, organisation_id, organisation_kind, issued_by, expires_at)
select invitation_id, organisation_id, organisation_kind, issued_by, expires_at from public.invitations
on conflict do nothing;

-- add_contract: add a contract.
insert into contracts (contract_id, customer, publisher, programme) values ($1, $2, $3, $4);

-- set_manager: set the contract's Contract Manager.
update contracts set manager = $2 where contract_id = $1;

-- involve: record that the account may have a role on the contract.
insert into account_contracts (account_id, contract_id) values ($1, $2) on conflict do nothing;

-- add_machine: add a machine account.
insert into machines (client_id, organisation_id, registered_by, acts_for) values ($1, $2, $3, $4);

-- machines: list an organisation's machine accounts; with an account ($2), only those that it registered or that act for
-- it.
select client_id from machines where organisation_id = $1 and ($2 = '' or $2 in (registered_by, acts_for));

-- add_webhook: add a webhook.
insert into webhooks (webhook_id, organisation_id, account_id) values ($1, $2, $3);

-- end_webhook: set that a webhook has ended.
update webhooks set ended = true where webhook_id = $1;

-- webhooks: list an organisation's webhooks, of the operator ('') all; with an account ($2), only its own.
select webhook_id from webhooks where $1 in ('', organisation_id) and $2 in ('', account_id) order by 1;

-- running_webhooks: list the webhooks that have not ended.
select webhook_id from webhooks where not ended order by 1;

-- add_invitation: add an invitation, once.
insert into invitations (invitation_id, organisation_id, organisation_kind, issued_by, expires_at)
values ($1, $2, $3, $4, $5)
on conflict do nothing;

-- settle_invitation: set what became of the invitation.
update invitations set outcome = $2 where invitation_id = $1;

-- invitations_by: list the invitations that the account issued.
select invitation_id from invitations where issued_by = $1 order by 1;

-- contracts_of: list the contracts on which the account may have a role.
select contract_id from account_contracts where account_id = $1 order by 1;

-- add_person: add a person with a sealed name and address.
insert into people (account_id, organisation_id, sealed_name, sealed_email, founder, joined_at)
values ($1, $2, $3, $4, $5, $6);

-- update_person: set a person's sealed name and address.
update people set sealed_name = $2, sealed_email = $3 where account_id = $1;

-- release_address: note that a person has no address.
update people set sealed_email = '' where account_id = $1;

-- set_administrator: note whether a person has the right to manage people.
update people set administrator = $2 where account_id = $1;

-- remove_person: remove a closed account.
delete from people where account_id = $1;

-- add_request: add a request for a role.
insert into role_requests (request_id, contract_id, account_id, role, sealed_message, requested_at)
values ($1, $2, $3, $4, $5, $6);

-- answer_requests: note the answer to an account's waiting requests for these roles on a contract.
update role_requests
set state = $4, answered_by = $5, sealed_reason = $6, answered_at = $7, answer_id = $8
where contract_id = $1 and account_id = $2 and role = any($3::text[]) and state = 'waiting';

-- give_role: note a role of an account on a contract, and its rights.
insert into held_roles (contract_id, account_id, role, may_assign_seats) values ($1, $2, $3, $4)
on conflict (contract_id, account_id, role) do update set may_assign_seats = excluded.may_assign_seats;

-- take_role: note that an account lost a role on a contract.
delete from held_roles where contract_id = $1 and account_id = $2 and role = $3;

-- set_partner: record whether the customer has engaged the partner.
insert into supporting_partners (customer, partner, engaged) values ($1, $2, $3)
on conflict (customer, partner) do update set engaged = excluded.engaged;

-- add_partner: record that the partner orders for the customer, unless more is known.
insert into supporting_partners (customer, partner, engaged) values ($1, $2, true) on conflict do nothing;

-- engaged: tell whether the customer has engaged the partner, null if it never has.
select engaged from supporting_partners where customer = $1 and partner = $2;
