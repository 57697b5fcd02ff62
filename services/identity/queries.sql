-- contracts: list the contracts of a customer ($6) and publisher ($7), of this programme ($8) and Contract Manager ($9),
-- null for any, with the text $10 somewhere.
select contract_id, customer, publisher, programme, manager from contracts
where ($6::text is null or customer = $6) and ($7::text is null or publisher = $7 and $7 <> '')
    and ($8::text is null or programme = $8) and ($9::text is null or manager = $9)
    and ($10 = '%%' or contract_id ilike $10 or programme ilike $10 or publisher ilike $10);
