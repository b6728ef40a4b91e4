"""`aisquad config`: every setting with its value and where it came from, and the agents."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.shapes import document, record
from aisquad_tui.cli.table import Cell, Column, Table
from aisquad_tui.cli.terminal import ColorChoice, Ink, open_terminal

if TYPE_CHECKING:
    from aisquad_core.settings import AgentProfile, SettingRow, Untrusted
    from aisquad_tui.cli.shapes import Json
    from aisquad_tui.cli.terminal import Terminal

_NOT_TRUSTED = "(not trusted)"
_MOST_CHARACTERS = 1_000
_SETTINGS = (
    Column(title="SETTING"),
    Column(title="VALUE", floor=12),
    Column(title="FROM", floor=10),
    Column(title="MEANING", floor=20, leaves=1),
)
_AGENTS = (
    Column(title="AGENT"),
    Column(title="FOUND", floor=8),
    Column(title="COMMAND", floor=20),
    Column(title="LIMITS", floor=8, leaves=2),
    Column(title="FROM", floor=8, leaves=1),
)


def config(
    *,
    as_json: options.AsJson = False,
    state: options.State = None,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Show every setting and where it came from.

    It also tells which agents are installed. Settings come, the later over the earlier, from the
    defaults, ~/.config/aisquad/aisquad.toml, the project's aisquad.toml, AI_SQUAD_* variables and
    the command line.
    """
    terminal = open_terminal(color=color)

    def show_config() -> int:
        settings = session.load_settings(state, is_silent=True)
        rows = [_told(row, settings.untrusted) for row in session.describe(settings)]
        agents = [_told_agent(it, settings.untrusted) for it in settings.agents.values()]
        out = terminal.out
        if as_json:
            shapes: list[Json] = [record(row) for row in rows]
            untrusted = None if settings.untrusted is None else record(settings.untrusted)
            found: list[Json] = [_shape(it) for it in agents]
            out.line(document({"settings": shapes, "agents": found, "untrusted": untrusted}))
            return Status.OK
        lines = Table(_SETTINGS, out).lines(
            [
                [
                    (row.name, Ink.STRONG),
                    (one_line(row.value), Ink.PLAIN),
                    (one_line(row.source), Ink.DIM),
                    (row.help, Ink.DIM),
                ]
                for row in rows
            ]
        )
        lines += ["", *Table(_AGENTS, out).lines([_row(it) for it in agents])]
        for line in lines:
            out.line(line)
        if settings.untrusted is not None:
            out.file.flush()
            _say_untrusted(settings.untrusted, terminal)
        return Status.OK

    conclude(show_config)


def _told(row: SettingRow, untrusted: Untrusted | None) -> SettingRow:
    """Return a setting that says so if a file that is not trusted has another value for it."""
    if untrusted is None or row.name not in untrusted.held_back:
        return row
    return replace(row, source=f"{row.source}; {untrusted.path.name} {_NOT_TRUSTED}")


def _told_agent(agent: AgentProfile, untrusted: Untrusted | None) -> AgentProfile:
    """Return an agent that says so if some of it does not hold."""
    keys = () if untrusted is None else untrusted.held_back
    if not any(key.rpartition(".")[0] == f"agents.{agent.name}" for key in keys):
        return agent
    return replace(agent, source=f"{agent.source} {_NOT_TRUSTED}")


def _say_untrusted(untrusted: Untrusted, terminal: Terminal) -> None:
    """Tell what does not hold, and how it would."""
    path = one_line(str(untrusted.path))
    keys = one_line(", ".join(untrusted.held_back), _MOST_CHARACTERS)
    terminal.say(f"{path} is not trusted: {keys} of it {_verb(untrusted)} not hold")
    if untrusted.remark is not None:
        terminal.say(one_line(untrusted.remark, _MOST_CHARACTERS))
    terminal.say("`aisquad trust` shows what it would run, and asks")


def _verb(untrusted: Untrusted) -> str:
    return "does" if len(untrusted.held_back) == 1 else "do"


def found_program(agent: AgentProfile) -> str | None:
    """Return the path of the agent's program; None when it is not installed or it has none."""
    return shutil.which(agent.program) if agent.program else None


def _row(agent: AgentProfile) -> list[Cell]:
    path = found_program(agent)
    if agent.program is None:
        found: Cell = ("-", Ink.DIM)
    else:
        found = (one_line(path), Ink.GOOD) if path else ("not found", Ink.DIM)
    return [
        (one_line(agent.name), Ink.STRONG),
        found,
        (_command(agent), Ink.PLAIN),
        (_limits(agent), Ink.PLAIN),
        (one_line(agent.source), Ink.DIM),
    ]


def _command(agent: AgentProfile) -> str:
    if agent.command is None:
        return "(what each operation runs)"
    command = agent.command
    return one_line(command if isinstance(command, str) else shlex.join(command))


def _limits(agent: AgentProfile) -> str:
    limits = []
    if agent.max_parallel is not None:
        limits.append(f"{agent.max_parallel} at once")
    if agent.rate_limit is not None:
        limits.append(f"{agent.rate_limit}/min")
    return ", ".join(limits)


def _shape(agent: AgentProfile) -> dict[str, Json]:
    """Return an agent as JSON, without its environment, which may hold secrets."""
    shape = record(agent)
    del shape["env"], shape["stdin"]
    return {**shape, "found": found_program(agent)}
