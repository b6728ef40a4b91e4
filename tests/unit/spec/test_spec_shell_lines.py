from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from aisquad_core.spec.template import TemplateError, compile_command, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
TOKEN = "QZJ"
NASTY = "-x $(touch pwned) `touch pwned` ; touch pwned & * 'a\" b {v} $1 \\ #\n\t|y"

ENCODE = """#!/bin/sh
for argument do printf :; printf %s "$argument" | od -An -v -tx1 | tr -d ' \\n'; done
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], str]:
    """Return what a shell prints for a line with a value; `show` prints its arguments."""
    folder: Path = tmp_path_factory.mktemp("shell")
    show = folder / "show"
    show.write_text("#!/bin/sh\nfor argument do printf '<%s>' \"$argument\"; done; echo\n")
    show.chmod(0o755)
    encode = folder / "encode"
    encode.write_text(ENCODE)
    encode.chmod(0o755)
    work = folder / "work"
    work.mkdir()

    def run(shell: str, line: str, value: str) -> str:
        command = compile_command(line, ("v", "w"))
        argv = [fill(part, {"v": value, "w": "W"}) for part in command]
        done = subprocess.run(
            [shell, *argv[1:]],
            cwd=work,
            env={"PATH": f"{folder}:{os.defpath}", "s": "S", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
        assert not list(work.iterdir()), "the value was executed, or written to a file"
        return done.stdout.decode("utf-8", "surrogateescape")

    return run


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("show {v}", "<V>"),
        ("show a{v}b {w}{v}", "<aVb><WV>"),
        ("x={v}; show $s \"$x\" '$x'", "<S><V><$x>"),
        ('show "$(show {v})"', "<<V>>"),
        ('show "a $(show "b" {v}) c"', "<a <b><V> c>"),
        ("(show {v}) | cat", "<V>"),
        ("show 'it''s' {v} \"q\\\"q\" {v}", '<its><V><q"q><V>'),
        ("show \\\\{v}", "<\\V>"),
        ("show a\\\n {v}", "<a><V>"),
        ("show a # comment\nshow {v}", "<a>\n<V>"),
        ("show a#b {v}", "<a#b><V>"),
        ("show $# {v}", "<1><V>"),
        ("cat <<E; show {v}\nit's\nE\nshow {v}", "it's\n<V>\n<V>"),
        ("cat <<-'E F' && show {v}\n\tx\\\n\tE F\nshow {v}", "x\\\n<V>\n<V>"),
        ("cat <<A <<B\n1\nA\n2\nB\nshow {v}", "2\n<V>"),
        ("case {v} in *) show {v};; esac", "<V>"),
        ("if set -o noglob; then show {v}; fi", "<V>"),
        ("set -e -u; show {v}", "<V>"),
        ("show set -- {v}", "<set><--><V>"),
        ('for i in {v} b; do show "$i"; done', "<V>\n<b>"),
        ("show ${s} ${#s} {v}", "<S><1><V>"),
        ("show $((1 + 2)) {v}", "<3><V>"),
        ("show `show a` {v}", "<<a>><V>"),
        ("show {{v}} {{.Id}} {other} {v}", "<{v}><{{.Id}}><{other}><V>"),
        ("show ${{v} {v}", None),
    ],
)
def test_a_value_is_one_word_of_a_shell_line(
    run: Callable[[str, str, str], str], shell: str, line: str, expected: str | None
) -> None:
    if expected is None:
        with pytest.raises(TemplateError):
            run(shell, line, "V")
        return
    assert f"{expected}\n" == run(shell, line, "V")
    assert f"{expected}\n".replace("V", NASTY) == run(shell, line, NASTY)


def test_more_than_nine_values_and_a_repeated_one_have_a_parameter_each() -> None:
    names = [f"n{number}" for number in range(11)]
    line = "show " + " ".join(f"{{{name}}}" for name in [*names, "n1"])
    *_, text, name = compile_command(line, names)[:4]
    assert name == ("sh",)
    assert text[0].endswith('"$9" "${10}" "${11}" "$2"')


def test_a_line_that_begins_with_a_dash_is_no_option_of_the_shell() -> None:
    assert tuple(part[0] for part in compile_command("-rf", ())) == ("/bin/sh", "-c", " -rf")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("show '{v}'", "inside single quotes: remove the quotes"),
        ('show "{v}"', "inside double quotes: remove the quotes"),
        ('show "a $(show b) {v}"', "inside double quotes"),
        ("show \"$(show '{v}')\"", "inside single quotes"),
        ("sh -c 'show {v}'", "inside single quotes"),
        ("show $'{v}'", "inside single quotes"),
        ("show \\{v}", "after a backslash"),
        ("show a # {v}", "in a comment"),
        ("# it's\nshow '{v}'", "inside single quotes"),
        ("show ${v}", "write {v} without the $"),
        ("show ${s:-{v}}", "${…}"),
        ("show ${s:-'x'} {v}", "${…}"),
        ("show $(({v} + 1))", "inside $((…))"),
        ("((x = {v}))", "(("),
        ("show $((1 + '2')) {v}", "$((…)) that is not plain"),
        ("show $((show a) | cat) {v}", "$((…)) that is not plain"),
        ("cat <<$s {v}", "end mark that is not plain"),
        ("cat <<< '{v}'", "inside single quotes"),
        ("show `show {v}`", "inside `…`"),
        ("cat <<E\n{v}\nE", "in a here-document"),
        ("cat <<E\nx\\\nE\n{v}\nE", "in a here-document"),
        ("cat <<{v}\nx", "end mark"),
        ("cat <<E $(show {v})\nE\n", "<<"),
        ("set -- a; show {v}", "after `set`"),
        ("set -eu a; show {v}", "after `set`"),
        ("shift; show {v}", "after `shift`"),
        ("f() { show {v}; }; f a", "after a function"),
        ("function f { show {v}; }; f a", "after `function`"),
        ("show $(case x in x) show {v};; esac)", "after `case`"),
        ("show $'a\\'b' {v}", "$'…'"),
        ("show 'never ended {v}", "inside single quotes"),
    ],
)
def test_a_value_where_the_shell_reads_no_plain_word_is_refused(line: str, where: str) -> None:
    with pytest.raises(TemplateError) as raised:
        compile_command(line, ("v",))
    assert where in str(raised.value)


PIECES = [
    *("{v}", "{v}", "{v}", "show ", "show ", "a", " ", " ", "\n", ";", "'", '"', "\\", "#", "$"),
    *("$(", "(", ")", "`", "${s}", "${", "}", "$((1", "))", "<<E\n", "\nE\n", "<<-'E' ", "$s"),
    *("case a in a) ", ";; esac", "{ ", "x=", "=", "set -- z;", "if :; then ", "; fi", "|| ", "$'"),
]
SOUP = st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join)
WORDS = st.recursive(
    st.sampled_from(
        ["{v}", "{v}", "a", "$s", "${s}", "\\'", '\\"', "a#", "$((1))", "it''s", "\\{v}"]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(" ".join),
        inner.map('"{}"'.format),
        inner.map("'{}'".format),
        inner.map("$(show {})".format),
        inner.map("`show {}`".format),
        inner.map("$(cat <<E\n{}\nE\n)".format),
    ),
    max_leaves=5,
)
BETWEEN = st.sampled_from(["; show ", "\nshow ", " # ", " | cat; (show x); show ", " || "])
SENTENCES = st.lists(st.tuples(WORDS, BETWEEN).map("".join), min_size=1, max_size=3).map("".join)


@pytest.mark.slow
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(SOUP | SENTENCES.map("show {}".format))
@example('show "$(show {v})" {v}')
@example('show "$(show "a" \'{w}\' {v})"\n')
@example("show a$(show b;cat <<E\nx\nE\n) {v}")
def test_where_a_value_is_let_in_the_shell_sees_it_as_it_is(
    run: Callable[[str, str, str], str], line: str
) -> None:
    line = f"show {{v}};{line}" if not line.startswith("show") else line
    try:
        compile_command(line, ("v", "w"))
    except TemplateError:
        assume(False)
    assume("$$" not in line)  # the pid differs
    encoded = line.replace("show ", "encode ")  # so that no word of its output is split again
    for shell in SHELLS:
        expected, token, value = run(shell, encoded, TOKEN), TOKEN, NASTY
        for _ in range(8):  # encoded once more by each command around it
            token, value = token.encode().hex(), value.encode().hex()
            expected = expected.replace(token, value)
        assert expected == run(shell, encoded, NASTY)
