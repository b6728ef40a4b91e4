from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisquad_core.api import ItemField, ItemFilter, ItemTerm
from aisquad_core.model import Operation, WorkStatus
from aisquad_core.testing import FakeEngine, ScriptedItem
from aisquad_tui.filter import FIELDS, FilterError, parse, written


def _term(text: str, field: str = "any", *, no: bool = False, regex: bool = False) -> ItemTerm:
    return ItemTerm(text=text, field=ItemField(field), is_negated=no, is_regex=regex)


@pytest.mark.parametrize(
    ("line", "terms"),
    [
        ("", ()),
        ("   ", ()),
        ("api", (_term("api"),)),
        ("api  web", (_term("api"), _term("web"))),
        ("api api", (_term("api"),)),
        ("!api", (_term("api", no=True),)),
        ('"two words"', (_term("two words"),)),
        ('!"two words"', (_term("two words", no=True),)),
        ("agent:engineer", (_term("engineer", "agent"),)),
        ("Agent:Engineer", (_term("Engineer", "agent"),)),
        ("!convoy:nightly", (_term("nightly", "convoy", no=True),)),
        ('error:"rate limit"', (_term("rate limit", "error"),)),
        ("/fix-(api|web)/", (_term("fix-(api|web)", regex=True),)),
        (r"/a\/b c/", (_term(r"a\/b c", regex=True),)),
        ("id:/^fix/ exit:1", (_term("^fix", "id", regex=True), _term("1", "exit"))),
        (
            "!status:failed,lost",
            (_term("failed", "status", no=True), _term("lost", "status", no=True)),
        ),
        ("status:/^fail/", (_term("^fail", "status", regex=True),)),
        ("src/api.py", (_term("src/api.py"),)),
        ('"/usr/bin"', (_term("/usr/bin"),)),
        ('"http://x"', (_term("http://x"),)),
        ("12:30", (_term("12:30"),)),
        ('say"so"', (_term('say"so"'),)),
    ],
)
def test_a_line_means_these_terms(line: str, terms: tuple[ItemTerm, ...]) -> None:
    assert parse(line) == ItemFilter(terms=terms)


def test_statuses_are_let_through_together_under_either_name() -> None:
    running, failed = WorkStatus.IN_PROGRESS, WorkStatus.FAILED
    assert parse("status:running,failed").statuses == (running, failed)
    assert parse("status:RUNNING status:in_progress status:failed").statuses == (running, failed)


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("api agnet:x", 4, "no field 'agnet' (did you mean 'agent'?)"),
        ("http://x", 0, "no field 'http': expected id, agent,"),
        ("status:runing", 7, "no status 'runing' (did you mean 'running'?)"),
        ("status:failed,runing", 14, "no status 'runing' (did you mean 'running'?)"),
        ("!status:runing", 8, "no status 'runing'"),
        ("status:failed,", 14, "no status '': expected pending, blocked, running"),
        ("api status:", 11, "expected a value after status:"),
        ("!", 1, "expected text"),
        ('""', 2, "expected text"),
        ('a "two words', 12, 'expected " at the end of the words'),
        ("/fix", 4, "expected / at the end of the expression"),
        ("/a(b/", 2, "not a regular expression: missing ), unterminated subpattern"),
        ("/usr/bin", 5, 'expected a space after the closing /; quote text that begins with "/"'),
        ('"a"b', 3, 'expected a space after the closing "'),
    ],
)
def test_a_line_that_means_nothing_is_told_at_its_place(
    line: str, column: int, message: str
) -> None:
    with pytest.raises(FilterError) as caught:
        parse(line)
    assert str(caught.value).startswith(message)
    assert caught.value.column == column


_LINES = st.one_of(
    st.text(max_size=40),
    st.text(alphabet='!":/\\,()[]*a b\t', max_size=20),
    st.lists(
        st.sampled_from(
            [*(f"{name}:" for name in FIELDS), "!", '"', "/", "status:failed", " ", "x"]
        ),
        max_size=8,
    ).map("".join),
)


@given(line=_LINES)
@example(line="/[[a]/")
@example(line="/a{99999999999}/")
@example(line="/(?P<a>/")
def test_any_line_is_a_filter_or_an_error_within_it(line: str) -> None:
    column, message = 0, "none"
    try:
        parse(line)
    except FilterError as error:
        column, message = error.column, str(error)
    assert 0 <= column <= len(line)
    assert message


@given(line=_LINES)
@example(line='a"b')
@example(line='id:!x "!x" !"!x" "id:x" id:"/a/" id:"a b" !!x id:id:x')
def test_a_filter_written_out_means_the_same(line: str) -> None:
    try:
        wanted = parse(line)
    except FilterError:
        return
    assert parse(written(wanted)) == wanted


async def test_the_engine_finds_what_the_line_says() -> None:
    async with FakeEngine() as engine:
        engine.add_convoy(
            "nightly",
            [
                Operation(id="fix-api", agent_id="engineer"),
                Operation(id="fix-web"),
                Operation(id="x"),
            ],
            statuses={
                "fix-api": ScriptedItem(status=WorkStatus.FAILED, exit_code=2, error="boom"),
                "fix-web": WorkStatus.LOST,
                "x": WorkStatus.COMPLETED,
            },
        )

        async def found(line: str) -> list[str]:
            page = await engine.items(parse(line))
            return [item.id for item in page.items]

        assert await found("fix !web") == ["fix-api"]
        assert await found("status:failed,lost") == ["fix-api", "fix-web"]
        assert await found("!status:failed,lost") == ["x"]
        assert await found("exit:2 error:boom agent:eng convoy:night") == ["fix-api"]
        assert await found("/^fix-(web|api)$/ agent:shell") == ["fix-web"]
