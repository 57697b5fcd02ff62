"""What a page says first about what was done just before: its `?notice=`."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from services.console.texts import marked


class Notice(NamedTuple):
    """A sentence, and whether it is good news."""

    text: str
    good: bool = True


NOTICES: Final[Mapping[str, Notice]] = {
    # Sessions and the person's own account
    "ended": Notice(
        marked(
            "Your session has ended: you signed out elsewhere, your password or a role was changed, "
            "or it was too old. Sign in again."
        ),
        good=False,
    ),
    "needed": Notice(marked("Sign in to see this page."), good=False),
    "signed-out": Notice(marked("You are signed out.")),
    "everywhere": Notice(marked("You are signed out here and everywhere else.")),
    "password": Notice(marked("Your new password is set, and all sessions have ended. Sign in with it.")),
    "opened": Notice(marked("Your account is open. Sign in.")),
    "saved": Notice(marked("Your profile is saved.")),
    "verified": Notice(marked("Your e-mail address is confirmed.")),
    "sent": Notice(marked("The mail is on its way. It is sent at most once in five minutes.")),
}
