-- Private: mails that are to be sent, or were. A row says why (the event, or that somebody asked for it) and about whom;
-- the address is in the log, under the person's key, and the token is signed when the mail is sent. Only of a mail to an
-- address that has no account the address is here, until it is sent. `digest` tells one address from another.
create table outbox (
    id bigint generated always as identity primary key,
    event_id text not null,
    kind text not null check (kind in ('verify-address', 'invitation', 'prove-address')),
    about text not null,
    digest text not null,
    address text,
    state text not null default 'waiting' check (state in ('waiting', 'sent', 'parked', 'dropped')),
    reason text not null default '',
    tries integer not null default 0,
    due timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default clock_timestamp(),
    changed_at timestamptz not null default clock_timestamp(),
    unique (event_id, kind)
);
create index on outbox (due, id) where state = 'waiting';
create index on outbox (about);
create index on outbox (changed_at) where state in ('sent', 'dropped');

-- Private: up to which position of the log no mail follows by itself, since the database was restored there.
create table outbox_muted (
    until bigint not null
);

-- Private: nonces that an ID token has repeated, until they are out of time. `used_by` may repeat its request.
create table used_nonces (
    nonce bytea primary key,
    used_by text not null,
    expires_at timestamptz not null
);
create index on used_nonces (expires_at);

-- Erases the fingerprint of the request that issued an invitation, as an address could be guessed and compared.
create function log.erase_invitation_fingerprint(invitation_stream text) returns void
language sql security definer
set search_path = log, pg_temp
begin atomic
    update log.commands c set fingerprint = '' where c.id in (
        select e.causation_id from log.events e where e.stream = invitation_stream and e.type = 'InvitationIssued');
end;
