"""The words of the verbs, their parameters, their subjects and their sentences.

A verb without words here has the server's.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from markupsafe import Markup, escape

from services.console.shapes.operating import Counted, Moment, Sentence
from services.console.texts import Texts, marked


class Subject(NamedTuple):
    """Verbs about one thing, and the pages that there are about it already."""

    title: str
    verbs: Sequence[str]
    pages: Sequence[tuple[str, str]] = ()


SUBJECTS: Final = (
    Subject(
        marked("The whole system"),
        ("status", "verify", "topics"),
        (
            ("/operator/now", marked("What the system does now")),
            ("/operator/operate/restores", marked("What is being restored")),
        ),
    ),
    Subject(
        marked("Parked records"),
        ("parked-retry", "parked-drop", "parked-ls"),
        (("/operator/operate/parked", marked("Find, mend and retry them")),),
    ),
    Subject(marked("Projections"), ("rebuild", "as-of", "step")),
    Subject(
        marked("Consumers"),
        ("checkpoint-ls", "checkpoint-set", "checkpoint-skip", "checkpoint-stream"),
    ),
    Subject(marked("Lost stores and topics"), ("restore-store", "restore-topic", "reconcile")),
    Subject(
        marked("Events"),
        ("replay", "stream-show", "why"),
        (("/operator/streams", marked("Find streams")),),
    ),
    Subject(marked("Time"), ("timers", "clock-show")),
    Subject(
        marked("Keys and people"),
        ("keys-list", "keys-rotate", "keys-retire", "erase"),
        (("/machines", marked("Machines")),),
    ),
    Subject(
        marked("Mails and refusals"),
        ("mail-ls", "mail-retry", "mail-drop", "mail-notifications"),
        (("/operator/mails", marked("What people were told")), ("/refusals", marked("What was refused"))),
    ),
    Subject(
        marked("Webhooks"),
        ("webhook-ls", "webhook-show", "webhook-pause", "webhook-resume", "webhook-replay"),
        (("/webhooks", marked("All webhooks")),),
    ),
    Subject(marked("More"), ()),
)
"""In the order of the page. A verb that none names is in the subject of its group, or in the last one."""
OF_GROUP: Final[Mapping[str, str]] = {"webhook": SUBJECTS[-2].title}
TITLES: Final[Mapping[str, str]] = {
    "as-of": marked("A projection as of a moment"),
    "checkpoint-ls": marked("Show checkpoints"),
    "checkpoint-set": marked("Move a checkpoint"),
    "checkpoint-skip": marked("Skip the next record"),
    "checkpoint-stream": marked("Set the version of a stream"),
    "clock-show": marked("Clocks of sandboxes"),
    "erase": marked("Erase a person's data"),
    "keys-list": marked("Signing keys"),
    "keys-retire": marked("Retire a signing key"),
    "keys-rotate": marked("Make a new signing key"),
    "mail-drop": marked("Give mails up"),
    "mail-ls": marked("Mails that wait or failed"),
    "mail-notifications": marked("Notifications and their mails"),
    "mail-retry": marked("Send mails again"),
    "now": marked("What the system does now"),
    "parked-drop": marked("Give parked records up"),
    "parked-edit": marked("Edit a parked record"),
    "parked-group": marked("Parked records by error"),
    "parked-ls": marked("List parked records"),
    "parked-retry": marked("Retry parked records"),
    "parked-show": marked("One parked record"),
    "rebuild": marked("Rebuild a projection"),
    "reconcile": marked("Bring a store from a backup up to date"),
    "refusals-ls": marked("List refusals"),
    "refusals-show": marked("One refusal"),
    "replay": marked("Send events again"),
    "restore-status": marked("What is being restored"),
    "restore-store": marked("Restore a store from its topic"),
    "restore-topic": marked("Restore a topic from its store"),
    "status": marked("State of the system"),
    "step": marked("A projection event by event"),
    "stream-find": marked("Find streams"),
    "stream-show": marked("The events of a stream"),
    "timers": marked("Timers"),
    "topics": marked("Topics"),
    "verify": marked("Check stores and topics"),
    "webhook-ls": marked("List webhooks"),
    "webhook-pause": marked("Pause a webhook"),
    "webhook-replay": marked("Replay a webhook from a position"),
    "webhook-resume": marked("Resume a webhook"),
    "webhook-show": marked("One webhook"),
    "why": marked("Causes and effects of an event"),
}
LABELS: Final[Mapping[str, str]] = {
    "account": marked("Account"),
    "all": marked("Everything of its correlation"),
    "anew": marked("Begin again"),
    "at": marked("At the time"),
    "at_once": marked("At once"),
    "back": marked("Back by"),
    "behind": marked("Also those that wait behind another"),
    "command": marked("Command"),
    "consumer": marked("Consumer"),
    "customer": marked("Organisation"),
    "drop": marked("Drop the schema"),
    "drop_old": marked("Drop the old tables"),
    "due": marked("Only those that are due"),
    "event": marked("Event"),
    "forward": marked("Forward by"),
    "from": marked("From position"),
    "give_up": marked("Give an unfinished rebuild up"),
    "group": marked("Group"),
    "handle": marked("Record"),
    "handles": marked("Records"),
    "header": marked("Headers to set"),
    "ids": marked("Numbers"),
    "keep": marked("Keep the tables"),
    "kid": marked("Key"),
    "limit": marked("At most"),
    "name": marked("Name"),
    "offset": marked("Offset"),
    "only": marked("Only of these types"),
    "over": marked("Seconds of measuring"),
    "over_gap": marked("Continue past missing versions"),
    "parked": marked("All that are parked"),
    "partition": marked("Partition"),
    "person": marked("Person"),
    "position": marked("Position"),
    "projection": marked("Projection"),
    "rows": marked("Rows of each table"),
    "search": marked("Records to search"),
    "service": marked("Service"),
    "since": marked("Since"),
    "since_last": marked("Only what is new"),
    "source": marked("Read from"),
    "state": marked("State"),
    "store_only": marked("The store only"),
    "stream": marked("Stream"),
    "switch_differing": marked("Switch even if the tables differ"),
    "tenant": marked("Organisation"),
    "time": marked("Time"),
    "to": marked("To position"),
    "to_topic": marked("To the topic"),
    "topic": marked("Topic"),
    "until": marked("Until"),
    "value": marked("Content"),
    "version": marked("Version"),
    "workers": marked("Workers"),
}
TAKES: Final[Mapping[str, str]] = {
    "as-of": marked(
        "It folds the events up to that moment again, into tables of its own: its progress says how far it is."
    ),
    "rebuild": marked(
        "It folds all events again, into new tables: its progress says how far it is. Everybody reads the present ones "
        "until the new ones are complete."
    ),
    "status": marked("It takes a few seconds, as it measures the lag twice."),
    "verify": marked(
        "It reads all events and records: its progress says how far it is. Commands and pages go on meanwhile."
    ),
}
"""How long verbs take, where that is not at once."""
STEPS: Final[Mapping[str, str]] = {
    "folding": marked("Folding events"),
    "catching up": marked("Catching up"),
    "comparing": marked("Comparing the tables"),
    "switching": marked("Switching to the new tables"),
}
"""The steps of a rebuild."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_CODE: Final = re.compile(r"`([^`]+)`|\b(?:[a-z]+-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def title_of(name: str, texts: Texts) -> str:
    """Return what a verb does, in a few words."""
    return texts.gettext(TITLES[name]) if name in TITLES else name.replace("-", " ").capitalize()


def label_of(name: str, texts: Texts) -> str:
    """Return the name of a parameter for people."""
    return texts.gettext(LABELS[name]) if name in LABELS else name.replace("_", " ").capitalize()


def step_of(name: str, texts: Texts) -> str:
    """Return what a step of a run is, as its verb calls it where there are no other words."""
    return texts.gettext(STEPS[name]) if name in STEPS else title_of(name.replace(" ", "-"), texts)


def in_words(said: Sentence, texts: Texts) -> str:
    """Return a verb's sentence in the person's language, with numbers as they write them."""
    if not said.template:
        return said.text
    return texts.gettext(said.template) % {name: _part(value, texts) for name, value in said.values.items()}


def _part(value: str | int | Counted | Moment | Sentence, texts: Texts) -> str:
    match value:
        case Sentence():
            return in_words(value, texts)
        case Counted():
            one, many = f"%(number)s {value.thing}", f"%(number)s {value.thing}s"
            return texts.ngettext(one, many, value.number) % {"number": texts.number(value.number)}
        case Moment():
            return texts.second(value.time)
        case int():
            return texts.number(value)
        case _:
            return value


def worded(text: str, texts: Texts) -> Markup:
    """Return a verb's sentence with times as the person writes them, ids and commands as code."""
    with_times = _TIME.sub(lambda found: texts.time(datetime.fromisoformat(found[0])), text)
    parts, at = list[Markup](), 0
    for found in _CODE.finditer(with_times):
        parts += [escape(with_times[at : found.start()]), Markup("<code>{}</code>").format(found[1] or found[0])]
        at = found.end()
    return Markup("").join([*parts, escape(with_times[at:])])
