"""Engine and scheduler in a simulated world, in which a seed decides everything.

`python tests/faults/simulation.py --seeds N [--first K] [--jobs J]` plays N scenarios: convoys,
what the operator does, engines that die at a named point or any moment, commits that fail,
launchers that are late, killed or stubborn. The engine, its scheduler, executor and recovery are
the real ones, as is SQLite; time, load, processes and threads are not. After each commit, at each
start and at the end of a seed it is checked that nothing was lost, run twice, left over, or told
before it was durable. A seed that fails is printed with what happened last and with the command
that plays it again. The last line is one JSON object; exit status 1 if anything failed.

`--every-commit` plays one small scenario again and again: commit 1 fails in every way, or the
engine dies before, inside or after it; then commit 2, 3, ... until the scenario ends before; and
then the same for the engine that takes over from one that died.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import selectors
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.simulated.loop import replace_threads
from tests.faults.simulated.playing import Plant, Played, Simulation
from tests.faults.simulated.scenario import make_scenario, make_small_scenario
from tests.faults.simulated.storage import Fault, Point
from tests.faults.simulated.world import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LONGEST_S = 60
"""Real seconds after which a scenario counts as one that never ends."""
_SHOWN_LINES = 60
_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where the databases lie; None: where temporary files do."""
_ENDS = (*Fault, Point.BEFORE_COMMIT, Point.INSIDE_COMMIT, Point.AFTER_COMMIT)
"""What becomes of the commit in question."""
_MOST_COMMITS = 500


def play_seed(seed: int, plant: Plant | None, folder: Path) -> Played:
    """Play the scenario of a seed."""
    return Simulation(make_scenario(seed), folder, plant=plant).play()


def play_commit(number: int, end: Fault | Point, life: int, folder: Path) -> Played:
    """Play the small scenario, in which one commit of one of its two engines does not succeed."""
    played = Simulation(make_small_scenario(number, end, life), folder).play()
    played.name = f"{'first' if life == 0 else 'second'} engine, commit {number}: {end}"
    return played


def play_apart(play: Callable[[Path], Played]) -> tuple[int, int]:
    """Begin to play in a process of its own; return its pid and the pipe that its result is on.

    What engines that died have in memory goes with that process.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        gc.disable()
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(_LONGEST_S)
        with tempfile.TemporaryDirectory(prefix="simulation-", dir=_FOLDER) as folder:
            played = play(Path(folder))
        with open(writing, "w", encoding="utf-8") as pipe:
            json.dump(asdict(played), pipe)
        status = 0
    finally:
        os._exit(status)


def _give_up(number: int, frame: object) -> None:
    raise Violation(f"it does not end: {_LONGEST_S} s have passed")


def play_all(
    plays: Sequence[tuple[str, Callable[[Path], Played]]], *, jobs: int
) -> Iterator[Played]:
    """Play what is named, so many at a time; yield what came of each as it ends."""
    waiting = iter(plays)
    with selectors.DefaultSelector() as pipes:

        def begin() -> None:
            for name, play in itertools.islice(waiting, 1):
                pid, pipe = play_apart(play)
                pipes.register(pipe, selectors.EVENT_READ, (name, pid, bytearray()))

        for _ in range(jobs):
            begin()
        while pipes.get_map():
            for key, _ in pipes.select():
                name, pid, text = key.data
                if chunk := os.read(key.fd, 65_536):
                    text += chunk
                    continue
                pipes.unregister(key.fd)
                os.close(key.fd)
                status = os.waitpid(pid, 0)[1]
                begin()
                if text:
                    yield Played(**json.loads(text))
                else:
                    yield Played(name=name, problem=f"its process ended with status {status}")


class Tally:
    """Sums up, and shows what failed.

    Args:
        command: What plays one again, to which its number is added.
        is_tracing: Whether to show what happened also if all went well.
    """

    def __init__(self, command: str, *, is_tracing: bool) -> None:
        self.failed: list[str] = []
        self.total = Played(name="total")
        self.played = 0
        self.commits = 0
        self._command = command
        self._is_tracing = is_tracing

    def add(self, played: Played) -> None:
        """Take what came of one."""
        self.played += 1
        self.commits += sum(played.commits)
        for name in ("starts", "deaths", "faults", "virtual_s"):
            setattr(self.total, name, getattr(self.total, name) + getattr(played, name))
        self.total.digest ^= played.digest
        if played.problem is None and not self._is_tracing:
            return
        print(f"\n{played.name}, what happened last:")
        print("\n".join(played.trace if self._is_tracing else played.trace[-_SHOWN_LINES:]))
        if played.problem is not None:
            self.failed.append(played.name)
            print(f"{played.name} FAILED: {played.problem}")
            print(f"again: {self._command}{played.name.removeprefix('seed ')}", flush=True)


def play_every_commit(tally: Tally, *, jobs: int) -> None:
    """Let commit after commit not succeed, for as long as there is one."""
    for life in (0, 1):
        for number in range(1, _MOST_COMMITS):
            plays = [(str(end), partial(play_commit, number, end, life)) for end in _ENDS]
            is_reached = False
            for played in play_all(plays, jobs=jobs):
                tally.add(played)
                is_reached = is_reached or played.commits[life] >= number
            if not is_reached:
                print(f"engine {life + 1}: {number - 1} commits", flush=True)
                break


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--every-commit", action="store_true", help="instead of seeds")
    parser.add_argument("--trace", action="store_true", help="show what happened in each")
    parser.add_argument("--plant", choices=[*Plant], help="a defect that is to be found")
    arguments = parser.parse_args()
    replace_threads()
    begun = time.monotonic()
    plant = None if arguments.plant is None else Plant(arguments.plant)
    planted = "" if plant is None else f"--plant '{plant}' "
    command = f"python tests/faults/simulation.py --trace {planted}"
    if arguments.every_commit:
        tally = Tally(f"{command}--every-commit # ", is_tracing=arguments.trace)
        play_every_commit(tally, jobs=arguments.jobs)
    else:
        tally = Tally(f"{command}--seeds 1 --first ", is_tracing=arguments.trace)
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        plays = [(f"seed {seed}", partial(play_seed, seed, plant)) for seed in seeds]
        for played in play_all(plays, jobs=arguments.jobs):
            tally.add(played)
            if tally.played % 100 == 0:
                print(f"{tally.played} of {len(seeds)}", flush=True)
    total = tally.total
    summary = {
        "name": "simulation",
        "played": tally.played,
        "failed": tally.failed,
        "starts": total.starts,
        "deaths": total.deaths,
        "faults": total.faults,
        "commits": tally.commits,
        "virtual_s": round(total.virtual_s),
        "digest": total.digest,
        "duration_s": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(summary), flush=True)
    return int(bool(tally.failed))


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of texts is a part of a seed
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    sys.exit(main())
