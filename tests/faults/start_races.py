"""Commands that start the engine of one folder at the same instant, again and again.

`python -m tests.faults.start_races --rounds 50` lets two `aisquad up` loose together in each round:
both must say the pid of the one engine that there is, and one of them that it is new. The engine
then has a kill -9, and the next round begins beside what that left. It prints a line a round and
one JSON object at the end, and exits 1 unless every round had one engine.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aisquad_core.state.folder import engine_pid

ENOUGH_S = 60
WAITING_UP = """
import os, sys
from aisquad_tui.cli import app
os.write(2, b".")
os.read(0, 1)
sys.exit(app.run_verbs(sys.argv[1:]))
"""
"""The command: says with a dot that its imports are done, and goes on when its input ends."""


def race(folder: Path, racers: int) -> str | None:
    """Start the engine of a folder with several commands at once; return what was wrong."""
    state = folder / "state"
    command = [sys.executable, "-c", WAITING_UP, "up", "--json", "--state", str(state)]
    gate, opened = os.pipe()
    try:
        ups = [
            subprocess.Popen(
                command, cwd=folder, stdin=gate, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for _ in range(racers)
        ]
        for up in ups:
            assert up.stderr is not None
            os.read(up.stderr.fileno(), 1)
    finally:
        os.close(gate)
        os.close(opened)
    said = [up.communicate(timeout=ENOUGH_S) for up in ups]
    holder = engine_pid(state)
    if holder:
        kill(holder)
    if any(up.returncode for up in ups):
        return f"an up failed: {[error.decode() for _, error in said]}"
    answers = [json.loads(out) for out, _ in said]
    if {answer["pid"] for answer in answers} != {holder}:
        return f"the engine is {holder}, and they say {answers}"
    if [answer["is_new"] for answer in answers].count(True) != 1:
        return f"not one of them started it: {answers}"
    return None


def kill(pid: int) -> None:
    """End an engine as the kernel would, and wait until it is gone."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not select.select([pidfd], [], [], ENOUGH_S)[0]:
            raise TimeoutError(f"the engine with pid {pid} does not end")
    finally:
        os.close(pidfd)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--racers", type=int, default=2)
    arguments = parser.parse_args()
    begun, problems = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="start-races-") as name:
        for number in range(1, arguments.rounds + 1):
            problem = race(Path(name), arguments.racers)
            print(f"round {number}: {problem or 'one engine'}", flush=True)
            problems += [problem] if problem else []
    summary = {
        "name": "start_races",
        "rounds": arguments.rounds,
        "racers": arguments.racers,
        "problems": problems,
        "duration_s": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(summary), flush=True)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
