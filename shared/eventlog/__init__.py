"""The event-sourcing engine: decide, append, publish, consume, repair.

README.md beside this file states its guarantees. Its packages, from the lowest: `decision` (pure, and all that
`domain/` may import) and `migrate`; `write`; `deliver`; `repair`. Each imports only from those below it. None depends
on what the events are about.
"""
