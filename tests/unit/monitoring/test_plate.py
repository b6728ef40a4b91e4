"""What an engine tells of its dashboard, and when that no longer counts."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from aisquad_core.monitoring import plate
from aisquad_core.monitoring.plate import Dashboard, Plate
from aisquad_core.monitoring.token import Token

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = Plate(url="http://127.0.0.1:8080")


def test_the_engine_that_wrote_it_has_its_dashboard_there(tmp_path: Path) -> None:
    plate.write(tmp_path, LOCAL)
    link = "http://127.0.0.1:8080/dashboard"
    assert plate.find_dashboard(tmp_path, os.getpid()) == Dashboard(link)
    assert stat.S_IMODE((tmp_path / plate.PLATE_NAME).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [plate.PLATE_NAME]


def test_of_another_engine_or_of_none_it_says_nothing(tmp_path: Path) -> None:
    plate.write(tmp_path, LOCAL)
    assert plate.find_dashboard(tmp_path, os.getpid() + 1) == Dashboard(None)
    assert plate.find_dashboard(tmp_path, None) == Dashboard(None)
    plate.remove(tmp_path)
    assert plate.find_dashboard(tmp_path, os.getpid()) == Dashboard(None)


def test_beyond_loopback_the_link_carries_the_token_where_no_server_sees_it(tmp_path: Path) -> None:
    plate.write(tmp_path, Plate(url="http://10.0.0.7:8080", needs_token=True))
    link = plate.find_dashboard(tmp_path, os.getpid()).link
    assert link == f"http://10.0.0.7:8080/dashboard#{Token(tmp_path).read()}"


def test_why_there_is_none_is_told(tmp_path: Path) -> None:
    plate.write(tmp_path, Plate(problem="127.0.0.1 port 8080: Address already in use"))
    said = plate.find_dashboard(tmp_path, os.getpid())
    assert said == Dashboard(None, "127.0.0.1 port 8080: Address already in use")


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense", '{"pid": null}'])
def test_one_that_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / plate.PLATE_NAME).write_text(content)
    assert plate.read(tmp_path, os.getpid()) is None
