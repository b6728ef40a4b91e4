from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import SpecError
from aisquad_core.settings import AgentProfile
from aisquad_core.spec import AdHocSource, ConvoyPlan, plan

if TYPE_CHECKING:
    from aisquad_core.model import Operation

AGENTS = {"shell": AgentProfile(name="shell"), "slow": AgentProfile(name="slow", max_parallel=1)}


def plan_of(command: str | tuple[str, ...], *inputs: str, **more: object) -> ConvoyPlan:
    source = AdHocSource(command=command, inputs=inputs, **more)  # type: ignore[arg-type]  # test
    return plan(source, agents=AGENTS, cwd="/tmp")


def operations(command: str | tuple[str, ...], *inputs: str) -> list[Operation]:
    return list(plan_of(command, *inputs).operations())


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("gzip -k {}", ("/bin/sh", "-c", 'gzip -k "$1"', "sh", "a b")),
        ("cp {} {}.bak", ("/bin/sh", "-c", 'cp "$1" "$1".bak', "sh", "a b")),
        ("wc -l", ("/bin/sh", "-c", 'wc -l "$1"', "sh", "a b")),
        ("jq '{x: 1}' | cat \n", ("/bin/sh", "-c", "jq '{x: 1}' | cat \"$1\"", "sh", "a b")),
        ("echo {{}} {} {x}", ("/bin/sh", "-c", 'echo {} "$1" {x}', "sh", "a b")),
        (("cp", "{}", "x/{}.bak"), ("cp", "a b", "x/a b.bak")),
        (("wc", "-l"), ("wc", "-l", "a b")),
    ],
)
def test_the_input_goes_where_the_braces_are_or_last(
    command: str | tuple[str, ...], argv: tuple[str, ...]
) -> None:
    (operation,) = operations(command, "a b")
    assert argv == operation.argv
    assert (operation.id, operation.context) == ("a b", {"input": "a b"})


def test_the_plan_takes_over_what_the_source_says() -> None:
    convoy = plan_of(
        "/usr/bin/gzip {}", "a", "b", agent="slow", retries=2, timeout_s=5, priority=3,
        stop_on_first_failure=True,
    )  # fmt: skip
    assert (
        convoy.name,
        convoy.total,
        convoy.agents,
        convoy.stop_on_first_failure,
    ) == ("gzip", 2, {"slow": 2}, True)
    first, _ = convoy.operations()
    assert (
        first.agent_id,
        first.retries,
        first.timeout_s,
        first.priority,
        first.cwd,
    ) == ("slow", 2, 5, 3, None)
    (template,) = convoy.templates
    assert (template.id, template.command, template.count) == ("{}", "/usr/bin/gzip {}", 2)
    assert plan_of("x", "a", name="mine").name == "mine"


def test_ids_are_printable_short_and_unique_while_arguments_stay_raw() -> None:
    raw = os.fsdecode(b"caf\xe9")
    inputs = ["a", "a", "a-2", "a", "x\ny", raw, "", " ", "l" * 300, "l" * 301, "../../x"]
    found = operations(("cat",), *inputs)
    assert inputs == [operation.argv[1] for operation in found]
    ids = [operation.id for operation in found]
    assert ids[:8] == ["a", "a-2", "a-2-2", "a-3", "x\\ny", "caf\\xe9", "(blank)", "(blank)-2"]
    assert ids[-1] == "../../x"
    assert len(ids) == len(set(ids))
    assert all(id.isprintable() and len(id) <= 200 for id in ids)
    assert found[5].context["input"] == "caf\\xe9"


def test_a_hundred_thousand_equal_inputs_get_their_ids_at_once() -> None:
    convoy = plan_of(("true",), *["same"] * 100_000)
    assert len({operation.id for operation in convoy.operations()}) == 100_000


@pytest.mark.parametrize(
    ("command", "inputs", "more", "key", "message"),
    [
        ("echo '{}'", ["a"], {}, "command", "{} stands inside single quotes: remove the quotes"),
        ('sh -c "x {}"', ["a"], {}, "command", "inside double quotes: remove the quotes"),
        ("echo a;", ["a"], {}, "command", "no argument can follow ; at the end: put {} there"),
        ("echo a # b", ["a"], {}, "command", "{} stands in a comment"),
        ("echo \\", ["a"], {}, "command", "no argument can follow \\"),
        (" ", ["a"], {}, "command", "empty; expected a shell line"),
        ((), ["a"], {}, "command", "empty; expected a shell line"),
        (("", "x"), ["a"], {}, "command", "empty; expected a shell line"),
        ("x\0", ["a"], {}, "command", "NUL"),
        (("x", "y\0"), ["a"], {}, "command", "NUL"),
        ("echo", [], {}, "inputs", "(--each 'CMD {}' INPUT…) or on standard input"),
        ("echo", ["a", "b\0c"], {}, "inputs[1]", '"b\\x00c" holds a NUL character'),
        ("echo", ["a", "\ud800"], {}, "inputs[1]", "is no text that a program can be given"),
        ("echo", ["a"] * 100_001, {}, "inputs", "100,001 of them; at most 100,000"),
        ("echo", ["x" * 131_072], {}, "inputs", "131,072 bytes; at most 131,071"),
        ("echo", ["a"], {"agent": "slwo"}, "agent", 'did you mean "slow"?'),
        ("echo", ["a"], {"timeout_s": 0}, "timeout", "expected more than 0 seconds"),
        ("echo", ["a"], {"retries": -1}, "retries", "expected a whole number from 0"),
    ],
)
def test_a_problem_of_the_command_line_names_its_part(
    command: str | tuple[str, ...],
    inputs: list[str],
    more: dict[str, object],
    key: str,
    message: str,
) -> None:
    with pytest.raises(SpecError) as raised:
        plan_of(command, *inputs, **more)
    (problem,) = raised.value.problems
    assert ("<command line>", key) == (problem.file, problem.key)
    assert message in problem.message
