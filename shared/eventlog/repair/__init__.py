"""The operators' side: verify a log, restore it, rebuild tables, retry what was parked.

Promises: a topic and its store are compared before either is trusted; every repair has a dry run, may be stopped and
repeated, and leaves an event of its own in the log.

Needs: the write and the delivery side, and the rights of the operator for what changes a store.
"""
