"""The delivery side: publish what was appended, and feed it to projections, reactions and timers.

Promises: a topic may repeat an event but never skips or reorders one; each event's effect happens once in each
consumer, in its stream's order; a record that can't be applied is parked whole, and its partition goes on.

Needs: the write side, and a Kafka whose topics are declared in `deploy/topics.toml`.
"""
