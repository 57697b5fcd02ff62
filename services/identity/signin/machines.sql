-- keep_secret: store the digest of a machine account's secret, once for each rotation.
insert into machine_secrets (client_id, rotation, digest) values ($1, $2, $3)
on conflict do nothing returning true;
