from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.sanitise import escape_controls, one_line, sanitise

SGR = re.compile(r"\x1b\[[0-9;:]*m")
HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "\x1b",
                "\x1b[",
                "\x1b]",
                "\x1bP",
                "\x1b\\",
                "\x9b",
                "\x9d",
                "\x07",
                "\x18",
                "\n",
                "\r",
            ]
        ),
        st.sampled_from(["31", ";", ":", "m", "?", ">", " ", "J", "\u202e", "\udcff", "0;title"]),
        st.text(st.characters(exclude_categories=()), max_size=3),
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text\twith tab\n", "plain text\twith tab\n"),
        ("\x1b]52;c;ZXZpbA==\x07after", "after"),
        ("\x1b]0;title\x1b\\after", "after"),
        ("\x1b]0;title\x9cafter", "after"),
        ("\x9d0;title\x07after", "after"),
        ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended\nnext line", "\nnext line"),
        ("\x1bPq#0;2;0\x1b\\after", "after"),
        ("\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\after", "after"),
        ("\x1bPtmux;\x1b\x1b]0;title\x07\x1b\\after", "after"),
        ("\x1b[2J\x1b[1;1Hhome", "home"),
        ("\x1b[?1049h\x9b31mx", "x"),
        ("\x1b[>4;1mkeys", "keys"),
        ("\x1bcreset\x1b(Bcharset", "resetcharset"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\rb\x08c\x00d\x7fe\x85f", "abcdef"),
        ("abc\u202edcba\u2069", "abcdcba"),
        ("one\u2028two", "onetwo"),
        ("not UTF-8: \udcff", "not UTF-8: \ufffd"),
        ("lone \x1b", "lone "),
        ("[@click=app.quit]x[/]", "[@click=app.quit]x[/]"),
        ("emoji \U0001f469\u200d\U0001f680 é 日本", "emoji \U0001f469\u200d\U0001f680 é 日本"),
    ],
)
def test_sanitise_removes_what_a_terminal_acts_on(text: str, expected: str) -> None:
    assert expected == sanitise(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[1;31mred\x1b[m", "\x1b[1;31mred\x1b[m"),
        ("\x1b[38:2::1:2:3mrgb\x1b[2Kx", "\x1b[38:2::1:2:3mrgbx"),
        ("\x1b[>4;1m\x1b[?4m", ""),
        ("\x1b\x1b[31mred", "\x1b[31mred"),
        ("\x1b[3\x071m", "1m"),
    ],
)
def test_colours_alone_are_kept_when_asked_for(text: str, expected: str) -> None:
    assert expected == sanitise(text, keep_colours=True)


@given(HOSTILE)
def test_nothing_harmful_is_left(text: str) -> None:
    assert HARMFUL.search(sanitise(text)) is None


@given(HOSTILE)
def test_nothing_harmful_but_colours_is_left_with_colours(text: str) -> None:
    assert HARMFUL.search(SGR.sub("", sanitise(text, keep_colours=True))) is None


@given(HOSTILE, st.booleans())
def test_sanitise_twice_is_sanitise_once(text: str, keep_colours: bool) -> None:
    once = sanitise(text, keep_colours=keep_colours)
    assert once == sanitise(once, keep_colours=keep_colours)


@given(HOSTILE)
def test_every_line_stays_a_line(text: str) -> None:
    assert text.count("\n") == sanitise(text).count("\n")


@pytest.mark.parametrize(
    "piece", ["\x1b[", "\x1b]", "\x1b[31", "1;", "\x1b[1;", "\x1bP\x1b", "\x9d", "\x1b ", "\r"]
)
def test_a_megabyte_of_attack_takes_linear_time(piece: str) -> None:
    attack = "\x1b[" + piece * (1_000_000 // len(piece))
    assert HARMFUL.search(SGR.sub("", sanitise(attack, keep_colours=True))) is None


def test_ten_megabytes_of_unended_sequences_take_linear_time() -> None:
    assert sanitise("\x1b]" + "\x1b[1;" * 2_500_000 + "mx\n") == "x\n"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("two\nlines  and\ttab\n", 200, "two lines and tab"),
        ("\x1b[31mred\x1b[0m", 200, "red"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("", 6, ""),
    ],
)
def test_one_line_is_one_line_of_at_most_the_limit(text: str, limit: int, expected: str) -> None:
    assert expected == one_line(text, limit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fix-src/a.py", "fix-src/a.py"),
        ("$(touch x)", "$(touch x)"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[2J", "\\x1b[2J"),
        ("caf\udce9", "caf\\xe9"),
        ("x\u202ey", "x\\u202ey"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_escape_controls_shows_what_cannot_be_printed(text: str, expected: str) -> None:
    assert expected == escape_controls(text)


@given(HOSTILE)
def test_an_escaped_id_is_printable_utf8_and_stays_as_it_is(text: str) -> None:
    escaped = escape_controls(text)
    assert escaped.isprintable()
    assert escaped == escape_controls(escaped.encode().decode())
