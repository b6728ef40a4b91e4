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
    return logout_warning(root=root, uid=1000, user="ann", home="/home/ann")


def write_unit(root: Path, place: str, name: str, *lines: str) -> None:
    path = root / place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[Service]\n" + "".join(f"{line}\n" for line in lines))


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


EDITOR = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/editor.service\n"
WORKER = "0::/system.slice/system-worker.slice/worker@7.service/inner\n"


@pytest.mark.parametrize(
    ("cgroup", "place", "name"),
    [
        (SERVICE, "etc/systemd/system", "aisquad.service"),
        (SERVICE, "run/systemd/transient", "aisquad.service"),
        (WORKER, "usr/lib/systemd/system", "worker@.service"),
        (EDITOR, "home/ann/.config/systemd/user", "editor.service"),
        (EDITOR, "usr/lib/systemd/user", "editor.service"),
        (EDITOR, "run/user/1000/systemd/transient", "editor.service"),
    ],
)
def test_a_service_that_kills_what_it_leaves_is_named_with_its_kill_mode(
    tmp_path: Path, cgroup: str, place: str, name: str
) -> None:
    root = machine(tmp_path, cgroup=cgroup, has_linger=True)
    write_unit(root, place, name, "ExecStart=/bin/true")
    said = warning(root)
    assert said is not None
    assert "ends when " in said
    assert "(KillMode=control-group)" in said
    assert "`aisquad up --systemd`" in said
    write_unit(root, f"{place}/{name}.d", "kill.conf", "KillMode=process")
    assert warning(root) is None


def test_the_kill_mode_is_that_of_the_last_place_with_its_additions(tmp_path: Path) -> None:
    root = machine(tmp_path, cgroup=SERVICE)
    write_unit(root, "usr/lib/systemd/system", "aisquad.service", "KillMode=process")
    assert warning(root) is None
    write_unit(root, "etc/systemd/system", "aisquad.service", "KillMode=mixed")
    assert "KillMode=mixed" in (warning(root) or "")
    write_unit(root, "etc/systemd/system/service.d", "10.conf", "KillMode=none")
    assert warning(root) is None
    write_unit(root, "run/systemd/system/aisquad.service.d", "20.conf", "KillMode=")
    assert "KillMode=control-group" in (warning(root) or "")


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
