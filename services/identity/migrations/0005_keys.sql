-- Of the keys that are not retired the one that signs is the newest whose time has come; all of them verify. A retired
-- key has no private half any more.
alter table signing_keys add column signs_from timestamptz;
update signing_keys set signs_from = created_at;
alter table signing_keys alter column signs_from set not null;
alter table signing_keys add column retired_at timestamptz;
alter table signing_keys alter column pem drop not null;
alter table signing_keys add check ((pem is null) = (retired_at is not null));
