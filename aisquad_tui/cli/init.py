"""`aisquad init`: a commented aisquad.toml and a first convoy that runs anywhere."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from aisquad_core.errors import InputError
from aisquad_core.sanitise import one_line
from aisquad_tui.cli import options, session
from aisquad_tui.cli.boundary import Status, conclude
from aisquad_tui.cli.config import found_program
from aisquad_tui.cli.terminal import ColorChoice, open_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aisquad_core.settings import AgentProfile, SettingRow

SETTINGS_FILE = "aisquad.toml"
CONVOY_FILE = "starter.toml"
_HEAD = """\
# aisquad's settings for this folder and those below it. All are optional; what is commented out
# shows the default. `aisquad config` tells every value and where it came from.
"""
_AGENTS_HEAD = """
# Agents are named ways to run operations: `agent = "engineer"` in a convoy file, with
# `prompt = "…"` for what goes in place of {prompt}. Built in are claude, codex, gemini, opencode
# and copilot, in their headless forms. Each key is optional but the command.
"""
_AGENT = """
#[agents.engineer]
#command = {command}
#max_parallel = 4            # at most so many of them at once
#rate_limit = 20             # starts per minute
#timeout = "30m"             # of one attempt
#cwd = "."                   # where it runs; default: where the convoy was launched
#env = {{ NAME = "value" }}    # added to its environment
#stdin = "{{prompt}}"          # for prompts that are long or private
#stdout = "result"           # keep its answer apart from its log
"""
_STARTER = """\
# A convoy that runs anywhere: it looks at this machine. Try it:
#
#     aisquad run starter.toml
#     aisquad items
#
name = "starter"
timeout = "10m"                   # for the whole convoy

[defaults]
timeout = "2m"                    # for one attempt of one operation
retries = 1                       # tried again by itself after a failure

[[operations]]
id = "machine"
run = "uname -srm; df -h ."

# One operation for each entry. In a shell line a placeholder is a positional parameter, so it
# needs no quotes, whatever the value holds.
[[operations]]
id = "find-{tool}"
needs = ["machine"]
for_each = { tool = [
    "awk", "bash", "cc", "curl", "docker", "find", "git", "go", "grep", "gzip", "jq", "make",
    "node", "perl", "python3", "rsync", "ruby", "sed", "sort", "ssh", "tar", "tmux", "vim", "xz",
] }
run = "command -v {tool} || echo {tool} is not installed"

# Globs work, too: `for_each = { file = "src/**/*.py" }` makes one operation for each match.
[[operations]]
id = "measure-{folder}"
needs = ["machine"]
for_each = { folder = ["/bin", "/etc", "/lib", "/opt", "/usr/bin", "/usr/lib", "/usr/share"] }
run = "du -sk {folder} 2>/dev/null || true"

[[operations]]
id = "gzip-{level}"
needs = ["machine"]
for_each = { level = ["1", "2", "3", "4", "5", "6", "7", "8", "9"] }
run = "od -An -tx1 -N2000000 /dev/urandom | gzip -{level} | wc -c"

# It waits for all of them. Work for an agent has `agent` and `prompt` in place of `run`.
[[operations]]
id = "report"
needs = ["find-{tool}", "measure-{folder}", "gzip-{level}"]
run = "echo looked at this machine on $(date)"
"""


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to write. [default: here]")
    ] = Path(),
    *,
    is_forced: Annotated[bool, typer.Option("--force", help="Write over existing files.")] = False,
    color: options.Color = ColorChoice.AUTO,
) -> None:
    """Write a first convoy and commented settings.

    The convoy, starter.toml, runs anywhere. All of aisquad.toml is optional and explained in it.
    """
    terminal = open_terminal(color=color)

    def write_files() -> int:
        settings = session.load_settings(None, is_silent=True)
        agents = [agent for agent in settings.agents.values() if found_program(agent)]
        contents = {
            SETTINGS_FILE: settings_text(session.describe(session.default_settings()), agents),
            CONVOY_FILE: _STARTER,
        }
        _check(folder, contents, is_forced=is_forced)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            path = folder / name
            with path.open("w" if is_forced else "x", encoding="utf-8") as file:
                file.write(text)
            terminal.say(f"wrote {one_line(str(path))}")
        names = ", ".join(one_line(agent.name) for agent in agents)
        terminal.say(f"agents found: {names or 'none; any command runs without one'}")
        terminal.say(f"next: aisquad run {one_line(str(folder / CONVOY_FILE))}")
        return Status.OK

    conclude(write_files)


def settings_text(rows: Sequence[SettingRow], agents: Sequence[AgentProfile]) -> str:
    """Return an aisquad.toml whose settings are all commented out.

    Args:
        rows: The settings.
        agents: Those whose program is installed here.
    """
    lines = [_HEAD]
    for row in rows:
        comment = f"{row.help} Allowed: {row.allowed}."
        lines += wrap(comment, 98, initial_indent="# ", subsequent_indent="# ")
        lines += [f"#{row.name} = {row.value}", ""]
    command = next((agent.command for agent in agents if isinstance(agent.command, tuple)), None)
    shown = _toml_list(command or ("claude", "--print", "--", "{prompt}"))
    names = ", ".join(agent.name for agent in agents) or "none"
    lines += [_AGENTS_HEAD.strip(), f"# Found on this machine: {names}."]
    return "\n".join(lines) + _AGENT.format(command=shown)


def _toml_list(arguments: Sequence[str]) -> str:
    quoted = (argument.replace("\\", "\\\\").replace('"', '\\"') for argument in arguments)
    return "[" + ", ".join(f'"{argument}"' for argument in quoted) + "]"


def _check(folder: Path, names: Iterable[str], *, is_forced: bool) -> None:
    """Refuse to write over anything, before anything is written.

    Raises:
        InputError: A file exists.
    """
    existing = [name for name in names if (folder / name).exists()]
    if existing and not is_forced:
        shown = one_line(", ".join(str(folder / name) for name in existing))
        raise InputError(f"{shown}: exists already; --force writes over it")
