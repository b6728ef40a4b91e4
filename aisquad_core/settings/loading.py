"""Where settings come from: the files, the environment, the command line."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aisquad_core.errors import SettingsError, SettingsFileError
from aisquad_core.settings.agents import BUILT_IN_AGENTS, guarded_agent_keys, take_agents
from aisquad_core.settings.kinds import Kind, refuse_unknown
from aisquad_core.settings.values import (
    BY_KEY,
    DEFAULT_SOURCE,
    VARIABLE_PREFIX,
    Settings,
    Untrusted,
    is_plain,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATE_FOLDER = ".ai_squad"
SETTINGS_FILE = "aisquad.toml"
_LARGEST_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class _Found:
    """A value that somebody set."""

    value: object
    raw: object
    """As it was written."""
    source: str
    """As `Settings.sources` has it."""
    name: str
    """What the writer called it."""
    place: str
    """Where an error says it is."""


def load_settings(
    *,
    cwd: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, object] = MappingProxyType({}),
    state_dir: Path | None = None,
) -> Settings:
    """Read the settings that hold in a folder.

    What decides what runs (agents' commands, environments and folders, the database's path) is
    left out of a project's file that the operator has not trusted: `Settings.untrusted` names it.

    Args:
        cwd: Absolute folder from which the project's folder is sought upwards.
        environ: Variables; also says where the user's own file is.
        flags: Key of a setting to what the command line says; None: it says nothing.
        state_dir: Folder of `--state`, which overrides every other place of the database.

    Raises:
        SettingsError: A value is not allowed, a key is unknown, or a file cannot be read.
    """
    files = _read_files(_project_folder(cwd), environ)
    return _settle(files, cwd=cwd, environ=environ, flags=flags, state_dir=state_dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A project's file as the operator is asked about it."""

    path: Path
    content: bytes
    """As it was read, once; a yes is to exactly this."""
    guarded: tuple[str, ...]
    """Its keys that only a trusted file may set."""
    is_trusted: bool
    """Whether all of it holds: the operator has said yes, or there is nothing to ask."""
    settings: Settings
    """Those of the files once it is trusted, whatever variables say."""


def review_project(*, cwd: Path, environ: Mapping[str, str]) -> Review | None:
    """Read what the project's file would set, as if it were trusted.

    Args:
        cwd: Absolute folder from which the project's folder is sought upwards.
        environ: As for `load_settings`.

    Returns:
        None if the project has no file, or it is the user's own.

    Raises:
        SettingsError: As for `load_settings`.
    """
    project = _project_folder(cwd)
    files = _read_files(project, environ)
    if not files or files[-1].is_users:
        return None
    trusting = [replace(file, is_trusted=True) for file in files]
    unset = {name: it for name, it in environ.items() if not name.startswith(VARIABLE_PREFIX)}
    return Review(
        path=files[-1].path,
        content=files[-1].content,
        guarded=files[-1].guarded,
        is_trusted=files[-1].is_trusted,
        settings=_settle(trusting, cwd=cwd, environ=unset),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A settings file, read once."""

    path: Path
    content: bytes
    table: Mapping[str, Any]
    guarded: tuple[str, ...]
    """Its keys that only a trusted file may set."""
    is_users: bool
    is_trusted: bool
    remark: str | None = None
    """What is wrong with the list of trusted files."""

    def settings(self) -> dict[str, _Found]:
        """Return what it sets and may set."""
        found = _settings_of(self.table, str(self.path))
        return {key: it for key, it in found.items() if self.is_trusted or is_plain(key)}


def _read_files(project: Path, environ: Mapping[str, str]) -> list[_File]:
    """Read the settings files, the user's before the project's, and see which are trusted."""
    users = _users_file(environ)
    paths = [] if users is None else [users]
    if project / SETTINGS_FILE not in paths:
        paths.append(project / SETTINGS_FILE)
    return [
        _read_file(path, environ, is_users=path == users) for path in paths if os.path.isfile(path)
    ]


def _read_file(path: Path, environ: Mapping[str, str], *, is_users: bool) -> _File:
    content = _read(path)
    table = _parse_toml(path, content)
    guarded = (*guarded_agent_keys(table.get("agents")), *_guarded_settings(table))
    is_trusted, remark = is_users or not guarded, None
    if not is_trusted:
        from aisquad_core.trust import read_trusted  # noqa: PLC0415 - most commands do not pay

        trusted = read_trusted(environ)
        is_trusted, remark = trusted.holds(path, content), trusted.problem
    return _File(
        path=path,
        content=content,
        table=table,
        guarded=guarded,
        is_users=is_users,
        is_trusted=is_trusted,
        remark=remark,
    )


def _guarded_settings(table: Mapping[str, Any]) -> list[str]:
    nested = table.get("settings")
    keys = (*table, *(nested if isinstance(nested, dict) else ()))
    return [key for key in keys if key in BY_KEY and not is_plain(key)]


def _settle(
    files: Sequence[_File],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, object] = MappingProxyType({}),
    state_dir: Path | None = None,
) -> Settings:
    """Lay files, variables and flags over the defaults."""
    found: dict[str, _Found] = {}
    agents = dict(BUILT_IN_AGENTS)
    untrusted: Untrusted | None = None
    for file in files:
        tables = file.table.get("agents", {})
        take_agents(agents, tables, str(file.path), is_trusted=file.is_trusted)
        found |= file.settings()
        if not file.is_trusted:
            untrusted = Untrusted(path=file.path, held_back=file.guarded, remark=file.remark)
    for key in BY_KEY:
        variable = VARIABLE_PREFIX + key.upper()
        if variable in environ:
            found[key] = _find(key, environ[variable], variable, variable, "environment")
    for key, raw in flags.items():
        if raw is not None:
            flag = f"--{key.replace('_', '-')}"
            found[key] = _find(key, raw, flag, flag, "command line")

    values: dict[str, Any] = {BY_KEY[key].name: it.value for key, it in found.items()}
    sources = {key: found[key].source if key in found else DEFAULT_SOURCE for key in BY_KEY}
    database = Path(values.get("workstate_db", Path(STATE_FOLDER, "workstate.db")))
    if state_dir is not None:
        database = cwd / state_dir / "workstate.db"
        sources["workstate_db"] = "--state"
    project = _project_folder(cwd)
    values["workstate_db"] = project / _expand_home(database, environ)
    if "metrics_db" in values:
        values["metrics_db"] = project / _expand_home(values["metrics_db"], environ)
    settings = Settings(
        **values,
        agents=MappingProxyType(agents),
        sources=MappingProxyType(sources),
        files=tuple(file.path for file in files),
        untrusted=untrusted,
    )
    return _fit_together(settings, found)


def _project_folder(cwd: Path) -> Path:
    """Return the nearest folder upwards with `aisquad.toml` or `.ai_squad`, else `cwd`."""
    for folder in (cwd, *cwd.parents):
        if os.path.isfile(folder / SETTINGS_FILE) or os.path.isdir(folder / STATE_FOLDER):
            return folder
    return cwd


def _users_file(environ: Mapping[str, str]) -> Path | None:
    config = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):  # the XDG specification ignores a relative one
        config = os.path.join(environ.get("HOME", ""), ".config")
    return Path(config, "aisquad", SETTINGS_FILE) if os.path.isabs(config) else None


def _expand_home(path: Path, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    return Path(home, *path.parts[1:]) if home and path.parts[:1] == ("~",) else path


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsFileError(file, f"cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST_FILE_BYTES:
        raise SettingsFileError(file, f"larger than {_LARGEST_FILE_BYTES // 1_000_000} MB")
    return content


def _parse_toml(file: Path, content: bytes) -> dict[str, Any]:
    try:
        text = content.decode()
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsFileError(file, "not UTF-8", line=line) from error
    except ValueError as error:  # TOMLDecodeError, and a number too long for Python
        place = re.search(r"\(at (?:line ([0-9]+), .*|end of document)\)$", str(error))
        last = text.count("\n") + 1
        at = None if place is None else int(place[1] or last)
        raise SettingsFileError(file, f"not TOML: {error}", line=at) from error
    except RecursionError as error:
        raise SettingsFileError(file, "nested too deeply") from error


def _settings_of(table: Mapping[str, Any], source: str) -> dict[str, _Found]:
    """Return the settings of a file: keys at its top level or in its table `settings`."""
    nested = table.get("settings", {})
    if not isinstance(nested, dict):
        raise SettingsError("settings", nested, "a table", source=source)
    found: dict[str, _Found] = {}
    for prefix, part in (("", table), ("settings.", nested)):
        for key, raw in part.items():
            name = f"{prefix}{key}"
            if name in {"agents", "settings"}:
                continue
            if key not in BY_KEY:
                known = (*BY_KEY, "agents", "settings") if not prefix else BY_KEY
                refuse_unknown(key, raw, known, name, source)
            if key in found:
                raise SettingsError(
                    name, raw, "to be set once; it is at the top too", source=source
                )
            found[key] = _find(key, raw, source, name, source)
    return found


def _find(key: str, raw: object, source: str, name: str, place: str) -> _Found:
    kind: Kind[object] = BY_KEY[key].metadata["kind"]
    try:
        return _Found(kind.parse(raw), raw, source, name, place)
    except (ValueError, TypeError) as error:
        raise SettingsError(name, raw, kind.allowed, source=place) from error


def _fit_together(settings: Settings, found: Mapping[str, _Found]) -> Settings:
    """Check values against each other; a default gives way to what somebody set."""
    if "rate_burst" not in found:
        settings = replace(settings, rate_burst=min(settings.rate_burst, settings.rate_limit))
    if "baseline_parallelism" not in found:
        baseline = min(settings.baseline_parallelism, settings.max_parallelism)
        settings = replace(settings, baseline_parallelism=baseline)
    if settings.baseline_parallelism > settings.max_parallelism:
        most = settings.sources["max_parallelism"]
        it = found["baseline_parallelism"]
        expected = f"at most max_parallelism, which is {settings.max_parallelism} ({most})"
        raise SettingsError(it.name, it.raw, expected, source=it.place)
    return settings
