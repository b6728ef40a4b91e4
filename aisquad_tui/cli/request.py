"""What `run` and `launch` are asked to run: a convoy file, or a command with inputs.

`run` goes on with an interrupted convoy, too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from aisquad_tui.cli import session
from aisquad_tui.cli.selection import read_lines

if TYPE_CHECKING:
    from aisquad_core.spec import ConvoySource


class FileFormat(StrEnum):
    """The values of `--format`."""

    TOML = "toml"
    YAML = "yaml"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdHoc:
    """`--each` and the flags that go with it; None or False: not given."""

    command: str | None
    is_nul: bool
    name: str | None
    agent: str | None
    retries: int | None
    timeout: str | None
    is_first_failure_last: bool

    def given(self) -> list[str]:
        """Return the flags that were given beside `--each`."""
        flags: dict[str, object] = {
            "-0": self.is_nul,
            "--name": self.name,
            "--agent": self.agent,
            "--retries": self.retries is not None,
            "--timeout": self.timeout,
            "--stop-on-first-failure": self.is_first_failure_last,
        }
        return [flag for flag, value in flags.items() if value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The arguments that say what to run."""

    targets: tuple[str, ...]
    resume: str | None = None
    is_dry: bool
    can_resume: bool = True
    """Whether the verb has `--resume`."""
    format: FileFormat | None
    """How the file is written; None: its name tells."""
    ad_hoc: AdHoc

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            typer.BadParameter: Says what to give instead.
        """
        if self.resume is not None and (self.targets or self.ad_hoc.command is not None):
            raise typer.BadParameter("goes without FILE and --each", param_hint="'--resume'")
        if self.resume is not None and self.is_dry:
            raise typer.BadParameter("goes without --resume", param_hint="'--dry-run'")
        if self.ad_hoc.command is None:
            if given := self.ad_hoc.given():
                raise typer.BadParameter(
                    "goes with --each only; for a convoy file set it in the file",
                    param_hint=f"'{given[0]}'",
                )
            if self.resume is None and len(self.targets) != 1:
                ways = "one convoy file, --each CMD, or --resume CONVOY"
                if not self.can_resume:
                    ways = "one convoy file or --each CMD"
                raise typer.BadParameter(f"give {ways}", param_hint="FILE")
        elif not self.targets and sys.stdin.isatty():
            raise typer.BadParameter(
                "give inputs as arguments, or by a pipe, one a line", param_hint="INPUT"
            )

    def source(self) -> ConvoySource:
        """Read the file or the inputs (blocking).

        Raises:
            SpecError: The file cannot be read.
            typer.BadParameter: A flag has a value that is not allowed.
        """
        from aisquad_core import spec  # noqa: PLC0415  # only those who run need it

        ad_hoc = self.ad_hoc
        if ad_hoc.command is None:
            return spec.read_source(
                self.targets[0],
                format=None if self.format is None else spec.SpecFormat(self.format),
            )
        inputs = list(self.targets)
        if not inputs or inputs == ["-"]:
            inputs = read_lines(separator=b"\0" if ad_hoc.is_nul else b"\n")
        return spec.AdHocSource(
            command=ad_hoc.command,
            inputs=tuple(inputs),
            name=ad_hoc.name,
            agent=ad_hoc.agent or "shell",
            retries=ad_hoc.retries or 0,
            timeout_s=self._timeout_s(),
            stop_on_first_failure=ad_hoc.is_first_failure_last,
        )

    def _timeout_s(self) -> float | None:
        if self.ad_hoc.timeout is None:
            return None
        try:
            return session.parse_duration(self.ad_hoc.timeout)
        except ValueError as error:
            raise typer.BadParameter(
                f"{self.ad_hoc.timeout!r}: {error}", param_hint="'--timeout'"
            ) from error
