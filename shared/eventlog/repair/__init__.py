"""Operators' repairs: verify and restore logs, rebuild projections, retry parked records.

Guarantees: a topic and its store are compared before either is trusted; every repair has a dry run, may be stopped and
repeated, and leaves an event of its own in the log.

Requires: the write and the delivery side, and the operator's database rights for every repair that changes a store.
"""
