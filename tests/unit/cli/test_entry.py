"""Which calls open the screen at once, which go by way of the verbs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core import spec
from aisquad_core.settings import load_settings
from aisquad_tui.cli import screen
from aisquad_tui.cli.demo import FILES, throw_away_project
from aisquad_tui.cli.entry import is_convoy_file

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aisquad

Call = tuple[str | None, Path | None, bool, bool, bool]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What would have been opened: file, state folder, whether in colour, the demo, embedded."""
    made: list[Call] = []

    def open_screen(
        file: str | None = None,
        *,
        state: Path | None = None,
        has_color: bool = True,
        is_demo: bool = False,
        is_embedded: bool = False,
    ) -> int:
        made.append((file, state, has_color, is_demo, is_embedded))
        return 0

    monkeypatch.setattr(screen, "open_screen", open_screen)
    return made


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ([], (None, None, True, False, False)),
        (["demo"], (None, None, True, True, False)),
        (["nightly.toml"], ("nightly.toml", None, True, False, False)),
        (["./nightly"], ("./nightly", None, True, False, False)),
        (["--state", "s", "nightly.YML"], ("nightly.YML", Path("s"), True, False, False)),
        (["nightly.json", "--state=s"], ("nightly.json", Path("s"), True, False, False)),
        (["--color", "never"], (None, None, False, False, False)),
        (["--color=never", "a.toml"], ("a.toml", None, False, False, False)),
        (
            ["--state", "s", "--color", "never", "a.toml"],
            ("a.toml", Path("s"), False, False, False),
        ),
        (["open", "a.toml"], ("a.toml", None, True, False, False)),
        (["demo", "--color", "never"], (None, None, False, True, False)),
        (["--embedded"], (None, None, True, False, True)),
        (["--embedded", "a.toml"], ("a.toml", None, True, False, True)),
        (["a.toml", "--embedded", "--state=s"], ("a.toml", Path("s"), True, False, True)),
        (["--embedded", "--color", "never"], (None, None, False, False, True)),
        (["--embedded", "--color=never", "a.toml"], ("a.toml", None, False, False, True)),
    ],
)
def test_these_open_the_screen(
    aisquad: Aisquad, calls: list[Call], arguments: list[str], call: Call
) -> None:
    assert (aisquad(*arguments).status, calls) == (0, [call])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "Did you mean 'run'?"),
        (["demo", "x"], "unexpected extra argument"),
        (["a.toml", "b.toml"], "unexpected extra argument"),
        (["--state"], "requires an argument"),
        (["--bogus"], "No such option"),
    ],
)
def test_these_are_told_what_is_wrong(
    aisquad: Aisquad, calls: list[Call], arguments: list[str], said: str
) -> None:
    ran = aisquad(*arguments)
    assert (ran.status, calls) == (2, [])
    assert said in ran.err


@pytest.mark.parametrize("word", ["run", "demo", "-x.toml", "--state=a.toml", "toml", ""])
def test_a_verb_or_a_flag_is_no_convoy_file(word: str) -> None:
    assert not is_convoy_file(word)


def test_without_a_terminal_one_sentence_points_to_the_plain_verbs(aisquad: Aisquad) -> None:
    ran = aisquad()
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "error: the screen needs a terminal on standard input and output; "
        "see `aisquad status` instead\n"
    )


def test_the_screen_opens_without_typer_and_is_refused_without_textual() -> None:
    script = (
        "import sys; from aisquad_tui.cli import main; main([]); "
        "print(*sys.modules, file=sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"typer", "rich", "textual", "aiosqlite", "yaml"}
    assert "aisquad_tui.cli.screen" in loaded


def test_the_demo_is_a_folder_of_valid_convoys_that_goes() -> None:
    with throw_away_project() as folder:
        settings = load_settings(cwd=folder, environ={})
        plans = [
            spec.plan(spec.read_source(folder / name), agents=settings.agents, cwd=str(folder))
            for name in FILES
        ]
        assert [plan.name for plan in plans] == ["site-release", "link-check"]
    assert not os.path.exists(folder)
