"""The write side: execute a command against its stream and append the events it decides on.

Guarantees: an acknowledged command is committed; a repeated command id gets its first answer; positions are dense and a
stream's versions have no gap; two commands never append to the same version of a stream.

Requirements: a database that `shared.eventlog.migrate` has prepared, or the store in `memory`; deciders declared with
`shared.eventlog.decision`. This package does not depend on Kafka.
"""
