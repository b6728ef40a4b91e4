from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aisquad_core.spec import SpecFormat

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.spec.conftest import PlanOf, ProblemsOf

OK = {"id": "ok", "run": "true"}


def one(**keys: object) -> dict[str, object]:
    return {"id": "x", "run": "true", **keys}


@pytest.mark.parametrize(
    ("operation", "key", "message"),
    [
        ({"run": "true"}, "id", "missing; expected a text"),
        (one(id=3), "id", "found the number 3, expected a text"),
        (one(id=""), "id", "found an empty text"),
        (one(id="x" * 201), "id", "201 characters; at most 200"),
        (one(id="{v}", for_each={"v": [" "]}), "id", "the id is blank"),
        (one(id="{nobody}"), "id", "{nobody} is no placeholder (known: none here)"),
        (one(id="{fil}", for_each={"file": ["a"]}), "id", "did you mean {file}?"),
        (one(id="ok"), "id", 'an operation before has the id "ok"'),
        (one(id="x", for_each={"v": [1, 2]}), "id", "put {v} into it"),
        (one(id="{v}", for_each={"v": ["a", "a"]}), "id", "a value is there twice"),
        (one(id="{a}{b}", for_each={"a": ["x", "xy"], "b": ["yz", "z"]}), "id", '"xyz"'),
        ({"id": "x"}, "run", "missing; expected a shell line or a list of arguments, or prompt"),
        ({"id": "x", "agent": "limits"}, "run", 'agent "limits" has no command of its own'),
        (one(run=""), "run", "found an empty text, expected a shell line"),
        (one(run=[]), "run", "found an empty list, expected a shell line"),
        (one(run=["", "a"]), "run", "found a list, expected a shell line, or a list"),
        (one(run=["a", 1]), "run", "found a list, expected a shell line, or a list"),
        (one(run="echo '{v}'", for_each={"v": ["a"]}, id="{v}"), "run", "remove the quotes"),
        (one(run="echo {vv}", for_each={"v": ["a"]}, id="{v}"), "run", None),
        (one(run="echo {vale}", for_each={"value": ["a"]}), "run", "did you mean {value}?"),
        (one(run=["echo", "{vale}"], for_each={"value": ["a"]}), "run", "did you mean {value}?"),
        (one(run=["echo", "x" * 131_072]), "run", "131,072 bytes; at most 131,071 can be"),
        (one(run=["echo", *["x" * 100_000] * 11]), "run", "1,100,004 bytes in all"),
        (one(prompt="do"), "prompt", "both run and prompt"),
        ({"id": "x", "agent": "engineer"}, "prompt", 'missing; agent "engineer" needs it'),
        ({"id": "x", "agent": "reader"}, "prompt", 'missing; agent "reader" needs it'),
        ({"id": "x", "agent": "engineer", "prompt": " "}, "prompt", 'the text " ", expected'),
        ({"id": "x", "agent": "engineer", "prompt": "{y}"}, "prompt", "{y} is no placeholder"),
        ({"id": "x", "agent": "filer", "prompt": "do"}, "prompt", "does not take a prompt"),
        ({"id": "x", "agent": "engineer", "prompt": "x" * 131_072}, "prompt", "use stdin"),
        (one(agent="enginer"), "agent", 'no agent is called "enginer"; did you mean "engineer"?'),
        (one(agent=1), "agent", "found the number 1, expected the name of an agent"),
        (one(needs="ok"), "needs", 'found the text "ok", expected a list of ids'),
        (one(needs=["ok", 3]), "needs[1]", "found the number 3, expected a text"),
        (one(needs=["ko"]), "needs[0]", 'no operation has the id "ko"'),
        (one(needs=["okk"]), "needs[0]", 'did you mean "ok"?'),
        (one(needs=["x"]), "needs", "operations that wait for each other: x needs x"),
        (one(id="x{v}", for_each={"v": [1]}, needs=["y{v}"]), "needs[0]", 'has the id "y1"'),
        (one(timeout="soon"), "timeout", 'found the text "soon", expected a duration such as'),
        (one(timeout=0), "timeout", "found the number 0, expected more than 0 seconds"),
        (one(timeout=True), "timeout", "found true, expected a duration"),
        (one(timeout=-1.5), "timeout", "found the number -1.5, expected a duration"),
        (one(retries=-1), "retries", "found the number -1, expected a whole number from 0"),
        (one(retries="1"), "retries", 'found the text "1", expected a whole number'),
        (one(retry_delay="x"), "retry_delay", "expected a duration"),
        (one(priority=0.5), "priority", "found the number 0.5, expected a whole number"),
        (one(cwd=""), "cwd", "expected a folder, relative to the convoy file"),
        (one(cwd="{x}"), "cwd", "{x} is no placeholder"),
        (one(stdin=1), "stdin", "found the number 1, expected a text"),
        (one(stdin="{prompt}"), "stdin", "{prompt} is no placeholder"),
        (one(stdin="a", stdin_file="b"), "stdin_file", "both stdin and stdin_file"),
        (one(stdout="file"), "stdout", 'expected "log" or "result"'),
        (one(context=[]), "context", "found an empty list, expected a table"),
        (one(context={"v": 1}, for_each={"v": ["a"]}), "context.v", "take another name"),
        (one(metadata=1), "metadata", "found the number 1, expected a table"),
        (one(for_each=["a"]), "for_each", "found a list, expected a table"),
        (one(for_each={}), "for_each", "found an empty table, expected at least one name"),
        (one(for_each={"v": []}), "for_each.v", "found an empty list, expected a pattern"),
        (one(for_each={"v": ["a", None]}), "for_each.v[1]", "found nothing (null), expected"),
        (one(for_each={"v": [""]}), "for_each.v[0]", "found an empty text, expected"),
        (one(for_each={"v": [True]}), "for_each.v[0]", "found true, expected a text or a number"),
        (one(for_each={"v": 3}), "for_each.v", "found the number 3, expected a pattern"),
        (one(for_each={"a-b": ["a"]}), "for_each.a-b", "expected a name of letters"),
        (one(for_each={"prompt": ["a"]}), "for_each.prompt", "take another name"),
        (one(for_each={"v": "*.none"}), "for_each.v", 'no file matches "*.none" in /'),
        (one(for_each={"v": "*/"}), "for_each.v", 'no folder matches "*/" in /'),
        (one(for_eech={}), "for_eech", 'unknown key; did you mean "for_each"?'),
        (one(zzz=1), "zzz", "unknown key; expected one of agent, context, cwd,"),
        (one(stdin="a\0b"), "stdin", "NUL"),
        (one(stdin="a\ud800b"), "stdin", "not Unicode"),
        (one(metadata={"n": 2**63}), "metadata.n", "too large"),
        (one(metadata={"a\nb": {"\0": 1}}), 'metadata."a\\nb"."\\x00"', "NUL"),
    ],
)
def test_a_problem_names_its_place_and_what_was_expected(
    problems_of: ProblemsOf, plan_of: PlanOf, operation: object, key: str, message: str | None
) -> None:
    if message is None:
        assert plan_of(OK, operation).total == 2  # type: ignore[arg-type]  # a table
        return
    (problem,) = problems_of(OK, operation)
    assert f"operations[1].{key}" == problem.key
    assert message in problem.message
    assert problem.file == "convoy.json"


def test_a_problem_names_the_operation(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(one(id="fix-{v}", for_each={"v": ["a"]}, retries=-1))
    assert problem.operation == "fix-{v}"
    assert str(problem).startswith(
        'convoy.json: operations[0].retries (operation "fix-{v}"): found'
    )


@pytest.mark.parametrize(
    ("convoy", "key", "message"),
    [
        ({"name": ""}, "name", "found an empty text"),
        ({"name": "x" * 201}, "name", "201 characters"),
        ({"stop_on_first_failure": "yes"}, "stop_on_first_failure", "expected true or false"),
        ({"timeout": "2 weeks"}, "timeout", "expected a duration"),
        ({"priority": "high"}, "priority", "expected a whole number"),
        ({"defaults": []}, "defaults", "expected a table"),
        ({"defaults": {"run": "x"}}, "defaults.run", "unknown key; expected one of agent, cwd"),
        ({"defaults": {"agent": "enginer"}}, "defaults.agent", 'did you mean "engineer"?'),
        ({"operation": []}, "operation", 'did you mean "operations"?'),
    ],
)
def test_a_problem_of_the_convoy_itself_is_reported_once(
    problems_of: ProblemsOf, convoy: dict[str, object], key: str, message: str
) -> None:
    (problem,) = problems_of(OK, {"id": "b", "run": "true"}, convoy=convoy)
    assert key == problem.key
    assert message in problem.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing, expected a list of tables"),
        ("operations = []", "found an empty list, expected a list of tables"),
        ("operations = 3", "found the number 3, expected a list of tables"),
    ],
)
def test_a_convoy_without_operations_is_refused(
    problems_of: ProblemsOf, text: str, message: str
) -> None:
    (problem,) = problems_of(text=text)
    assert problem.key == "operations"
    assert message in problem.message


def test_an_operation_must_be_a_table(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(OK, "make")
    assert problem.key == "operations[1]"
    assert problem.message == 'found the text "make", expected a table'


def test_a_wrong_agent_template_is_reported_once_at_the_agent(problems_of: ProblemsOf) -> None:
    operations = [{"id": f"o{n}", "agent": "quoted", "prompt": "do"} for n in range(3)]
    (problem,) = problems_of(*operations)
    assert (problem.file, problem.key) == ("aisquad.toml", "agents.quoted.command")
    assert "remove the quotes" in problem.message


def test_all_problems_are_found_in_the_order_of_the_file(problems_of: ProblemsOf) -> None:
    found = problems_of(
        one(id="a", needs=["nobody"]),
        one(id="b", retries=-1, cwd=3),
        one(id="a"),
        convoy={"nam": "x"},
    )
    assert [problem.key for problem in found] == [
        "nam",
        "operations[0].needs[0]",
        "operations[1].retries",
        "operations[1].cwd",
        "operations[2].id",
    ]


def test_a_need_for_a_broken_operation_is_no_second_problem(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(
        one(id="a-{v}", for_each={"v": ["x"]}, retries=-1), one(id="b", needs=["a-x", "a-{v}"])
    )
    assert problem.key == "operations[0].retries"


def test_beyond_twenty_the_problems_are_counted(problems_of: ProblemsOf) -> None:
    found = problems_of(*(one(id=f"o{n}", retries=-1) for n in range(1_030)))
    assert len(found) == 21
    assert found[-1].message == "and 1,010 more problems"


@pytest.mark.parametrize(
    ("needs", "cycle"),
    [
        ({"a": ["b"], "b": ["a"]}, "a needs b needs a"),
        ({"a": ["c"], "b": ["a"], "c": ["b"]}, "a needs c needs b needs a"),
        ({"a": [], "b": ["c"], "c": ["b", "a"]}, "b needs c needs b"),
    ],
)
def test_a_cycle_is_shown(problems_of: ProblemsOf, needs: dict[str, list[str]], cycle: str) -> None:
    (problem,) = problems_of(*(one(id=id, needs=entries) for id, entries in needs.items()))
    rounds = [cycle]
    names = cycle.split(" needs ")[:-1]
    for shift in range(1, len(names)):
        turned = names[shift:] + names[:shift]
        rounds.append(" needs ".join([*turned, turned[0]]))
    assert problem.message.removeprefix("operations that wait for each other: ") in rounds
    assert problem.key.endswith(".needs")


def test_a_long_cycle_is_cut(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(*(one(id=f"o{n}", needs=[f"o{(n + 1) % 50}"]) for n in range(50)))
    assert problem.message.count(" needs ") == 10
    assert " needs … 41 more needs o" in problem.message


def test_a_pattern_with_too_many_matches_is_refused(
    problems_of: ProblemsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    monkeypatch.setattr("aisquad_core.spec.for_each.MAX_OPERATIONS", 2)
    (problem,) = problems_of(one(id="{f}", for_each={"f": "*"}))
    assert problem.message == 'more than 2 files match "*"'


def test_a_folder_that_cannot_be_read_is_named(
    problems_of: ProblemsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:  # root may read everything, so that no mode helps here
        raise PermissionError(13, "Permission denied", "/secret")

    monkeypatch.setattr("aisquad_core.spec.matching.os.scandir", refuse)
    (problem,) = problems_of(one(id="{f}", for_each={"f": "*"}))
    assert problem.message == "the folder /secret cannot be read: Permission denied"


def test_a_cycle_through_a_template_is_shown(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(
        one(id="all", needs=["each-{v}"]), one(id="each-{v}", for_each={"v": [1, 2]}, needs=["all"])
    )
    assert "all needs each-" in problem.message


def test_too_many_dependencies_are_refused_with_the_way_out(problems_of: ProblemsOf) -> None:
    numbers = list(range(1_001))
    (problem,) = problems_of(
        one(id="a-{v}", for_each={"v": numbers}),
        one(id="b-{v}", for_each={"v": numbers}, needs=["a-{v}"]),
        one(id="c-{w}", for_each={"w": numbers}, needs=["a-{v}"]),
    )
    assert problem.key == "operations[2].needs"
    assert "1,003,002" in problem.message
    assert "put one operation in between" in problem.message


@pytest.mark.parametrize(
    ("format", "text", "line", "message"),
    [
        ("toml", "name = 'x'\nname = 'y'", 2, "not TOML: Cannot overwrite a value"),
        ("toml", "a = [1,\n\n", 3, "not TOML"),
        ("toml", "a = 1979-05-27\noperations=[]", None, "found a date; write it as a text"),
        ("toml", "timeout = nan\noperations=[]", None, "not a number"),
        ("json", '{"name": "x",\n!', 2, "not JSON"),
        ("json", '{"name": "x", "name": "y"}', None, 'the key "name" appears twice'),
        ("json", '{"timeout": NaN}', None, "NaN is not a number"),
        ("json", '["a"]', None, "found a list, expected a table"),
        ("yaml", "name: x\nname: y", 2, 'the key "name" appears twice'),
        ("yaml", "a: &x 1\nb: *x", 1, "the anchor &x: anchors are refused"),
        ("yaml", "a:\n  b: *x", 2, "the alias *x: aliases are refused"),
        ("yaml", "a: !!python/name:os.system x", 1, "tags are refused"),
        ("yaml", "a: !!str x", 1, "tags are refused"),
        ("yaml", "? [a, b]\n: c", 1, "a list or table as a key"),
        ("yaml", "a: 1\n---\nb: 2", 2, "a second document"),
        ("yaml", "a: [1\nb: 2", 2, "not YAML"),
        ("yaml", "a: \x07", None, "not YAML"),
        ("yaml", "", None, "found nothing (null), expected a table"),
    ],
)
def test_what_is_not_its_format_is_an_error_with_its_line(
    problems_of: ProblemsOf, format: str, text: str, line: int | None, message: str
) -> None:
    (problem, *_) = problems_of(text=text, format=SpecFormat(format))
    assert message in problem.message
    assert line == problem.line


def test_in_yaml_each_problem_has_its_line(problems_of: ProblemsOf) -> None:
    text = """\
name: x
operations:
  - id: a
    run: "true"
    retries: -1
  -
    id: b
    run: "true"
    for_each:
      v:
        - x
        - null
  - id: c
    needs: [a,
      nobody]
    run: "true"
  - run: "true"
"""
    found = problems_of(text=text, format=SpecFormat.YAML)
    assert [(problem.key, problem.line) for problem in found] == [
        ("operations[0].retries", 5),
        ("operations[1].for_each.v[1]", 12),
        ("operations[2].needs[1]", 15),
        ("operations[3].id", 17),
    ]
