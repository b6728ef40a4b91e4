"""The monitoring API alone: `python -m aisquad_core.monitoring [PORT]`.

It reads what an engine has committed, whether or not one runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.errors import InputError
from aisquad_core.monitoring.plate import Plate, link
from aisquad_core.monitoring.server import Monitoring
from aisquad_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aisquad_core.settings import Settings

_DEFAULT_PORT = 8080
"""Where the setting says that the engine is to have none."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until somebody stops it."""
    parser = argparse.ArgumentParser(
        prog="python -m aisquad_core.monitoring",
        description="Serve health, metrics and the dashboard of this folder's work state, with or "
        "without an engine.",
    )
    parser.add_argument("port", nargs="?", type=_port, help="default: monitoring_port; 0: any free")
    parser.add_argument("--address", help="default: monitoring_address")
    parser.add_argument("--state", type=Path, metavar="DIR", help="the state folder")
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings(
            cwd=Path.cwd(),
            environ=os.environ,
            flags={"monitoring_address": chosen.address},
            state_dir=chosen.state,
        )
        asyncio.run(_serve(settings, chosen.port))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot listen there: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings, port: int | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    wanted = port if port is not None else settings.monitoring_port or _DEFAULT_PORT
    async with Monitoring(settings, port=wanted) as monitoring:
        said = Plate(url=monitoring.url, needs_token=monitoring.needs_token)
        page = await asyncio.to_thread(link, settings.state_dir, said)
        print(f"dashboard  {page}", file=sys.stderr, flush=True)
        print(f"state      {settings.state_dir}", file=sys.stderr, flush=True)
        await stopped.wait()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError
    return port


if __name__ == "__main__":
    sys.exit(main())
