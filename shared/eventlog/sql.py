"""SQL lives in .sql files, each statement under a comment `-- name: what it does`, of one line or more."""

import re
from pathlib import Path


def statements(file: Path) -> dict[str, str]:
    """The statements of a .sql file by name."""
    parts = re.split(r"^-- (\w+):.*\n(?:--.*\n)*", file.read_text(), flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
