-- An organisation's first account, which notifications are told the organisation's name from, is found by one probe.
create index on people (organisation_id, account_id);
drop index if exists people_organisation_id_idx;

-- The operator lists what an account was told without an inbox, too.
drop index if exists notifications_account_id_told_at_notification_id_idx;
create index on notifications (account_id, told_at, notification_id);
