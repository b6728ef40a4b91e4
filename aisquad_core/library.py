"""aisquad in a script: a convoy of async callables or commands, executed with one await."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aisquad_core.api import ItemFilter
from aisquad_core.engine import Engine
from aisquad_core.errors import InputError, Problem, SpecError
from aisquad_core.model import ConvoyStatus, Operation
from aisquad_core.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aisquad_core.api import StatusCounts

    AsyncCall = Callable[[], Awaitable[object]]

_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvoyResult:
    """How a convoy ended."""

    convoy_id: str
    status: ConvoyStatus
    counts: StatusCounts
    duration_s: float
    results: Mapping[str, object] = field(default_factory=dict)
    """What the async callables returned, by operation id; only those that completed."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Why operations did not complete, by operation id."""

    @property
    def is_success(self) -> bool:
        """Whether every operation completed."""
        return self.status is ConvoyStatus.COMPLETED


class Convoy:
    """A batch of operations, run as many at a time as the machine can bear.

    Example:
        >>> async def fetch() -> int: ...
        >>> convoy = Convoy("nightly", operations=[fetch], max_parallelism=20)
        >>> result = await convoy.execute()
        >>> result.results["fetch"]

    Args:
        name: Shown to operators.
        operations: Async callables without arguments (their ids are their names, numbered where a
            name repeats), `Operation`s with a command, or pairs of an `Operation` without a command
            and its async callable, for ids, needs, priorities, retries and time limits.
        enable_auto_tuning: Follow the machine's load; otherwise run `baseline_parallelism`.
        cpu_threshold: CPU percentage, 0 to 100, above which only the baseline runs.
        memory_threshold: Memory percentage, 0 to 100, above which only the baseline runs.
        baseline_parallelism: Operations at once under load and at the start.
        max_parallelism: Most operations at once.
        stop_on_first_failure: Start nothing more after the first operation that failed for good.
        timeout_s: Seconds for all of it; None: no limit.
        state_dir: The state folder; None: the one that the `aisquad` command uses here.
    """

    def __init__(
        self,
        name: str,
        operations: Sequence[AsyncCall | Operation | tuple[Operation, AsyncCall]],
        *,
        enable_auto_tuning: bool = True,
        cpu_threshold: float = 80,
        memory_threshold: float = 80,
        baseline_parallelism: int = 5,
        max_parallelism: int = 20,
        stop_on_first_failure: bool = False,
        timeout_s: float | None = None,
        state_dir: Path | str | None = None,
    ) -> None:
        self.name = name
        self._operations: list[Operation] = []
        self._calls: dict[str, AsyncCall] = {}
        self._results: dict[str, object] = {}
        self._stop_on_first_failure = stop_on_first_failure
        self._timeout_s = timeout_s
        self._state_dir = None if state_dir is None else Path(state_dir)
        self._flags: dict[str, object] = {
            "enable_auto_tuning": enable_auto_tuning,
            "cpu_threshold": cpu_threshold,
            "memory_threshold": memory_threshold,
            "baseline_parallelism": baseline_parallelism,
            "max_parallelism": max_parallelism,
        }
        names: Counter[str] = Counter()
        for member in operations:
            self._add(member, names)
        self._check()

    async def execute(self) -> ConvoyResult:
        """Run everything to its end; an operation that fails is an outcome, not an exception.

        Cancelled, it stops what runs.

        Raises:
            EngineRunningError: Another engine holds the state folder.
            SettingsError: A threshold or parallelism is out of range.
            UntrustedError: The folder's `aisquad.toml` sets what only a trusted one may.
        """
        cwd = Path.cwd()
        settings = load_settings(
            cwd=cwd, environ=os.environ, flags=self._flags, state_dir=self._state_dir
        )
        async with Engine(settings) as engine:
            convoy_id = await engine.launch_operations(
                self.name,
                self._operations,
                self._calls,
                env=os.environ,
                cwd=str(cwd),
                stop_on_first_failure=self._stop_on_first_failure,
                timeout_s=self._timeout_s,
                is_patient=True,
            )
            (view,) = await engine.wait([convoy_id])
            errors = await _errors(engine, convoy_id)
        started_at, finished_at = view.started_at, view.finished_at
        return ConvoyResult(
            convoy_id=convoy_id,
            status=view.status,
            counts=view.counts,
            # The wall clock may have been set back meanwhile.
            duration_s=max(0.0, (finished_at - started_at).total_seconds())
            if started_at and finished_at
            else 0.0,
            results=dict(self._results),
            errors=errors,
        )

    def _add(
        self, member: AsyncCall | Operation | tuple[Operation, AsyncCall], names: Counter[str]
    ) -> None:
        match member:
            case Operation():
                if not member.argv:
                    raise InputError(
                        f"operation {member.id}: it has neither a command nor a callable"
                    )
                self._operations.append(member)
                return
            case (Operation() as operation, call) if callable(call):
                pass
            case call if callable(call):
                name = getattr(call, "__name__", type(call).__name__).strip("<>")
                names[name] += 1
                operation = Operation(id=name if names[name] == 1 else f"{name}-{names[name]}")
            case _:
                raise InputError(
                    f"operations[{len(self._operations)}]: expected an async callable, an Operation"
                    " with a command, as Operation(id='lint', argv=('/bin/sh', '-c', 'ruff check'))"
                    f", or a pair of an Operation and its callable, not {member!r}"
                )
        self._operations.append(operation)
        self._calls[operation.id] = self._remember(operation.id, call)

    def _remember(self, operation_id: str, call: AsyncCall) -> AsyncCall:
        async def run() -> None:
            self._results[operation_id] = await call()

        return run

    def _check(self) -> None:
        """Refuse duplicate ids and needs that cannot be met, naming each.

        Raises:
            SpecError: With every problem.
        """
        ids = Counter(operation.id for operation in self._operations)
        problems = [
            f'the id "{each}" is used {count} times' for each, count in ids.items() if count > 1
        ]
        known = set(ids)
        problems += [
            f'"{operation.id}" needs "{need}", which does not exist'
            for operation in self._operations
            for need in operation.needs
            if need not in known
        ]
        if not problems:
            problems = self._cycle()
        if not self._operations:
            problems = ["there are no operations"]
        if problems:
            raise SpecError(
                [Problem(file=self.name, key="operations", message=text) for text in problems]
            )

    def _cycle(self) -> list[str]:
        waiting = {operation.id: set(operation.needs) for operation in self._operations}
        while free := [each for each, needs in waiting.items() if not needs & waiting.keys()]:
            for each in free:
                del waiting[each]
        return [f"these need each other: {', '.join(sorted(waiting))}"] if waiting else []


async def _errors(engine: Engine, convoy_id: str) -> dict[str, str]:
    errors: dict[str, str] = {}
    after: str | None = None
    while True:
        page = await engine.items(ItemFilter(convoy_ids=(convoy_id,)), after=after, limit=_PAGE)
        for item in page.items:
            if why := item.error or item.reason:
                errors[item.id] = why
        after = page.next_after
        if after is None:
            return errors
