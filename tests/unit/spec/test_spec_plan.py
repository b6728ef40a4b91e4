from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.model import OutputMode
from aisquad_core.spec import SpecFormat, display_command

if TYPE_CHECKING:
    from aisquad_core.model import Operation
    from aisquad_core.spec import ConvoyPlan
    from tests.unit.spec.conftest import PlanOf

NIGHTLY_REVIEW = """
name = "nightly-review"
stop_on_first_failure = false
timeout = "2h"                      # the whole convoy

[defaults]
agent = "engineer"
timeout = "30m"
retries = 1

[[operations]]
id = "lint"
agent = "limits"
run = "ruff check ."                # a shell line, or a list of arguments

[[operations]]
id = "fix-{file}"
for_each = { file = "src/**/*.py" } # one operation per match (or per list entry)
needs = ["lint"]
prompt = "Fix the lint findings in {file}"   # goes into the agent's command
"""


def by_id(plan: ConvoyPlan) -> dict[str, Operation]:
    return {operation.id: operation for operation in plan.operations()}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "src/deep").mkdir(parents=True)
    for name in ("src/a.py", "src/deep/b c.py", "src/.hidden.py", "src/c.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_example_of_the_design_runs_as_it_says(plan_of: PlanOf, sources: Path) -> None:
    plan = plan_of(text=NIGHTLY_REVIEW)
    assert (
        plan.name,
        plan.total,
        plan.stop_on_first_failure,
        plan.timeout_s,
    ) == ("nightly-review", 3, False, 7200)
    assert list(plan.agents.items()) == [("engineer", 2), ("limits", 1)]
    lint, first, second = plan.operations()
    assert (
        lint.id,
        lint.agent_id,
        lint.argv,
        lint.timeout_s,
        lint.retries,
        lint.needs,
    ) == ("lint", "limits", ("/bin/sh", "-c", "ruff check ."), 1800, 1, ())
    assert [first.id, second.id] == ["fix-src/a.py", "fix-src/deep/b c.py"]
    assert second.argv == ("engineer", "-p", "Fix the lint findings in src/deep/b c.py")
    assert second.needs == ("lint",)
    assert second.context == {
        "file": "src/deep/b c.py",
        "prompt": "Fix the lint findings in src/deep/b c.py",
    }
    assert [(each.id, each.command, each.count, each.needs) for each in plan.templates] == [
        ("lint", "ruff check .", 1, ()),
        ("fix-{file}", "engineer -p 'Fix the lint findings in {file}'", 2, ("lint",)),
    ]


def test_the_three_formats_mean_the_same(plan_of: PlanOf) -> None:
    toml = 'timeout = 1.5\n[[operations]]\nid = "a-{v}"\nrun = "x {v}"\nfor_each.v = [1, 2.50, "c"]'
    yaml = 'timeout: 1.5\noperations:\n- {id: "a-{v}", run: "x {v}", for_each: {v: [1, 2.50, c]}}'
    document = '{"timeout": 1.5, "operations": [{"id": "a-{v}", "run": "x {v}", "for_each": '
    document += '{"v": [1, 2.50, "c"]}}]}'
    plans = [
        plan_of(text=text, format=format)
        for text, format in (
            (toml, SpecFormat.TOML),
            (yaml, SpecFormat.YAML),
            (document, SpecFormat.JSON),
        )
    ]
    assert list(by_id(plans[0])) == ["a-1", "a-2.50", "a-c"]
    for plan in plans:
        assert (1.5, list(plans[0].operations())) == (plan.timeout_s, list(plan.operations()))


def test_yaml_reads_words_as_version_1_2_does(plan_of: PlanOf) -> None:
    text = "operations: [{id: '{v}', run: 'true', for_each: {v: [no, on, 010, 1:30, 1e3, 0x1F]}}]"
    plan = plan_of(text=text, format=SpecFormat.YAML)
    assert list(by_id(plan)) == ["no", "on", "010", "1:30", "1e3", "0x1F"]


def test_an_operation_overrides_defaults_which_override_the_agent(plan_of: PlanOf) -> None:
    operations = by_id(
        plan_of(
            {
                "id": "own",
                "prompt": "p",
                "timeout": 1,
                "priority": 3,
                "cwd": "b",
                "stdin": "own {prompt}",
            },
            {"id": "inherited", "prompt": "p"},
            {"id": "plain", "run": ["x"]},
            convoy={
                "defaults": {"agent": "reader", "cwd": "a", "retries": 2, "retry_delay": 0},
                "priority": 7,
            },
        )
    )
    own, inherited, plain = (operations[id] for id in ("own", "inherited", "plain"))
    assert (own.timeout_s, own.priority, own.stdin) == (1, 3, "own p")
    assert Path(own.cwd or "").name == "b"
    assert (
        inherited.timeout_s,
        inherited.priority,
        inherited.stdin,
        inherited.stdout,
    ) == (60, 7, "p\n", OutputMode.RESULT)
    assert (inherited.retries, inherited.retry_delay_s) == (2, 0)
    assert Path(inherited.cwd or "").name == "a"
    assert (
        plain.agent_id,
        plain.timeout_s,
        plain.stdin,
        plain.stdout,
    ) == ("reader", None, None, OutputMode.LOG)


def test_folders_and_files_count_from_where_they_are_written(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    operations = by_id(
        plan_of(
            {"id": "launched", "run": "true"},
            {"id": "own", "run": "true", "cwd": "../x", "stdin_file": "in/../in.txt"},
            {"id": "agent", "agent": "reader", "prompt": "p"},
            {"id": "filer", "agent": "filer", "cwd": "sub"},
            cwd="/launch",
        )
    )
    assert operations["launched"].cwd is None
    assert (f"{tmp_path.parent}/x", f"{tmp_path}/in.txt") == (
        operations["own"].cwd,
        operations["own"].stdin_file,
    )
    assert operations["agent"].cwd == "/launch/sub"
    assert f"{tmp_path}/sub/in.txt" == operations["filer"].stdin_file


def test_a_match_works_from_the_folder_that_the_operation_runs_in(
    plan_of: PlanOf, sources: Path
) -> None:
    (sources / "-rf").touch()
    table = {"id": "{f}", "for_each": {"f": "[-s]*"}, "run": ["cat", "{f}"]}
    here = by_id(plan_of(table))
    assert (list(here), here["-rf"].argv) == (["-rf"], ("cat", "./-rf"))
    elsewhere = by_id(plan_of(table, cwd="/"))
    assert ("cat", f"{sources}/-rf") == elsewhere["-rf"].argv
    plan = plan_of({"id": "in {d}", "for_each": {"d": "src/*/"}, "run": "ls {d}", "cwd": "{d}"})
    assert plan.templates[0].cwd == "{d}"
    folders = by_id(plan)
    assert f"{sources}/src/deep" == folders["in src/deep"].cwd == folders["in src/deep"].argv[-1]


def test_values_are_filled_in_once(plan_of: PlanOf) -> None:
    (operation,) = plan_of(
        {
            "id": "{a}",
            "agent": "engineer",
            "for_each": {"a": ["{b}{{a}}{prompt}"], "b": ["B"]},
            "prompt": 'do {a} {{a}} {b} {"json": {"x": 1}}',
            "stdin": "{prompt}|{a}",
        }
    ).operations()
    assert operation.id == "{b}{{a}}{prompt}"
    prompt = 'do {b}{{a}}{prompt} {a} B {"json": {"x": 1}}'
    assert ("engineer", "-p", prompt) == operation.argv
    assert f"{prompt}|{{b}}{{{{a}}}}{{prompt}}" == operation.stdin


def test_braces_that_are_no_placeholders_stay_in_commands(plan_of: PlanOf) -> None:
    line = "awk '{print $1}' ${HOME} {a,b} {other} | docker ps --format '{{.ID}} {{json .}}'"
    arguments = ["docker", "inspect", "-f", "{{.State}}", "{x}", "{{x}}", "${v}"]
    table = {"for_each": {"v": ["V"]}}
    operations = by_id(
        plan_of({"id": "line {v}", "run": line, **table}, {"id": "{v}", "run": arguments, **table})
    )
    assert ("/bin/sh", "-c", line) == operations["line V"].argv
    assert (*arguments[:-1], "$V") == operations["V"].argv


def test_an_agents_shell_line_gets_the_prompt_as_a_parameter(plan_of: PlanOf) -> None:
    (operation,) = plan_of({"id": "x", "agent": "line", "prompt": "$(touch x)"}).operations()
    line = 'line -p "$1" </dev/null'
    assert ("/bin/sh", "-c", line, "sh", "$(touch x)") == operation.argv


def test_several_names_make_the_product_in_order(plan_of: PlanOf) -> None:
    plan = plan_of({"id": "{a}{b}", "run": "true", "for_each": {"a": [1, 2], "b": ["x", "y"]}})
    assert list(by_id(plan)) == ["1x", "1y", "2x", "2y"]


def test_needs_name_one_operation_a_whole_template_or_the_same_values(plan_of: PlanOf) -> None:
    packages = {"for_each": {"pkg": ["p", "q"]}, "run": "true"}
    operations = by_id(
        plan_of(
            {"id": "report", "needs": ["test-{pkg}", "test-p"], "run": "true"},
            {"id": "build-{pkg}", **packages},
            {"id": "test-{pkg}", "needs": ["build-{pkg}", "build-p"], **packages},
        )
    )
    assert {id: operation.needs for id, operation in operations.items()} == {
        "report": ("test-p", "test-q"),
        "build-p": (),
        "build-q": (),
        "test-p": ("build-p",),
        "test-q": ("build-q", "build-p"),
    }


def test_a_file_named_like_a_placeholder_does_not_hide_its_template(plan_of: PlanOf) -> None:
    operations = by_id(
        plan_of(
            {"id": "fix-{f}", "for_each": {"f": ["{f}", "b"]}, "run": "true"},
            {"id": "end", "needs": ["fix-{f}"], "run": "true"},
        )
    )
    assert operations["end"].needs == ("fix-{f}", "fix-b")


def test_two_templates_of_one_text_are_needed_together(plan_of: PlanOf) -> None:
    operations = by_id(
        plan_of(
            {"id": "t-{v}", "for_each": {"v": [1]}, "run": "true"},
            {"id": "t-{v}", "for_each": {"v": [2]}, "run": "true"},
            {"id": "end", "needs": ["t-{v}"], "run": "true"},
        )
    )
    assert operations["end"].needs == ("t-1", "t-2")


def test_context_and_metadata_are_plain_json(plan_of: PlanOf) -> None:
    (operation,) = plan_of(
        {
            "id": "x-{v}",
            "run": "true",
            "for_each": {"v": [0.5]},
            "context": {"ticket": {"n": [1.5, None, True]}},
            "metadata": {"team": "core"},
        }
    ).operations()
    assert json.loads(json.dumps(operation.context)) == {
        "ticket": {"n": [1.5, None, True]},
        "v": "0.5",
    }
    assert type(operation.context["ticket"]["n"][0]) is float
    assert operation.metadata == {"team": "core"}


def test_a_plan_can_be_expanded_again(plan_of: PlanOf) -> None:
    plan = plan_of({"id": "{v}", "for_each": {"v": [1, 2]}, "run": "echo {v}"})
    assert list(plan.operations()) == list(plan.operations())


def test_a_convoy_without_a_name_is_called_after_its_file(plan_of: PlanOf) -> None:
    assert plan_of({"id": "a", "run": "true"}).name == "convoy"


@pytest.mark.parametrize(
    ("run", "shown"),
    [
        ("make all && echo 'done'", "make all && echo 'done'"),
        ("printf '\x1b[2J'\n", "printf '\\x1b[2J'\\n"),
        (["printf", "%s", "a b", "$(x)"], "printf %s 'a b' '$(x)'"),
        (["x", "\x1b]0;title\x07"], "x '\\x1b]0;title\\x07'"),
    ],
)
def test_a_command_is_shown_as_a_person_would_type_it(
    plan_of: PlanOf, run: object, shown: str
) -> None:
    plan = plan_of({"id": "a", "run": run})
    (operation,) = plan.operations()
    assert shown.removesuffix("\\n") == display_command(operation)
    assert shown == plan.templates[0].command
