-- erase_fingerprints: erase the fingerprints of the person's commands, because a name or an address could be guessed and
-- compared. Closing the account stays repeatable; other commands that are repeated are refused as a reused key.
select log.erase_fingerprints($1, $2);

-- erase_invitation_fingerprint: erase the fingerprint of the command that issued the invitation.
select log.erase_invitation_fingerprint($1);

-- erase_key: erase the person's key; its row stays, so that no other key is created.
insert into person_keys (account_id, key, erased_at) values ($1, null, now())
on conflict (account_id) do update set key = null, erased_at = now() where person_keys.key is not null;

-- is_closing: check that the log has exactly this event, and that it closed an account.
select true from log.events where stream = $1 and version = $2 and hash = $3 and type = 'AccountClosed';

-- add_keys: store the keys of people who have none.
insert into person_keys (account_id, key) select * from unnest($1::text[], $2::bytea[]) on conflict do nothing;

-- keys: read the keys of these people; null where one was erased.
select account_id, key from person_keys where account_id = any($1::text[]);

-- forget_verifier: delete the verifier of the account's password.
delete from credentials where account_id = $1;

-- forget_sessions: delete the account's sessions.
delete from sessions where account_id = $1;
