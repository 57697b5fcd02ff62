-- contracts: list the contracts of a customer ($1) and publisher ($2), null for any, after $3, in the order of their
-- ids.
select contract_id, customer, publisher, programme, manager from contracts
where ($1::text is null or customer = $1) and ($2::text is null or publisher = $2 and $2 <> '') and contract_id > $3
order by contract_id limit $4;
