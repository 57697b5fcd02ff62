"""The log: one JSON line an event, with its ids, and without what must not be in it."""

import json
import logging

import pytest
import structlog

from shared.runtime.logging import configure


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_trace_shows_no_local_variable(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure("identity", "json" if form == "json" else "console", "info")

    def sign_in(password: str) -> None:
        raise RuntimeError("something failed")

    try:
        sign_in("hunter2-hunter2")
    except RuntimeError as error:
        structlog.get_logger("test").error("failed", exc_info=error)
    said = capsys.readouterr().err
    assert "something failed" in said
    assert "hunter2" not in said.replace('sign_in("hunter2-hunter2")', "")


def test_a_line_names_service_and_correlation(capsys: pytest.CaptureFixture[str]) -> None:
    configure("identity", "json", "info")
    with structlog.contextvars.bound_contextvars(correlation_id="story-1"):
        structlog.get_logger("test").info("request", stream="account-1")
    logging.getLogger("uvicorn.error").warning("from a library")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["service"], ours["correlation_id"], ours["stream"], ours["level"]) == (
        "identity",
        "story-1",
        "account-1",
        "info",
    )
    assert (theirs["event"], theirs["service"]) == ("from a library", "identity")
