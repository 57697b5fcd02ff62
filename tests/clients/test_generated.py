"""The generated parts of the clients are those of today's documents."""

import pytest

from deploy import ROOT
from deploy.clients import generated


@pytest.mark.parametrize(("path", "text"), [pytest.param(path, text, id=path.name) for path, text in generated()])
def test_it_is_what_the_documents_say(path: object, text: str) -> None:
    file = ROOT / str(path)
    assert file.read_text() == text, "run `python -m deploy.clients`"
