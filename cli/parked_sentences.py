"""What the verbs of parked records say about them."""

from cli.sentences import Count, Sentence, say
from shared.eventlog.repair.parked import Retried, Tried
from shared.eventlog.repair.parked_record import Line, Parked
from shared.eventlog.write.log import Accepted, Answer


def event_of(each: Parked) -> str:
    at = f"{each.raw.topic}/{each.raw.partition}/{each.raw.offset}"
    return f"{each.type or '?'} {each.stream}@{each.version}" if each.stream else f"{each.type or '?'} {at}"


def name_of(line: Line) -> str:
    return line.stream if line.stream is not None else "{1}/{2}/{3}".format(*line.place)


def would_retry(line: Line, tried: Tried) -> list[str]:
    """Return what a retry of a line of records would do, as text."""
    more = tried.waiting - tried.would_apply
    text = say(
        "%(consumer)s %(line)s: %(able)s of %(records)s can be applied",
        consumer=line.consumer,
        line=name_of(line),
        able=tried.would_apply,
        records=Count(tried.waiting, "record"),
    )
    if tried.stopped:
        return [say("%(so)s; the next one fails: %(why)s", so=text, why=str(tried.stopped))]
    if more > 0:
        text = say("%(so)s (%(more)s more are tried only when it is applied)", so=text, more=more)
    return [text, *(f"    {answered(answer)}" for answer in tried.answers or ())]


def answered(answer: Answer) -> str:
    if isinstance(answer, Accepted):
        events = ", ".join(each.event.type() for each in answer.events)
        return f"{answer.stream}: {events or 'no new events'}"
    return f"{answer.stream}: refused by {answer.rule}"


def was_retried(line: Line, done: Retried) -> list[Sentence]:
    """Return what became of a line of records, as text."""
    text = say("%(consumer)s %(line)s: %(done)s applied", consumer=line.consumer, line=name_of(line), done=done.applied)
    if done.repeats + done.ignored:
        text = say(
            "%(so)s, %(repeats)s repeated, %(ignored)s not relevant to it",
            so=text,
            repeats=done.repeats,
            ignored=done.ignored,
        )
    summary = [say("%(so)s.", so=text)]
    if done.refused:
        records = Count(done.refused, "record")
        summary.append(say("%(records)s do not belong to the stream and no longer block it.", records=records))
    if done.stopped:
        summary.append(
            say(
                "It stopped at an error, and %(records)s still wait: %(why)s.",
                records=Count(done.waiting, "record"),
                why=str(done.stopped),
            )
        )
    return summary


def still_parked(left: int) -> Sentence:
    return say("Checked: %(records)s of these still parked.", records=Count(left, "record"))


def without(each: Parked) -> list[Sentence]:
    """Return what would become of a consumer without this record, as text."""
    texts = [
        say(
            "%(consumer)s would continue without %(event)s (%(reason)s: %(detail)s).",
            consumer=each.consumer,
            event=event_of(each),
            reason=each.reason,
            detail=each.detail[:200],
        )
    ]
    if each.behind:
        behind = Count(each.behind, "record")
        texts.append(say("%(records)s behind it would wait for `parked retry`.", records=behind))
    return texts
