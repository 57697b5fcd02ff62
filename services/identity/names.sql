-- named: read the sealed names and addresses of those of these accounts ($4) that people of the organisation $1, of the kind
-- $2 and the publisher $3, may know by name.
select p.account_id, p.organisation_id, p.sealed_name, p.sealed_email
from people p
where p.account_id = any($4::text[]) and (
    p.organisation_id = $1
    or $2 = 'operator'
    or exists (
        select from supporting_partners s
        where (s.partner, s.customer) in (($1, p.organisation_id), (p.organisation_id, $1))
    )
    or $3 <> '' and exists (
        select from account_contracts a join contracts c using (contract_id)
        where a.account_id = p.account_id and c.publisher = $3
    )
)
order by p.account_id;
