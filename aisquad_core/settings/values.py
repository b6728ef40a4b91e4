"""The settings that there are, with their defaults, and how they are shown to people."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aisquad_core.errors import UntrustedError
from aisquad_core.settings.agents import BUILT_IN_AGENTS
from aisquad_core.settings.kinds import (
    ADDRESS,
    ARGUMENTS,
    FLAG,
    PATH,
    Kind,
    fraction,
    percent,
    seconds,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisquad_core.settings.agents import AgentProfile

T = TypeVar("T")

VARIABLE_PREFIX = "AI_SQUAD_"
DEFAULT_SOURCE = "default"
_BESIDE = Path()
"""Stands for a file in the state folder, which is known only with `workstate_db`."""


def _setting(default: T, kind: Kind[T], help: str) -> T:
    return field(default=default, metadata={"kind": kind, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """A project's file that sets what it may not before the operator has said yes."""

    path: Path
    held_back: tuple[str, ...]
    """Its keys that do not hold, such as `agents.engineer.command` or `workstate_db`."""
    remark: str | None = None
    """What is wrong with the list of trusted files, in a sentence; None: nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, and where each value came from.

    Each field with a kind is a setting: `pool_size` is `AI_SQUAD_POOL_SIZE` and the key
    `pool_size` of aisquad.toml; a field `…_s` is called `…_seconds` there.
    """

    workstate_db: Path = field(
        metadata={"kind": PATH, "help": "The database; its folder holds all state."}
    )
    use_pooling: bool = _setting(True, FLAG, "Keep database readers open between reads.")
    pool_size: int = _setting(20, whole(1, 1_000), "Most database readers at once.")
    rate_limit: int = _setting(
        100, whole(1, 1_000_000), "Starts per minute and agent (`shell`: no limit)."
    )
    rate_burst: int = _setting(
        20, whole(1, 1_000_000), "Starts at once per agent after a calm; at most rate_limit."
    )
    enable_auto_tuning: bool = _setting(
        True, FLAG, "Follow the machine's load; otherwise run baseline_parallelism."
    )
    cpu_threshold: float = _setting(
        80.0, percent(), "CPU percentage above which only the baseline runs."
    )
    memory_threshold: float = _setting(
        80.0, percent(), "Memory percentage above which only the baseline runs."
    )
    baseline_parallelism: int = _setting(
        5, whole(1, 10_000), "Operations at once under load and at the start."
    )
    max_parallelism: int = _setting(20, whole(1, 10_000), "Most operations at once.")
    grace_s: float = _setting(
        10.0, seconds(0, 86_400), "Between asking an operation to end and killing it."
    )
    tick_s: float = _setting(1.0, seconds(0.1, 3_600), "Between two looks at the load.")
    log_limit_bytes: int = _setting(
        64_000_000,
        whole(0, 999_999_999_999),
        "Most bytes of an operation's log: head and tail are kept (0: no limit).",
    )
    keep_runs_days: int = _setting(
        30, whole(0, 36_500), "Days after its end that a convoy's logs are kept (0: for ever)."
    )
    keep_runs_bytes: int = _setting(
        10_000_000_000,
        whole(0, 999_999_999_999),
        "Most bytes of ended convoys' logs together; the oldest go (0: no limit).",
    )
    on_finish: tuple[str, ...] = _setting(
        (), ARGUMENTS, "Command that is run when a convoy first fails and when it ends."
    )
    backpressure_threshold: float = _setting(
        0.8, fraction(), "Fraction of the write queue in use above which launches are refused."
    )
    enable_metrics: bool = _setting(True, FLAG, "Record metrics, for the history and monitoring.")
    metrics_db: Path = field(
        default=_BESIDE, metadata={"kind": PATH, "help": "The database of the metrics."}
    )
    metrics_retention_days: int = _setting(30, whole(1, 36_500), "Days for which metrics are kept.")
    monitoring_port: int = _setting(
        8080, whole(0, 65_535), "Port of the monitoring API of `aisquad up` (0: none)."
    )
    monitoring_address: str = _setting(
        "127.0.0.1", ADDRESS, "Where that listens; beyond loopback only the token lets in."
    )
    agents: Mapping[str, AgentProfile] = field(default_factory=lambda: BUILT_IN_AGENTS)
    """By name, the built-in ones first."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Key of each setting to `default`, `AI_SQUAD_X`, the path of a file, or `--flag`."""
    files: tuple[Path, ...] = ()
    """The settings files that were read, the user's before the project's."""
    untrusted: Untrusted | None = None
    """The project's file, if some of it was left out; None: all that it says holds."""

    def __post_init__(self) -> None:
        """Put the metrics into the state folder, unless somebody said where."""
        if self.metrics_db == _BESIDE:
            object.__setattr__(self, "metrics_db", self.workstate_db.with_name("metrics.db"))

    @property
    def state_dir(self) -> Path:
        """The folder of everything durable: databases, lock, `runs/`."""
        return self.workstate_db.parent

    def require_trust(self) -> None:
        """Refuse to run anything while some of the project's file was left out.

        Raises:
            UntrustedError: It was.
        """
        it = self.untrusted
        if it is not None:
            raise UntrustedError(it.path, it.held_back, remark=it.remark)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One setting for people: a line of `aisquad config`, a comment of `aisquad init`."""

    name: str
    """Its key in aisquad.toml."""
    variable: str
    """Its name in the environment."""
    value: str
    """As it would be written in aisquad.toml."""
    source: str
    allowed: str
    help: str


def is_plain(key: str) -> bool:
    """Tell whether a setting is a number or a flag, which holds whoever wrote it.

    A text may name a file, an address or a command: only a trusted file sets one.
    """
    return isinstance(BY_KEY[key].default, int | float)


BY_KEY = {
    f"{spec.name[:-2]}_seconds" if spec.name.endswith("_s") else spec.name: spec
    for spec in fields(Settings)
    if "kind" in spec.metadata
}
"""Key in aisquad.toml to the field of the setting."""


def describe(settings: Settings) -> tuple[SettingRow, ...]:
    """Return every setting for people, in the order of the fields."""
    return tuple(
        SettingRow(
            name=key,
            variable=VARIABLE_PREFIX + key.upper(),
            value=_as_toml(getattr(settings, spec.name)),
            source=settings.sources.get(key, DEFAULT_SOURCE),
            allowed=spec.metadata["kind"].allowed,
            help=spec.metadata["help"],
        )
        for key, spec in BY_KEY.items()
    )


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(str(value), ensure_ascii=False)
