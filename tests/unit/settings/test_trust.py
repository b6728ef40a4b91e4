"""Trust: what a project's file may set before the operator's yes, and how the yes is kept."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import InputError, UntrustedError
from aisquad_core.settings import BUILT_IN_AGENTS, load_settings, review_project
from aisquad_core.settings.agents import _AGENT_KEYS
from aisquad_core.settings.values import BY_KEY, is_plain
from aisquad_core.trust import read_trusted, trust

if TYPE_CHECKING:
    from aisquad_core.settings import Settings

EVERYTHING = """
max_parallelism = 7
grace_seconds = 3
[settings]
workstate_db = "elsewhere/work.db"
[agents.engineer]
command = ["engineer", "{prompt}"]
env = { KEY = "value" }
cwd = "/elsewhere"
stdin_file = "task.md"
rate_limit = 5
rate_burst = 2
max_parallel = 4
timeout = "9s"
stdout = "result"
[agents.claude]
command = "sh evil.sh"
stdin = "text"
"""
HELD_BACK = (
    "agents.engineer.command",
    "agents.engineer.env",
    "agents.engineer.cwd",
    "agents.engineer.stdin_file",
    "agents.claude.command",
    "agents.claude.stdin",
    "workstate_db",
)


@dataclass
class Place:
    """A user's home, and a project that was found in a folder."""

    home: Path
    file: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.home)}

    @property
    def list(self) -> Path:
        return self.home / ".local" / "state" / "aisquad" / "trusted.json"

    def load(self, **variables: str) -> Settings:
        return load_settings(cwd=self.file.parent, environ={**self.environ, **variables})

    def trust(self) -> None:
        trust(self.environ, self.file, self.file.read_bytes())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "home", tmp_path / "cloned" / "aisquad.toml")
    place.home.mkdir()
    place.file.parent.mkdir()
    place.file.write_text(EVERYTHING)
    return place


def test_a_found_file_decides_nothing_of_what_runs(place: Place) -> None:
    settings = place.load()
    assert settings.untrusted is not None
    assert (settings.untrusted.path, settings.untrusted.held_back) == (place.file, HELD_BACK)
    assert settings.untrusted.remark is None
    engineer, claude = settings.agents["engineer"], settings.agents["claude"]
    assert (engineer.command, dict(engineer.env), engineer.cwd) == (None, {}, None)
    assert (engineer.stdin, engineer.stdin_file) == (None, None)
    assert (claude.command, claude.stdin) == (BUILT_IN_AGENTS["claude"].command, None)
    assert settings.workstate_db == place.file.parent / ".ai_squad" / "workstate.db"
    assert settings.sources["workstate_db"] == "default"


def test_numbers_and_flags_of_a_found_file_hold(place: Place) -> None:
    settings = place.load()
    engineer = settings.agents["engineer"]
    assert (settings.max_parallelism, settings.grace_s) == (7, 3.0)
    assert (engineer.rate_limit, engineer.rate_burst, engineer.max_parallel) == (5, 2, 4)
    assert (engineer.timeout_s, engineer.stdout) == (9.0, "result")
    place.file.write_text("max_parallelism = 7\n[agents.claude]\nrate_limit = 3\n")
    assert place.load().untrusted is None


def test_a_key_holds_in_a_found_file_only_if_somebody_said_so() -> None:
    """A new key is held back until it is listed: whoever adds one need not think of trust."""
    guarded = {"command", "env", "cwd", "stdin", "stdin_file"}
    plain = {"rate_limit", "rate_burst", "max_parallel", "timeout", "stdout"}
    assert set(_AGENT_KEYS) == guarded | plain
    held_back = ["workstate_db", "on_finish", "metrics_db", "monitoring_address"]
    assert [key for key in BY_KEY if not is_plain(key)] == held_back


def test_what_needs_trust_is_refused_and_says_where_to_give_it(place: Place) -> None:
    with pytest.raises(UntrustedError) as caught:
        place.load().require_trust()
    said = str(caught.value)
    assert f"{place.file} is not trusted and sets agents.engineer.command" in said
    assert "and 2 more" in said
    assert f"`aisquad trust {place.file.parent}`" in said


def test_a_trusted_file_holds_until_it_is_edited(place: Place) -> None:
    place.trust()
    settings = place.load()
    settings.require_trust()
    assert settings.agents["engineer"].command == ("engineer", "{prompt}")
    assert settings.workstate_db == place.file.parent / "elsewhere" / "work.db"
    place.file.write_text(EVERYTHING.replace("evil", "worse"))
    assert place.load().untrusted is not None
    place.file.write_text(EVERYTHING)
    assert place.load().untrusted is None


def test_the_same_content_elsewhere_is_not_trusted(place: Place) -> None:
    place.trust()
    copy = place.file.parent.parent / "copied" / "aisquad.toml"
    copy.parent.mkdir()
    copy.write_text(EVERYTHING)
    assert Place(place.home, copy).load().untrusted is not None


def test_the_users_own_file_is_trusted(place: Place) -> None:
    own = place.home / ".config" / "aisquad" / "aisquad.toml"
    own.parent.mkdir(parents=True)
    own.write_text(EVERYTHING)
    place.file.write_text("")
    settings = place.load()
    assert settings.untrusted is None
    assert settings.agents["engineer"].command == ("engineer", "{prompt}")
    assert Place(place.home, own).load().untrusted is None


def test_a_variable_and_a_flag_need_no_trust(place: Place) -> None:
    place.file.write_text('workstate_db = "elsewhere/work.db"')
    settings = place.load(AI_SQUAD_WORKSTATE_DB="/mine/work.db")
    assert settings.workstate_db == Path("/mine/work.db")
    assert settings.untrusted is not None


def test_a_review_shows_what_would_hold_and_asks_only_if_something_would(place: Place) -> None:
    review = review_project(cwd=place.file.parent, environ=place.environ)
    assert review is not None
    assert (review.path, review.content) == (place.file, EVERYTHING.encode())
    assert (review.guarded, review.is_trusted) == (HELD_BACK, False)
    assert review.settings.agents["claude"].command == "sh evil.sh"
    assert review.settings.workstate_db == place.file.parent / "elsewhere" / "work.db"
    place.trust()
    review = review_project(cwd=place.file.parent, environ=place.environ)
    assert review is not None
    assert review.is_trusted
    assert review_project(cwd=place.home, environ=place.environ) is None


def test_the_list_is_the_users_alone_and_outside_the_project(place: Place) -> None:
    place.trust()
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (place.list, place.list.parent)]
    assert modes == [0o600, 0o700]
    assert sorted(os.listdir(place.file.parent)) == ["aisquad.toml"]
    assert sorted(os.listdir(place.list.parent)) == ["trusted.json", "trusted.lock"]
    assert list(json.loads(place.list.read_text())["files"]) == [os.path.realpath(place.file)]


def test_the_list_is_in_xdg_state_home_unless_that_is_relative(place: Place) -> None:
    elsewhere = {**place.environ, "XDG_STATE_HOME": str(place.home / "elsewhere")}
    trust(elsewhere, place.file, place.file.read_bytes())
    assert (place.home / "elsewhere" / "aisquad" / "trusted.json").is_file()
    assert place.load(XDG_STATE_HOME=elsewhere["XDG_STATE_HOME"]).untrusted is None
    assert place.load(XDG_STATE_HOME="elsewhere").untrusted is not None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\x00rubbish", "it is not JSON"),
        (b"", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a list of trusted files"),
        (b'{"version": 2, "files": {}}', "it is not a list of trusted files"),
        (b'{"version": 1, "files": 3}', "it is not a list of trusted files"),
        (b" " * 1_000_001, "it is too large"),
    ],
    ids=["bytes", "empty", "deep", "list", "newer", "number", "large"],
)
def test_a_list_of_rubbish_trusts_nothing_says_so_and_is_written_anew(
    place: Place, content: bytes, problem: str
) -> None:
    place.list.parent.mkdir(parents=True, mode=0o700)
    place.list.touch(0o600)
    place.list.write_bytes(content)
    settings = place.load()
    assert settings.untrusted is not None
    assert f"{place.list} cannot be used: {problem}" in (settings.untrusted.remark or "")
    with pytest.raises(UntrustedError, match="cannot be used"):
        settings.require_trust()
    place.trust()
    assert place.load().untrusted is None


def test_a_list_that_others_may_write_trusts_nothing(place: Place) -> None:
    place.trust()
    place.list.chmod(0o666)
    settings = place.load()
    assert settings.untrusted is not None
    assert f"others may write to {place.list}" in (settings.untrusted.remark or "")
    place.list.chmod(0o600)
    place.list.parent.chmod(0o777)
    assert place.load().untrusted is not None
    with pytest.raises(InputError, match="others may write to"):
        place.trust()


def test_a_list_that_is_a_link_or_no_file_trusts_nothing(place: Place) -> None:
    place.trust()
    real = place.list.rename(place.list.with_name("real.json"))
    place.list.symlink_to(real)
    assert place.load().untrusted is not None
    place.list.unlink()
    os.mkfifo(place.list, 0o600)
    assert place.load().untrusted is not None


def test_without_a_home_nothing_is_trusted_and_nothing_can_be(place: Place) -> None:
    settings = load_settings(cwd=place.file.parent, environ={})
    assert settings.untrusted is not None
    assert "set HOME or XDG_STATE_HOME" in (settings.untrusted.remark or "")
    with pytest.raises(InputError, match="set HOME or XDG_STATE_HOME"):
        trust({}, place.file, b"")


def test_two_yeses_at_once_are_both_kept(place: Place) -> None:
    paths = [place.file.with_name(f"{number}.toml") for number in range(16)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda path: trust(place.environ, path, b""), paths))
    trusted = read_trusted(place.environ)
    assert [path for path in paths if not trusted.holds(path, b"")] == []
