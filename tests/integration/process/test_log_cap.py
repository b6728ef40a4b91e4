"""Logs that grow too long lose their middle while they are written, and nothing else does."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import pytest

from aisquad_core.execution import log_cap
from aisquad_core.execution.log_cap import LogCap, punch_hole
from aisquad_core.execution.output import read_last_line, read_range
from aisquad_core.execution.runner import StartRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aisquad_core.api import LogChunk
    from tests.integration.process.conftest import Harness

LIMIT = 128 * 1024
LINES = b"".join(b"line %09d\n" % n for n in range(60_000))
LEFT_OUT = re.compile(r"\n… ([\d,]+) bytes were left out here …\n")


@pytest.fixture
def can_punch(tmp_path: Path) -> None:
    """Leave out what this file system cannot do; the product says so there, too."""
    path = tmp_path / "probe"
    path.write_bytes(bytes(65_536))
    descriptor = os.open(path, os.O_RDWR)
    try:
        punch_hole(descriptor, 4096, 4096)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this file system cannot free the middle of a file")
        raise
    finally:
        os.close(descriptor)


def make_log(
    runs_dir: Path, name: str, data: bytes, file: str = "output.log"
) -> tuple[StartRef, Path]:
    ref = StartRef("convoy", name, 1, "abc")
    path = runs_dir / "convoy" / name / "1-abc" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return ref, path


def read_on(read: Callable[[int], LogChunk], offset: int = 0) -> bytes:
    """Read as every follower does, from where the last chunk ended."""
    found = bytearray()
    while (chunk := read(offset)).data:
        assert chunk.offset >= offset
        offset = chunk.offset + len(chunk.data)
        found += chunk.data
    assert offset == chunk.size
    return bytes(found)


def reader_of(path: Path, length: int) -> Callable[[int], LogChunk]:
    return lambda offset: read_range(str(path), offset=offset, length=length, is_final=True)


def held_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.usefixtures("can_punch")
async def test_a_log_keeps_head_and_tail_while_its_command_writes_on(harness: Harness) -> None:
    request = harness.shell(
        "seq -f 'line %09.0f' 0 29999; echo half; until [ -e go ]; do sleep 0.02; done;"
        " seq -f 'line %09.0f' 30000 59999"
    )
    cap = LogCap(harness.runs_dir, limit_bytes=LIMIT)
    async with harness.runner() as runner:
        await harness.start(runner, request)
        path = harness.folder(request.ref) / "output.log"
        await harness.until(lambda: path.read_bytes().endswith(b"half\n"))
        size = path.stat().st_size
        assert await cap.check([request.ref]) is None
        assert (path.stat().st_size, held_bytes(path) < LIMIT) == (size, True)
        (harness.cwd / "go").touch()
        await harness.end_of(request.ref)
        assert await cap.check([request.ref]) is None

        first = await runner.log_range(request.ref, offset=0, length=LIMIT)
        second = await runner.log_range(request.ref, offset=len(first.data), length=1_000)
        tail = await runner.log_range(request.ref, offset=-40, length=1_000)
    written = LINES[: 30_000 * 15] + b"half\n" + LINES[30_000 * 15 :]
    assert held_bytes(path) < LIMIT
    assert len(first.data) >= LIMIT // 8
    assert first.data == written[: len(first.data)]
    assert LEFT_OUT.fullmatch(second.data.decode())
    assert (tail.data, tail.size) == (written[-40:], len(written))


@pytest.mark.usefixtures("can_punch")
@pytest.mark.parametrize("length", [7, 1_000, 1_000_000])
async def test_readers_see_head_one_line_and_tail_and_no_zeros(tmp_path: Path, length: int) -> None:
    ref, path = make_log(tmp_path, "item", LINES)
    assert await LogCap(tmp_path, limit_bytes=LIMIT).check([ref]) is None
    text = read_on(reader_of(path, length)).decode()
    found = LEFT_OUT.search(text)
    assert found is not None
    head, tail = text[: found.start()].encode(), text[found.end() :].encode()
    assert (LINES.startswith(head), LINES.endswith(tail)) == (True, True)
    assert int(found[1].replace(",", "")) == len(LINES) - len(head) - len(tail)
    assert len(tail) >= LIMIT // 2
    middle = len(LINES) - len(tail) - 20_000
    assert read_on(reader_of(path, length), middle).decode() == text[found.start() :]
    after = len(LINES) - len(tail)
    assert read_on(reader_of(path, length), after - 5).decode() == text[found.end() - 3 :]
    assert read_last_line(str(path)) == "line 000059999"


@pytest.mark.usefixtures("can_punch")
async def test_a_log_that_grows_on_and_on_has_one_hole_and_one_line(tmp_path: Path) -> None:
    ref, path = make_log(tmp_path, "item", b"")
    cap = LogCap(tmp_path, limit_bytes=LIMIT)
    with path.open("ab", buffering=0) as log:
        for start in range(0, len(LINES), 50_000):
            log.write(LINES[start : start + 50_000])
            assert await cap.check([ref]) is None
            assert held_bytes(path) <= LIMIT
    assert len(LEFT_OUT.findall(read_on(reader_of(path, 65_536)).decode())) == 1
    assert path.stat().st_size == len(LINES)


async def test_a_log_below_the_limit_or_without_one_is_left_alone(tmp_path: Path) -> None:
    ref, path = make_log(tmp_path, "item", LINES)
    for limit_bytes in (0, len(LINES) + 8192):
        assert await LogCap(tmp_path, limit_bytes=limit_bytes).check([ref]) is None
    assert path.read_bytes() == LINES


@pytest.mark.usefixtures("can_punch")
async def test_what_came_between_the_last_look_and_the_end_is_cut_too(tmp_path: Path) -> None:
    ref, path = make_log(tmp_path, "item", b"")
    cap = LogCap(tmp_path, limit_bytes=LIMIT)
    assert await cap.check([ref]) is None
    path.write_bytes(LINES)
    assert await cap.check([]) is None
    assert held_bytes(path) <= LIMIT


@pytest.mark.usefixtures("can_punch")
async def test_a_result_that_is_kept_apart_is_cut_like_a_log(tmp_path: Path) -> None:
    ref, path = make_log(tmp_path, "item", LINES, "result")
    assert await LogCap(tmp_path, limit_bytes=LIMIT).check([ref]) is None
    assert held_bytes(path) <= LIMIT
    assert len(LEFT_OUT.findall(read_on(reader_of(path, 65_536)).decode())) == 1


@pytest.mark.parametrize("kind", ["link", "second name", "fifo", "folder"])
async def test_what_is_not_the_log_any_more_is_told_and_never_cut(
    tmp_path: Path, kind: str
) -> None:
    ref, path = make_log(tmp_path / "runs", "item", b"")
    other = tmp_path / "precious"
    other.write_bytes(LINES)
    path.unlink()
    if kind == "link":
        path.symlink_to(other)
    elif kind == "second name":
        path.hardlink_to(other)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    cap = LogCap(tmp_path / "runs", limit_bytes=LIMIT)
    told = await cap.check([ref])
    assert told is not None
    assert told.startswith(f"{path}: it ")
    assert other.read_bytes() == LINES
    assert await cap.check([]) is None


async def test_a_log_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    cap = LogCap(tmp_path, limit_bytes=LIMIT)
    assert await cap.check([StartRef("convoy", "item", 1, "abc")]) is None


async def test_where_holes_cannot_be_made_it_says_so_and_tries_no_more(tmp_path: Path) -> None:
    ref, path = make_log(tmp_path, "item", LINES)
    tried = []

    def refuse(descriptor: int, offset: int, length: int) -> None:
        tried.append((offset, length))
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    cap = LogCap(tmp_path, limit_bytes=LIMIT, punch=refuse)
    for _ in range(2):
        told = await cap.check([ref])
        assert told is not None
        assert "cannot free a file's middle" in told
    assert len(tried) == 1
    assert path.read_bytes() == LINES
    path.write_bytes(b"short")
    assert await cap.check([ref]) is None


async def test_more_logs_than_one_look_covers_are_looked_at_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_cap, "MOST_LOGS", 2)
    logs = [make_log(tmp_path, f"item-{n}", LINES) for n in range(3)]
    cut: list[int] = []
    cap = LogCap(
        tmp_path,
        limit_bytes=LIMIT,
        punch=lambda descriptor, *_: cut.append(os.fstat(descriptor).st_ino),
    )
    for _ in range(3):
        assert await cap.check([ref for ref, _ in logs]) is None
    inodes = [path.stat().st_ino for _, path in logs]
    assert cut == [*inodes[:2], inodes[2], *inodes[:2]]
