"""Convoy files (TOML, YAML, JSON) and ad-hoc commands, checked and made into operations.

`read_source` reads a file, `plan` checks it wholly and raises `SpecError` with every problem, each
at its place; the plan then yields operations one by one. Nothing here starts or writes anything.

Rules that the files follow:

- Paths that aisquad itself reads (`for_each` patterns, `cwd`, `stdin_file`) are relative to the
  convoy file. An operation runs in its `cwd`, else the one of `defaults`, else its agent's, else
  where the convoy was launched.
- A pattern's matches are relative to the convoy file in ids, `needs`, `cwd` and `stdin_file`.
  Commands, prompts, `stdin` and `context` get them in a form that works where the operation runs:
  relative if that is the convoy file's folder (`./-x` for `-x`), absolute otherwise. A pattern that
  ends in `/` means folders; they are given without it.
- Placeholders are the names of `for_each`; an agent's `command` and `stdin`, and an operation's own
  `stdin`, know `{prompt}` too. `{{name}}` is a literal `{name}`, any other brace is itself. An
  unknown `{name}` is refused in ids, prompts, `cwd` and input; in commands, which have braces of
  their own, only if it looks like a known name misspelt.
- `needs` entries: see `graph`. Shell lines: see `shell`.
- `agent` beside `run` only says whose limits (and environment) hold; timeout, folder, input and
  output of its profile belong to its own command. An `agent` in `defaults` holds for `run`, too.
"""

from __future__ import annotations

from aisquad_core.spec.operation import OperationTemplate
from aisquad_core.spec.plan import ConvoyPlan, plan
from aisquad_core.spec.source import (
    MAX_OPERATIONS,
    AdHocSource,
    ConvoySource,
    SpecFormat,
    SpecSource,
    read_source,
)
from aisquad_core.spec.template import display_command

__all__ = [
    "MAX_OPERATIONS",
    "AdHocSource",
    "ConvoyPlan",
    "ConvoySource",
    "OperationTemplate",
    "SpecFormat",
    "SpecSource",
    "display_command",
    "plan",
    "read_source",
]
