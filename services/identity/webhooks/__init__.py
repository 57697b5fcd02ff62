"""Webhooks: events sent to addresses of the people who asked for them, by Standard Webhooks.

Guarantees: every event that is wanted and may be seen is sent at least once, under its own id, and those of a stream in
their order. Nothing is sent to an address that is not public, unless a setting names its network.
Requires: the tables of webhooks, the topics of the services, and the log's sealer, under whose keys the secrets are.
"""
