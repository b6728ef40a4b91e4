"""The unit's name and text, as systemd itself reads them where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.errors import InputError
from aisquad_core.settings import load_settings
from aisquad_tui.cli.logout import linger_warning
from aisquad_tui.cli.systemd import _dollars, _quoted, unit_name, unit_of, unit_path
from tests.integration.cli.fake_systemctl import read_unit, words

if TYPE_CHECKING:
    from aisquad_tui.cli.systemd import Unit

ODD = 'odd % "dir" $HOME ${X} \\x é - .'
has_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (systemd)"
)
has_escape = pytest.mark.skipif(
    shutil.which("systemd-escape") is None, reason="systemd-escape is not installed (systemd)"
)


def unit(project: Path, *, cwd: Path | None = None, state: Path | None = None, **env: str) -> Unit:
    environ = {"HOME": "/home/ann", "PATH": "/opt/my tools/bin:/usr/bin", **env}
    settings = load_settings(cwd=cwd or project, environ=environ, state_dir=state)
    return unit_of(settings, environ, cwd=cwd or project, state=state)


def test_it_outlives_what_it_must_and_is_not_brought_back_after_a_down(tmp_path: Path) -> None:
    keys = read_unit(unit(tmp_path).text)
    single = {key: value for key, (value, *_) in keys.items()}
    expected = {
        "Type": "notify",
        "KillMode": "process",
        "OOMPolicy": "continue",
        "ManagedOOMPreference": "avoid",
        "Delegate": "yes",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "2 3",
        "WorkingDirectory": "/",
        "WantedBy": "default.target",
        "AssertPathIsDirectory": str(tmp_path),
    }
    assert {key: single[key] for key in expected} == expected
    assert words(single["ExecStart"]) == [
        *(sys.executable, "-m", "aisquad_tui.cli", "up", "--foreground", "--on-term=detach"),
        f"--project={tmp_path}",
    ]


def test_it_has_the_settings_variables_of_now_and_no_other(tmp_path: Path) -> None:
    it = unit(tmp_path, AI_SQUAD_MAX_PARALLELISM="7", AI_SQUAD_THEME="dark", SECRET="hunter2")
    lines = read_unit(it.text)["Environment"]
    assert [words(line) for line in lines] == [
        ["AI_SQUAD_MAX_PARALLELISM=7"],
        ["PATH=/opt/my tools/bin:/usr/bin"],
    ]


def test_it_is_the_same_from_every_folder_of_the_project(tmp_path: Path) -> None:
    inner = tmp_path / "src" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "aisquad.toml").touch()
    assert unit(tmp_path, cwd=inner) == unit(tmp_path)


def test_projects_and_state_folders_have_units_of_their_own(tmp_path: Path) -> None:
    names = {
        unit(tmp_path / "a").name,
        unit(tmp_path / "b").name,
        unit(tmp_path / "a", state=tmp_path / "c").name,
    }
    assert len(names) == 3
    with_state = words(read_unit(unit(tmp_path / "a", state=tmp_path / "c").text)["ExecStart"][0])
    assert with_state[-2:] == [f"--project={tmp_path / 'a'}", f"--state={tmp_path / 'c'}"]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_word_is_read_back_as_it_was(word: str) -> None:
    assert words(f"{_quoted(word)} x") == [word, "x"]
    assert [each.replace("$$", "$") for each in words(_dollars(_quoted(word)))] == [word]


@pytest.mark.parametrize("name", ["a\nExecStartPre=rm", "end\\", "caf\udce9"])
def test_a_folder_that_systemd_could_not_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="systemd takes no such name"):
        unit(tmp_path / name)


@has_escape
def test_its_name_is_that_of_systemd_escape() -> None:
    paths = ["/", "/srv/app", "/home/ann/.hidden/my-app", "/.x/..y", f"/a/{ODD}", "/a/b_c:d.e"]
    done = subprocess.run(
        ["systemd-escape", "--path", "--", *paths], capture_output=True, text=True, check=True
    )
    escaped = done.stdout.replace("\n", " ").split()
    assert [unit_name(Path(path)) for path in paths] == [
        f"aisquad-{each}.service" for each in escaped
    ]


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    names = [unit_name(Path("/" + "long/" * 60 + end)) for end in ("a", "b")]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 255


def test_the_units_are_where_systemd_seeks_them() -> None:
    settings = load_settings(cwd=Path("/srv/app"), environ={})
    name = "aisquad-srv-app.service"
    elsewhere = {"HOME": "/home/ann", "XDG_CONFIG_HOME": "/cfg"}
    assert unit_path(settings, {"HOME": "/home/ann"}) == Path(
        "/home/ann/.config/systemd/user", name
    )
    assert unit_path(settings, elsewhere) == Path("/cfg/systemd/user", name)


@has_analyze
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    project = tmp_path / ODD
    project.mkdir()
    found = unit(project, AI_SQUAD_ON_FINISH='["sh", "-c", "echo \\"$X\\" 100% \\\\n"]')
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    path = tmp_path / found.name

    def verify(text: str) -> subprocess.CompletedProcess[str]:
        path.write_text(text)
        return subprocess.run(
            ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "XDG_RUNTIME_DIR": str(runtime),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    done = verify(found.text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = verify(found.text.replace("KillMode=process", "KillMode=nobody"))
    assert "Failed to parse kill mode" in broken.stderr


def test_without_lingering_it_says_what_ends_the_engine(tmp_path: Path) -> None:
    said = linger_warning(root=tmp_path, user="ann")
    assert said is not None
    assert "`loginctl enable-linger`" in said
    (tmp_path / "var/lib/systemd/linger").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/linger/ann").touch()
    assert linger_warning(root=tmp_path, user="ann") is None
