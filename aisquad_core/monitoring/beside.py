"""The monitoring API beside an engine in its process: it comes after it, and never ends it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aisquad_core.monitoring import plate
from aisquad_core.monitoring.plate import Plate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aisquad_core.api import EngineAPI
    from aisquad_core.monitoring.server import Monitoring
    from aisquad_core.settings import Settings

logger = logging.getLogger(__name__)


@asynccontextmanager
async def monitored(settings: Settings, engine: EngineAPI) -> AsyncIterator[None]:
    """Serve the monitoring API for as long as the context lasts, if a port is set.

    Where it cannot be had, the log and the plate that `aisquad status` reads say why.

    Args:
        settings: Where it listens; `monitoring_port` 0: nowhere.
        engine: It, on this loop.
    """
    if not settings.monitoring_port:
        yield
        return
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(_serve(settings, engine))
        try:
            yield
        finally:
            serving.cancel()


async def _serve(settings: Settings, engine: EngineAPI) -> None:
    try:
        # aiohttp takes a quarter of a second to import, in which the engine's loop goes on.
        make = await asyncio.to_thread(_import_server)
        async with make(settings, engine=engine) as monitoring:
            logger.info("monitoring on %s", monitoring.url)
            said = Plate(url=monitoring.url, needs_token=monitoring.needs_token)
            await _stand(settings, said)
    except Exception as error:
        place = f"{settings.monitoring_address} port {settings.monitoring_port}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        is_fault = not isinstance(error, OSError)
        logger.warning("no monitoring on %s: %s", place, why, exc_info=is_fault)
        await _stand(settings, Plate(problem=f"{place}: {why or type(error).__name__}"))


async def _stand(settings: Settings, said: Plate) -> None:
    """Say it to other processes until cancelled."""
    try:
        try:
            await asyncio.to_thread(plate.write, settings.state_dir, said)
        except OSError as error:  # a full disk: the API is there all the same
            logger.warning("`aisquad status` cannot tell of the monitoring: %s", error.strerror)
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(plate.remove, settings.state_dir)


def _import_server() -> type[Monitoring]:
    from aisquad_core.monitoring import server  # noqa: PLC0415 - not on the engine's loop

    return server.Monitoring
