"""The operations server: the verbs of `tenure` over HTTP, for the operator's people.

See docs/adr/0068.
"""
