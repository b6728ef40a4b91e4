"""The screen's figures, measured from outside through a pseudo-terminal of 120x40.

Run it by hand: `python tests/bench/tui.py --items 1000000`, with `--attached` for a screen beside
an engine in the background (and one that must start it first) instead of one with the engine in its
process. Beside it, in the same minute: the first screen and the keys of an empty Textual app.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.clock import SystemClock
from aisquad_core.model import ConvoyRecord, ConvoyStatus, Operation, WorkItem, WorkStatus
from aisquad_core.state.origin import Origin
from aisquad_core.state.workstate import WorkState
from tests.acceptance.terminal import AISQUAD, Picture, minimal_env
from tests.bench.measuring import percentile, print_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

COLUMNS, ROWS = 120, 40
EMBEDDED = ("--embedded",)
BOUND_S = 60.0
DOWN, UP = b"\x1b[B", b"\x1b[A"
KEYS = 200
PAUSE_S = 0.03
"""Between an answer and the next key."""
NAMED = """
import ctypes, sys, threading
libc, begin = ctypes.CDLL(None), threading.Thread._bootstrap_inner
def named(thread):
    libc.prctl(15, thread.name.encode()[:15], 0, 0, 0)  # PR_SET_NAME
    begin(thread)
threading.Thread._bootstrap_inner = named
from aisquad_tui.cli import main
sys.exit(main())
"""
"""The command, its threads' names where /proc tells them."""
EMPTY_APP = """
from textual.app import App
from textual.binding import Binding
from textual.widgets import Static
class Empty(App):
    BINDINGS = [
        Binding("down", "step(1)", priority=True), Binding("up", "step(-1)", priority=True)
    ]
    row = 0
    def compose(self):
        for number in range(30):
            yield Static(f"row {number}")
    def action_step(self, step):
        rows = self.query(Static)
        rows[self.row].styles.background = "transparent"
        self.row = max(0, min(29, self.row + step))
        rows[self.row].styles.background = "blue"
Empty().run()
"""


class Probe:
    """A command on a pseudo-terminal, read by this thread, which notes when what came."""

    def __init__(self, command: Sequence[str], cwd: Path, env: dict[str, str]) -> None:
        self.picture = Picture(COLUMNS, ROWS)
        self.written = 0
        """Bytes so far."""
        self.begun = time.perf_counter()
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=cwd,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def read(self, wait_s: float) -> float | None:
        """Take what comes within a time; return when it came, or None."""
        if not select.select([self._master], [], [], wait_s)[0]:
            return None
        try:
            data = os.read(self._master, 1 << 20)
        except OSError as error:
            raise RuntimeError(f"it ended:\n{self.picture.text()}") from error
        came = time.perf_counter()
        self.written += len(data)
        self.picture.feed(data)
        return came

    def wait(self, condition: Callable[[], bool]) -> float:
        """Read until the condition holds; return when what made it so came."""
        until = time.perf_counter() + BOUND_S
        came = time.perf_counter()
        while not condition():
            came = self.read(0.5) or came
            if time.perf_counter() > until:
                raise RuntimeError(f"not in time; the screen:\n{self.picture.text()}")
        return came

    def read_for(self, seconds: float) -> None:
        """Read on for a time."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self.read(left)

    def marks(self, row: int, rows: range) -> bool:
        """Tell whether the cursor is on a row, of these."""
        return self.picture.marked_row(rows) == row

    def send(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def close(self) -> None:
        """End it in order, or else at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        until = time.perf_counter() + BOUND_S
        while self.process.poll() is None and time.perf_counter() < until:
            try:
                self.read(0.1)
            except RuntimeError:
                time.sleep(0.05)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@contextmanager
def probing(command: Sequence[str], cwd: Path, env: dict[str, str]) -> Iterator[Probe]:
    """Run a command on a terminal; it is ended with the context."""
    probe = Probe(command, cwd, env)
    try:
        yield probe
    finally:
        probe.close()


async def fill(database: Path, number: int) -> None:
    """Write a convoy of so many ended items."""
    database.parent.mkdir(parents=True, mode=0o700)
    await asyncio.to_thread(Origin(database).look)  # it is this user's own
    now = datetime.now(UTC)
    record = ConvoyRecord(
        id="yesterday-0000",
        name="yesterday",
        status=ConvoyStatus.COMPLETED,
        created_at=now,
        updated_at=now,
    )
    items = (
        WorkItem(
            id=f"op-{place:07}",
            status=WorkStatus.FAILED if place % 50 == 0 else WorkStatus.COMPLETED,
            agent_id="shell",
            convoy_id=record.id,
            version=3,
            created_at=now,
            updated_at=now,
            position=place,
            operation=Operation(id=f"op-{place:07}", argv=("true",)),
            exit_code=1 if place % 50 == 0 else 0,
            started_at=now - timedelta(seconds=60),
            finished_at=now - timedelta(seconds=place % 60),
        )
        for place in range(number)
    )
    async with WorkState(database, clock=SystemClock()) as state:
        await state.create_convoy(record, items)


def first_screens(
    command: Sequence[str],
    cwd: Path,
    env: dict[str, str],
    word: str,
    after_each: Callable[[], object] = lambda: None,
) -> list[float]:
    """Return the milliseconds to the first screen with a word, of five starts."""
    figures = []
    for _ in range(5):
        with probing(command, cwd, env) as probe:
            came = probe.wait(lambda: probe.picture.has(word))
            figures.append((came - probe.begun) * 1_000)
            probe.read_for(0.3)
        after_each()
    return figures


def aisquad(cwd: Path, env: dict[str, str], *arguments: str) -> str:
    """Run a command to its end; return what it prints."""
    done = subprocess.run(
        [*AISQUAD, *arguments], cwd=cwd, env=env, stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout


def key_latencies(probe: Probe, rows: range) -> list[float]:
    """Return milliseconds from each of many cursor keys to the cursor's new row on the screen."""
    place, step = probe.picture.marked_row(rows), 1
    if place is None:
        raise RuntimeError(f"no cursor to be seen:\n{probe.picture.text()}")
    latencies = []
    for _ in range(KEYS):
        if place + step not in rows[1:-1]:
            step = -step
        place += step
        sent = time.perf_counter()
        probe.send(DOWN if step > 0 else UP)
        came = probe.wait(partial(probe.marks, place, rows))
        latencies.append((came - sent) * 1_000)
        probe.read_for(PAUSE_S)
    return sorted(latencies)


def cpu_seconds(*pids: int | None) -> dict[str, float]:
    """Return the processor time of each thread of processes, by its name and number."""
    seconds = {}
    for task in [task for pid in pids if pid for task in Path(f"/proc/{pid}/task").iterdir()]:
        try:
            stat = (task / "stat").read_text()
        except FileNotFoundError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        fields = rest.split()
        seconds[f"{name} {task.name}"] = (int(fields[11]) + int(fields[12])) / os.sysconf(
            "SC_CLK_TCK"
        )
    return seconds


def rss_mb(pid: int) -> float:
    """Return the memory that a process has now, in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def busy_figures(
    cwd: Path,
    env: dict[str, str],
    *,
    running: int,
    operation: str,
    seconds: float,
    engine: int | None,
) -> dict[str, object]:
    """Measure the screen with so many running operations.

    Args:
        cwd: Where.
        env: The environment.
        running: Operations.
        operation: What each of them runs.
        seconds: How long to look at bytes and processor time.
        engine: The process of the engine; None: the screen's own.
    """
    file = cwd / "now.toml"
    file.write_text(
        f'name = "now"\n[[operations]]\nid = "sleep-{{n}}"\nrun = {json.dumps(operation)}\n'
        f"for_each = {{ n = {[f'{number:03}' for number in range(running)]} }}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-c", NAMED, *EMBEDDED[: engine is None], file.name]
    with probing(command, cwd, env) as probe:
        pid = probe.process.pid
        probe.wait(lambda: probe.picture.has(f"{running} running"))
        for key in (b"2", b"g"):
            probe.send(key)
            probe.read_for(0.5)
        probe.wait(lambda: probe.picture.has("sleep-000"))
        probe.read_for(5.0)
        cpu, written, begun = cpu_seconds(pid, engine), probe.written, time.perf_counter()
        probe.read_for(seconds)
        elapsed_s = time.perf_counter() - begun
        spent = {
            name: (value - cpu.get(name, 0.0)) / elapsed_s * 100
            for name, value in cpu_seconds(pid, engine).items()
        }
        rate = (probe.written - written) / elapsed_s
        top = probe.picture.row_of(r"ITEM +STATUS") + 1
        latencies = key_latencies(probe, range(top, ROWS - 4))
        result: dict[str, object] = {
            "bytes_per_s": rate,
            "key_p50_ms": percentile(latencies, 50),
            "key_p99_ms": percentile(latencies, 99),
            "screen_cpu_percent": sum(
                value for name, value in spent.items() if is_screen(name, pid)
            ),
            "engine_cpu_percent": sum(
                value for name, value in spent.items() if not is_screen(name, pid)
            ),
            "rss_mb": rss_mb(pid),
        }
        if engine is None:
            probe.send(b"\x11")
            probe.wait(lambda: probe.picture.has("Leave while"))
        else:
            result["engine_rss_mb"] = rss_mb(engine)
    return result


def is_screen(thread: str, pid: int) -> bool:
    """Tell whether a thread is the screen's: its loop, and Textual's input and output."""
    return thread.endswith(f" {pid}") or thread.startswith("textual")


def main() -> None:
    """Measure, and print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--running", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--operation", default="exec sleep 3600", help="what each of them runs")
    parser.add_argument(
        "--attached", action="store_true", help="beside an engine in a process of its own"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aisquad-bench-", dir=".") as name:
        cwd = Path(name).resolve()
        env = minimal_env(
            cwd,
            COLORTERM="truecolor",
            AI_SQUAD_BASELINE_PARALLELISM=str(arguments.running),
            AI_SQUAD_MAX_PARALLELISM=str(arguments.running),
        )
        asyncio.run(fill(cwd / ".ai_squad" / "workstate.db", arguments.items))
        empty = [sys.executable, "-c", EMPTY_APP]
        measure = partial(
            busy_figures,
            cwd,
            env,
            running=arguments.running,
            operation=arguments.operation,
            seconds=arguments.seconds,
        )
        if arguments.attached:
            down = partial(aisquad, cwd, env, "down", "--now")
            cold = first_screens(AISQUAD, cwd, env, "op-0000", down)
            engine = json.loads(aisquad(cwd, env, "up", "--json"))["pid"]
            try:
                first = first_screens(AISQUAD, cwd, env, "op-0000")
                busy = measure(engine=engine)
            finally:
                down()
            busy["first_screen_without_engine_ms"] = statistics.median(cold)
        else:
            first = first_screens([*AISQUAD, *EMBEDDED], cwd, env, "op-0000")
            busy = measure(engine=None)
        empty_first = first_screens(empty, cwd, env, "row 29")
        with probing(empty, cwd, env) as probe:
            probe.wait(lambda: probe.picture.has("row 29"))
            probe.send(DOWN)
            probe.wait(lambda: probe.picture.marked_row(range(ROWS)) is not None)
            empty_keys = key_latencies(probe, range(30))
    print_result(
        {
            "name": f"tui --items {arguments.items}{' --attached' * arguments.attached}",
            "running": arguments.running,
            "operation": arguments.operation,
            "first_screen_ms": statistics.median(first),
            "first_screens_ms": [round(each) for each in first],
            **busy,
            "baseline": "an empty Textual app",
            "baseline_first_screen_ms": statistics.median(empty_first),
            "baseline_key_p50_ms": percentile(empty_keys, 50),
            "baseline_key_p99_ms": percentile(empty_keys, 99),
            "ratio": statistics.median(empty_first) / statistics.median(first),
        }
    )


if __name__ == "__main__":
    main()
