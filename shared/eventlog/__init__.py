"""The engine: decide, append, publish, consume, repair. README.md beside this file has its guarantees.

Rooms, from the lowest: `decision` (pure, all that `domain/` may import) and `migrate`; `write`; `deliver`; `repair`.
Each imports only from those below it, and none knows what the events are about.
"""
