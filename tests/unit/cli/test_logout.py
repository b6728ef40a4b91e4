"""What would end a daemon after logout, told from files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_tui.cli.logout import logout_warning

if TYPE_CHECKING:
    from pathlib import Path

SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"
MANAGER = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n"
SERVICE = "0::/system.slice/aisquad.service\n"


def machine(
    root: Path,
    *,
    cgroup: str = SESSION,
    logind: str = "",
    addition: str = "",
    has_logind: bool = True,
    has_linger: bool = False,
) -> Path:
    files = {
        "proc/self/cgroup": cgroup,
        "etc/systemd/logind.conf": logind,
        "etc/systemd/logind.conf.d/50-site.conf": addition,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if has_logind:
        (root / "run/systemd/seats").mkdir(parents=True)
    if has_linger:
        (root / "var/lib/systemd/linger").mkdir(parents=True)
        (root / "var/lib/systemd/linger/ann").touch()
    return root


def warning(root: Path) -> str | None:
    return logout_warning(root=root, uid=1000, user="ann")


KILLING = "[Login]\nKillUserProcesses=yes\n"


def test_a_session_that_kills_what_it_leaves_names_both_remedies(tmp_path: Path) -> None:
    said = warning(machine(tmp_path, logind=KILLING))
    assert said is not None
    assert "KillUserProcesses=yes" in said
    assert "loginctl enable-linger && systemd-run --user --scope aisquad up" in said
    assert "\n" not in said


def test_lingering_alone_does_not_save_what_is_in_a_session(tmp_path: Path) -> None:
    said = warning(machine(tmp_path, logind=KILLING, has_linger=True))
    assert said is not None
    assert "enable-linger" not in said


def test_a_user_manager_without_lingering_ends_with_the_last_session(tmp_path: Path) -> None:
    said = warning(machine(tmp_path, cgroup=MANAGER))
    assert said is not None
    assert "loginctl enable-linger" in said


@pytest.mark.parametrize(
    ("logind", "addition", "is_warned"),
    [
        ("", "", False),
        ("#KillUserProcesses=no\n", "", False),
        ("#KillUserProcesses=yes\n", "", True),  # the system's default, as the file tells it
        ("#KillUserProcesses=yes\n", "KillUserProcesses=no\n", False),
        (KILLING, "# KillUserProcesses=no\n", True),
        ("", "KillUserProcesses = true\n", True),
        (KILLING, "KillExcludeUsers=root ann\n", False),
        (KILLING, "KillOnlyUsers=bob\n", False),
        (KILLING, "KillOnlyUsers=bob ann\n", True),
    ],
)
def test_the_settings_of_logind_are_read_as_it_reads_them(
    tmp_path: Path, logind: str, addition: str, is_warned: bool
) -> None:
    said = warning(machine(tmp_path, logind=logind, addition=addition))
    assert (said is not None) == is_warned


def test_nothing_is_warned_of_where_nothing_kills(tmp_path: Path) -> None:
    places = [
        machine(tmp_path / "a", logind=KILLING, has_logind=False),
        machine(tmp_path / "b", logind=KILLING, cgroup=SERVICE),
        machine(tmp_path / "c", cgroup=MANAGER, has_linger=True),
        tmp_path / "empty",
    ]
    assert [warning(root) for root in places] == [None] * 4


def test_this_machine_can_be_looked_at() -> None:
    assert isinstance(logout_warning(), str | None)
