"""What the README says about the command is what the command does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aisquad_tui.cli import session
from aisquad_tui.cli.boundary import Status
from tests.unit.cli.test_command import VERBS

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_told_with_its_default() -> None:
    rows = session.describe(session.default_settings())
    expected = [f"| `{row.name}` | `{row.variable}` | `{row.value}` | {row.help} |" for row in rows]
    assert re.findall(r"^\| `[a-z_]+` \| `AI_SQUAD_.*$", README, re.MULTILINE) == expected


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_told(verb: str) -> None:
    assert re.search(rf"^\| `aisquad {verb}\b", README, re.MULTILINE)


def test_every_exit_status_is_told() -> None:
    told = {int(found) for found in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert told == set(Status) - {Status.BROKEN_PIPE}
