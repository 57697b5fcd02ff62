"""The write side: execute a command against its stream and append what it decided.

Promises: what was acknowledged is committed; a repeated command id gets its first answer; positions are dense and a
stream's versions have no gap; two commands on one stream never both append on the same version.

Needs: a database that `shared.eventlog.migrate` has prepared, or the twin in `memory`; decisions declared with
`shared.eventlog.decision`. Knows nothing of Kafka.
"""
