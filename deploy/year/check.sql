-- credits: read what is left of each contract's credits, by its grants and by its ledger.
select contract_id, sum(remaining)::bigint as left, (
    select coalesce(sum(amount), 0)::bigint from credit_entries e where e.contract_id = l.contract_id
) as ledger from credit_lots l group by contract_id;
