-- "sales": what the list of carts is searched by, which reading each line's plan would be slow for. In lower case.
alter table cart_lines add column search text not null
    generated always as (lower(coalesce(plan ->> 'product_id', '') || E'\n' || coalesce(plan ->> 'product_name', ''))) stored;
