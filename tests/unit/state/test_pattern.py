"""Expressions that operators type: found without regard to case, refused before they run away."""

from __future__ import annotations

import pytest

from aisquad_core.api import ItemField, ItemTerm
from aisquad_core.errors import InputError
from aisquad_core.state import pattern


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "timeout",
        "^fix-(api|web)-04.$",
        "fix.*(api|web).*timeout",
        r"\bE[A-Z]+Error\b",
        "[()*+]{2,3}x?",
        r"\(a+\)+",
        "(?:ab){3}",
        "(abc)*",
        "a{,4}b",
        "timed out|refused|denied|reset by peer",
        "]",
        "[]a]+x",
        "a{",
        "api.*timeout|db.*refused|cart.*reset",
    ],
)
def test_what_people_type_is_taken(expression: str) -> None:
    assert pattern.compile_pattern(expression).flags & 2  # without regard to case


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+$",
        "(a*)*b",
        "(a|aa)+$",
        "(a|a)*$",
        "((a)?b?){20}",
        "(?:.*a){12}",
        "(a{1,5})+",
        r"(a)\1",
        "(?P<x>a)(?P=x)",
        "(?(1)a|b)",
        "(?i)a",
        ".*.*.*.*x",
        "a?" * 20 + "a" * 20,
        "(a|b)" * 20,
        "a{0,200}b{0,200}c{0,200}",
        "x" * 300,
        "(",
        "*a",
        "[z-a]",
        "a{99999999999999999999}",
    ],
)
def test_what_is_none_or_may_run_away_is_refused_by_name(expression: str) -> None:
    with pytest.raises(InputError) as refused:
        pattern.compile_pattern(expression)
    assert repr(expression) in str(refused.value)


def test_it_is_found_in_the_beginning_of_a_text_only() -> None:
    assert pattern.is_found("NEEDLE", "a needle")
    assert not pattern.is_found("needle", " " * pattern.MOST_TEXT + "needle")
    assert not pattern.is_found("needle", None)


@pytest.mark.parametrize(
    ("term", "texts", "expected"),
    [
        (ItemTerm(text="B"), ("abc", None), True),
        (ItemTerm(text="b", is_negated=True), ("abc", None), False),
        (ItemTerm(text="x", is_negated=True), (None,), True),
        (ItemTerm(text="1", field=ItemField.EXIT), ("1",), True),
        (ItemTerm(text="1", field=ItemField.EXIT), ("12",), False),
        (ItemTerm(text="^1", field=ItemField.EXIT, is_regex=True), ("12",), True),
        (ItemTerm(text="^b$", is_regex=True, is_negated=True), ("a", "B"), False),
    ],
)
def test_a_term_holds_if_any_of_its_texts_fits(
    term: ItemTerm, texts: tuple[str | None, ...], expected: bool
) -> None:
    assert pattern.holds(term, *texts) is expected


def test_an_expression_that_some_day_means_something_else_is_taken_as_it_is() -> None:
    assert pattern.is_found("[[a]b", "xab")
