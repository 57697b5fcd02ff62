-- rotation: find the rotation of the machine account's secret with this digest.
select rotation from machine_secrets where client_id = $1 and digest = $2;
