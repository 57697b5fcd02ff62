-- Links to set a new password are mailed, too.
alter table outbox drop constraint outbox_kind_check;
alter table outbox add constraint outbox_kind_check
    check (kind in ('verify-address', 'invitation', 'prove-address', 'reset-password'));
