-- closed: list the accounts that the log has closed.
select distinct data ->> 'account_id' as account_id from log.events where type = 'AccountClosed';

-- settled_invitations: list the invitations that have an event of these types.
select distinct data ->> 'invitation_id' as invitation_id from log.events where type = any($1::text[]);

-- number_mails_on: set the sequence of mail numbers behind all existing mails; a table that was loaded from a backup may
-- have higher numbers than its sequence.
select setval(
    pg_get_serial_sequence('outbox', 'id'),
    greatest((select max(id) from outbox), pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')::regclass), 1)
);

-- end_sessions: delete all sessions.
delete from sessions;

-- missing: count how many opened accounts have no key, and how many with a key have no password.
select count(*) filter (where k.account_id is null),
    count(*) filter (where c.account_id is null and k.key is not null)
from (select distinct data ->> 'account_id' as account_id from log.events where type = 'AccountOpened') a
left join person_keys k using (account_id) left join credentials c using (account_id);

-- unsigned_webhooks: count the webhooks that have not ended and have no secret.
select count(*) from (
    select data ->> 'webhook_id' from log.events where type = 'WebhookRegistered'
    except select data ->> 'webhook_id' from log.events where type = 'WebhookEnded'
    except select webhook_id from webhook_secrets
) as unsigned;

-- signing_keys: count the signing keys.
select count(*) from signing_keys;
