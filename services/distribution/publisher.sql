-- updates: list the updates of the publisher $6: of this status ($7), null for any, with the text $8 somewhere.
select update_id, product, kind, title, version, platform, severity, component, size_bytes, location, published_at, withdrawn,
    event_id
from updates
where publisher = $6 and ($7::text is null or ($7 = 'withdrawn') = (withdrawn is not null))
    and ($8 = '%%' or title ilike $8 or product ilike $8 or version ilike $8 or update_id ilike $8);
