-- page: read a page of a list: in descending order if $1, from the start if $2, or else after the row with the value $3
-- of the column and the key $4, at most $5 rows. The list's own statement has parameters from $6 on.
with found as not materialized (
    {{list}}
)
(select * from found where not $1 and ($2 or ({column}, {key}) > ($3, $4)) order by {column}, {key} limit $5)
union all
(select * from found where $1 and ($2 or ({column}, {key}) < ($3, $4)) order by {column} desc, {key} desc limit $5);

-- keys: read the keys of a page's rows and the column of the order, as `page` reads whole rows.
with found as not materialized (
    {{list}}
)
(select {column}, {key} from found where not $1 and ($2 or ({column}, {key}) > ($3, $4)) order by {column}, {key} limit $5)
union all
(
    select {column}, {key} from found where $1 and ($2 or ({column}, {key}) < ($3, $4))
    order by {column} desc, {key} desc limit $5
);

-- planning: plan a list's statement for the values that it is asked with. A plan for any values reads the whole table for
-- each filter that is not given, and compiling a statement takes longer than it saves for a page.
set local plan_cache_mode = force_custom_plan;
set local jit = off;
