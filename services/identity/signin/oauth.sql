-- rotation: find which of the machine account's secrets this is the digest of.
select rotation from machine_secrets where client_id = $1 and digest = $2;
