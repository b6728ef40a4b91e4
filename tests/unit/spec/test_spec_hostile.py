from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.errors import SpecError
from aisquad_core.spec import AdHocSource, SpecFormat, SpecSource, plan

if TYPE_CHECKING:
    from pathlib import Path

    from aisquad_core.model import Operation
    from tests.unit.spec.conftest import PlanOf

NASTY_NAMES = [
    b"$(touch x)",
    b"`touch x`",
    b"-rf",
    b"--",
    b"a b",
    b"a\nb",
    b"a'b\"c",
    b"[@click=app.quit]x[]",
    b"{file}",
    b"{{file}}",
    b"caf\xe9\xff",
    b";touch x;",
    b"*",
    b"\x1b[2J",
    b"\\n",
    b"~root",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NASTY_NAMES:
        os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT))
    return tmp_path


def output(operation: Operation, cwd: Path) -> bytes:
    return subprocess.run(operation.argv, cwd=cwd, check=True, capture_output=True).stdout


@pytest.mark.parametrize("launched_in", ["", "/"])
@pytest.mark.parametrize("run", ["printf %s {file}", ["printf", "%s", "{file}"]])
def test_nasty_file_names_reach_the_command_and_run_nothing(
    plan_of: PlanOf, folder: Path, run: object, launched_in: str
) -> None:
    found = plan_of(
        {"id": "fix-{file}", "for_each": {"file": "*"}, "run": run},
        {"id": "all", "needs": ["fix-{file}"], "run": "true"},
        cwd=launched_in or None,
    )
    *each, last = found.operations()
    assert len(NASTY_NAMES) == len(each)
    names = set()
    for operation in each:
        assert operation.id.isprintable()
        shown = output(operation, folder)
        assert bool(launched_in) == os.path.isabs(shown)
        assert os.path.isfile(os.path.join(os.fsencode(folder), shown))
        names.add(os.path.basename(shown))
    assert set(NASTY_NAMES) == names
    assert tuple(operation.id for operation in each) == last.needs
    assert not (folder / "x").exists()


def test_nasty_inputs_reach_an_ad_hoc_command_and_run_nothing(tmp_path: Path) -> None:
    inputs = tuple(os.fsdecode(name) for name in [*NASTY_NAMES, b"../../x", b""])
    source = AdHocSource(command="printf %s {}", inputs=inputs)
    found = list(plan(source, agents={}, cwd=str(tmp_path)).operations())
    assert list(inputs) == [os.fsdecode(output(each, tmp_path)) for each in found]
    assert [each.id for each in found[:3]] == ["$(touch x)", "`touch x`", "-rf"]
    assert not list(tmp_path.iterdir())


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_value_is_one_argument_as_it_is(value: str) -> None:
    source = AdHocSource(command=("x", "{}", "{{}}"), inputs=(value,))
    (operation,) = plan(source, agents={}, cwd="/").operations()
    assert ("x", value, "{}") == operation.argv
    assert operation.id.isprintable()


@given(
    st.sampled_from(list(SpecFormat)), st.text(max_size=200) | st.text("[]{}:-\"'\n \t#&*!|>,a1.")
)
def test_any_text_is_a_plan_or_a_spec_error(format: SpecFormat, text: str) -> None:
    source = SpecSource(text=text, format=format, origin="x", base_dir="/nowhere")
    with pytest.raises(SpecError):
        plan(source, agents={}, cwd="/nowhere")


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
THOUSAND = list(range(1_000))
PRODUCT = (
    f"operations = [{{ id = 'x', run = 'true', for_each = {{ a = {THOUSAND}, b = {THOUSAND}, "
    f"c = {THOUSAND} }} }}]"
)
BOMBS = {
    "aliases": ("yaml", ALIASES, "anchors are refused"),
    "product": ("toml", PRODUCT, "1,000,000,000 operations"),
    "yaml depth": ("yaml", "a: " + "[" * 100_000, "more than 50 tables and lists"),
    "yaml block depth": ("yaml", "- " * 100_000, "more than 50 tables and lists"),
    "json depth": ("json", '{"a":' + "[" * 5_000_000, "more than 50 tables and lists"),
    "json depth 51": ("json", '{"a":' + "[" * 50 + "]" * 50 + "}", "more than 50 tables and lists"),
    "toml depth": ("toml", "a = " + "[" * 1_000_000, "more than 50 tables and lists"),
    "toml dots": ("toml", ".".join("a" * 4_000_000) + " = 1", "more than 50 tables and lists"),
    "yaml keys": ("yaml", "a: 1\nb: 2\na: 3", "appears twice"),
    "json keys": ("json", '{"a": 1, "b": 2, "a": 3}', "appears twice"),
    "toml keys": ("toml", "a = 1\nb = 2\na = 3", "Cannot overwrite"),
    "yaml values": ("yaml", "a: [" + "1," * 4_000_000, "more than 1,000,000 values"),
    "digits": ("json", '{"a": ' + "9" * 9_000_000 + "}", "not JSON"),
    "operations": (
        "json",
        '{"operations": [' + "1," * 4_000_000 + "1]}",
        "4,000,001 operations; at most 100,000",
    ),
    "wide for_each": (
        "json",
        '{"operations": [{"id": "x", "run": "true", "for_each": {"a": ['
        + "1," * 200_000
        + "1]}}]}",
        "200,001 operations",
    ),
}
EXPLODE = """
import resource, sys
from aisquad_core.errors import SpecError
from aisquad_core.spec import SpecFormat, SpecSource, plan
text = sys.stdin.read()
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
source = SpecSource(text=text, format=SpecFormat(sys.argv[1]), origin="bomb", base_dir="/")
try:
    plan(source, agents={}, cwd="/")
except SpecError as error:
    print(error)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_an_error_in_little_time_and_memory(name: str) -> None:
    format, text, message = BOMBS[name]
    done = subprocess.run(
        [sys.executable, "-c", EXPLODE, format],
        input=text,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert message in done.stdout, done.stderr
