from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

import pytest

from aisquad_core.errors import Problem, SpecError
from aisquad_core.settings import AgentProfile
from aisquad_core.spec import SpecFormat, SpecSource, plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aisquad_core.spec import ConvoyPlan

AGENTS = {
    profile.name: profile
    for profile in (
        AgentProfile(name="shell"),
        AgentProfile(name="engineer", command=("engineer", "-p", "{prompt}")),
        AgentProfile(name="line", command="line -p {prompt} </dev/null"),
        AgentProfile(name="quoted", command='quoted "{prompt}"', source="aisquad.toml"),
        AgentProfile(
            name="reader",
            command=("reader",),
            stdin="{prompt}\n",
            cwd="sub",
            timeout_s=60,
            stdout="result",
        ),
        AgentProfile(name="filer", command=("filer",), stdin_file="in.txt"),
        AgentProfile(name="limits"),
    )
}


class PlanOf(Protocol):
    """Plans a convoy from the text of a file, or from the tables of its operations."""

    def __call__(
        self,
        *operations: Mapping[str, object],
        text: str | None = None,
        format: SpecFormat = SpecFormat.TOML,
        cwd: str | None = None,
        convoy: Mapping[str, object] | None = None,
    ) -> ConvoyPlan: ...


class ProblemsOf(Protocol):
    """The same for a convoy that cannot be planned."""

    def __call__(
        self,
        *operations: object,
        text: str | None = None,
        format: SpecFormat = SpecFormat.TOML,
        convoy: Mapping[str, object] | None = None,
    ) -> tuple[Problem, ...]: ...


@pytest.fixture
def plan_of(tmp_path: Path) -> PlanOf:
    def plan_of(
        *operations: object,
        text: str | None = None,
        format: SpecFormat = SpecFormat.TOML,
        cwd: str | None = None,
        convoy: Mapping[str, object] | None = None,
    ) -> ConvoyPlan:
        if text is None:
            format = SpecFormat.JSON
            text = json.dumps({**(convoy or {}), "operations": operations})
        source = SpecSource(
            text=text, format=format, origin=f"convoy.{format}", base_dir=str(tmp_path)
        )
        return plan(source, agents=AGENTS, cwd=str(tmp_path) if cwd is None else cwd)

    return plan_of


@pytest.fixture
def problems_of(plan_of: PlanOf) -> ProblemsOf:
    def problems_of(
        *operations: object,
        text: str | None = None,
        format: SpecFormat = SpecFormat.TOML,
        convoy: Mapping[str, object] | None = None,
    ) -> tuple[Problem, ...]:
        with pytest.raises(SpecError) as raised:
            plan_of(*operations, text=text, format=format, convoy=convoy)  # type: ignore[arg-type]  # wrong on purpose
        return raised.value.problems

    return problems_of
