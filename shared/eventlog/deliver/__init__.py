"""The delivery side: publish appended events and pass them to consumers.

Consumers are projections, reactions and timers.

Guarantees: a topic may repeat an event but never skips or reorders one; each event takes effect once in each consumer,
in its stream's order; a record that cannot be applied is parked whole, and its partition goes on.

Requirements: the write side, and a Kafka with the topics that `deploy/topics.toml` declares.
"""
