-- invitations: list the invitations into an organisation ($6), or, if $7 is true, also those into any publisher's and the
-- operator's organisations: those of this state ($8) at this time ($9) and by this account ($10), null for any.
select *
from (
    select invitation_id, organisation_id, organisation_kind, issued_by,
        coalesce(expires_at, '9000-01-01T00:00Z') as by_expires_at,
        case when outcome <> '' then outcome when expires_at <= $9 then 'expired' else 'pending' end as state
    from invitations
    where organisation_id = $6 or ($7 and organisation_kind in ('publisher', 'operator'))
) as invitations
where ($8::text is null or state = $8) and ($10::text is null or issued_by = $10);
