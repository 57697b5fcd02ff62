-- Until when each invitation is valid, and what became of it, for the list of invitations.
alter table invitations add column expires_at timestamptz;  -- null until its event is folded
alter table invitations add column outcome text not null default '';  -- accepted | revoked | expired; "" while it is open
update invitations i set expires_at = (e.data ->> 'expires_at')::timestamptz
from log.events e where e.stream = 'invitation-' || i.invitation_id and e.type = 'InvitationIssued';
update invitations i set outcome = lower(substr(e.type, length('Invitation') + 1))
from log.events e where e.stream = 'invitation-' || i.invitation_id
    and e.type in ('InvitationAccepted', 'InvitationRevoked', 'InvitationExpired');
