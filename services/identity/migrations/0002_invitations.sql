-- The invitations of each organisation and of each inviter; what became of one, its stream says. Reactions write it, too,
-- so that whoever takes an inviter's right away overlooks none; the fold makes it anew.
create table invitations (
    invitation_id text primary key,
    organisation_id text not null,
    organisation_kind text not null,
    issued_by text not null
);
create index on invitations (organisation_id, invitation_id);
create index on invitations (issued_by);
