"""Ids of the rules by which the doors of the live edge refuse what programs ask."""

from typing import Final

from shared.rule_status import Rule

POSITION_NOT_KEPT: Final = Rule("position-not-kept", 410)
"""A topic has the events after the position that a subscriber goes on from."""
MACHINES_ONLY: Final = Rule("machines-only", 403)
"""Events are sent by a publisher's systems; its people act by routes, which name them in the log."""
UNREADABLE: Final = Rule("unreadable", 422)
"""A publisher's event is a CloudEvent, whose data the schema of its type for senders allows."""
UNKNOWN_TYPE: Final = Rule("unknown-type", 422)
"""A publisher's event is of a type that publishers send."""
REFUSED: Final = Rule("refused", 422)
"""A publisher's event is one that its publisher may send: its source is the publisher's, and it is about its things."""
