"""`ls`, `items`, `why` and `logs` over a work state of the test's making."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aisquad_core.api import StatusCounts
from aisquad_core.model import ConvoyStatus, WorkStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisquad_core.api import ConvoyView, ItemView
    from tests.unit.cli.conftest import Aisquad, FakeReader


def test_no_database_reads_as_no_convoys_yet(aisquad: Aisquad, reader: FakeReader) -> None:
    for verb in ("ls", "items"):
        ran = aisquad(verb)
        assert (ran.status, ran.out) == (0, "")
        assert ran.err.startswith("No convoys yet.")
    assert json.loads(aisquad("ls", "--json").out) == []
    assert json.loads(aisquad("items", "--json").out) == []


def test_ls_shows_a_row_for_each_convoy(
    aisquad: Aisquad, reader: FakeReader, convoy: Callable[..., ConvoyView]
) -> None:
    counts = StatusCounts(completed=10, failed=1, lost=1, skipped=2)
    reader.views = [convoy(), convoy("old-1", status=ConvoyStatus.PARTIAL, counts=counts)]
    ran = aisquad("ls")
    header, running, ended = ran.out.splitlines()
    assert header.split() == [
        "CONVOY", "STATUS", "PROGRESS", "DONE", "FAIL", "RUN", "QUEUE", "AGE", "REASON"
    ]  # fmt: skip
    assert running.split()[:9] == [
        "▶", "nightly-k3f9", "running", "██████▒░░░░░", "50", "%", "5", "0", "1"
    ]  # fmt: skip
    assert ended.split()[:9] == [
        "✗", "old-1", "partial", "█████████▓▓▓", "100", "%", "10", "2", "0"
    ]  # fmt: skip
    assert ran.err == ""


def test_ls_as_json_has_counts_that_add_up(
    aisquad: Aisquad, reader: FakeReader, convoy: Callable[..., ConvoyView]
) -> None:
    reader.views = [convoy()]
    [shape] = json.loads(aisquad("ls", "--json").out)
    statuses = [
        "pending", "blocked", "running", "completed", "failed", "lost", "cancelled", "skipped"
    ]  # fmt: skip
    assert sum(shape[status] for status in statuses) == shape["total"] == 10
    assert shape["id"] == "nightly-k3f9"
    assert shape["status"] == "running"
    assert shape["created_at"] == "2026-01-02T03:04:05Z"
    assert "counts" not in shape


def test_items_come_page_by_page_and_complete(
    aisquad: Aisquad,
    reader: FakeReader,
    convoy: Callable[..., ConvoyView],
    item: Callable[..., ItemView],
) -> None:
    reader.views = [convoy()]
    reader.rows = [item(f"op-{n}") for n in range(25)]
    reader.page_size = 10
    ids = [shape["id"] for shape in json.loads(aisquad("items", "--json").out)]
    assert ids == [f"op-{n}" for n in range(25)]
    lines = aisquad("items").out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ids


def test_items_stop_at_the_limit_and_say_so(
    aisquad: Aisquad,
    reader: FakeReader,
    convoy: Callable[..., ConvoyView],
    item: Callable[..., ItemView],
) -> None:
    reader.views = [convoy()]
    reader.rows = [item(f"op-{n}") for n in range(25)]
    reader.page_size = 10
    ran = aisquad("items", "--limit", "12")
    assert len(ran.out.splitlines()) == 13
    assert ran.err == "12 of 25 items; --all shows all\n"
    assert len(json.loads(aisquad("items", "-n", "12", "--json").out)) == 12


def test_items_filter_by_both_words_for_running(
    aisquad: Aisquad,
    reader: FakeReader,
    convoy: Callable[..., ConvoyView],
    item: Callable[..., ItemView],
) -> None:
    reader.views = [convoy()]
    reader.rows = [
        item("a", status=WorkStatus.IN_PROGRESS),
        item("b"),
        item("c", status=WorkStatus.FAILED),
    ]
    for words in ("running", "in_progress"):
        [shape] = json.loads(aisquad("items", "--status", words, "--json").out)
        assert (shape["id"], shape["status"]) == ("a", "in_progress")
    both = json.loads(aisquad("items", "--status", "failed,running", "--json").out)
    assert [shape["id"] for shape in both] == ["a", "c"]


def test_an_unknown_status_is_bad_input_that_names_the_known_ones(
    aisquad: Aisquad, reader: FakeReader
) -> None:
    ran = aisquad("items", "--status", "broken")
    assert ran.status == 2
    assert "'broken' is no status" in ran.err
    assert "running" in ran.err


def test_an_unknown_convoy_is_not_found(aisquad: Aisquad, reader: FakeReader) -> None:
    ran = aisquad("items", "nope")
    assert (ran.status, ran.out) == (4, "")
    assert ran.err.startswith("error: nothing is called nope\n")


def test_nasty_names_reach_no_terminal(
    aisquad: Aisquad,
    reader: FakeReader,
    convoy: Callable[..., ConvoyView],
    item: Callable[..., ItemView],
) -> None:
    nasty = "\x1b]52;c;eA==\x07[@click=app.quit]x[/]\u202e"
    reader.views = [convoy(reason=nasty)]
    reader.rows = [item("$(touch x)", error=nasty)]
    for arguments in (["ls"], ["items"], ["why", "$(touch x)"]):
        out = aisquad(*arguments).out
        assert "[@click=app.quit]x[/]" in out
        assert "\x1b" not in out
        assert "\u202e" not in out
    as_json = aisquad("items", "--json").out
    assert as_json.isascii()
    assert json.loads(as_json)[0]["error"] == nasty


def test_why_tells_the_reason_the_facts_and_what_to_do(
    aisquad: Aisquad, reader: FakeReader, item: Callable[..., ItemView]
) -> None:
    start = item().created_at
    reader.rows = [
        item(
            status=WorkStatus.FAILED,
            exit_code=1,
            error="exit status 1",
            started_at=start,
            finished_at=start.replace(second=8),
        )
    ]
    reader.output = {"lint": b"checking\n\x1b[31mE501 too long\x1b[0m\n"}
    out = aisquad("why", "lint", "--utc").out
    assert out.startswith("✗ lint failed: exit status 1\n")
    assert "started 2026-01-02 03:04:05Z, ended 2026-01-02 03:04:08Z, 3.0s" in out
    assert "sh -c 'echo $1' sh 'a b'" in out
    assert "  E501 too long\n" in out
    assert "`aisquad retry nightly-k3f9/lint`" in out


def test_why_as_json_holds_no_standard_input(
    aisquad: Aisquad, reader: FakeReader, item: Callable[..., ItemView]
) -> None:
    reader.rows = [item()]
    shape = json.loads(aisquad("why", "lint", "--json").out)
    assert shape["operation"]["argv"][0] == "sh"
    assert "secret" not in json.dumps(shape)


LOG = b"one\ntwo\rtwo again\n\xff\x1b]0;title\x07three\n\x1b[31mred\nend"


@pytest.fixture
def logged(reader: FakeReader, item: Callable[..., ItemView]) -> FakeReader:
    reader.rows = [item("lint"), item("b")]
    reader.output = {"lint": LOG, "b": b"other\n"}
    return reader


def test_logs_are_made_harmless(aisquad: Aisquad, logged: FakeReader) -> None:
    assert aisquad("logs", "lint").out == "one\ntwo again\n\ufffdthree\nred\nend\n"


def test_colours_of_a_log_are_reset_at_each_line(aisquad: Aisquad, logged: FakeReader) -> None:
    out = aisquad("logs", "lint", "--color", "always").out
    assert "\x1b[31mred\x1b[0m\n" in out
    assert "title" not in out


@pytest.mark.parametrize(
    ("lines", "expected"),
    [("0", ""), ("1", "end\n"), ("2", "red\nend\n"), ("99", None), ("5", None)],
)
def test_a_tail_has_so_many_lines(
    aisquad: Aisquad, logged: FakeReader, lines: str, expected: str | None
) -> None:
    whole = aisquad("logs", "lint").out
    assert aisquad("logs", "lint", "--tail", lines).out == (whole if expected is None else expected)


def test_a_tail_reads_across_its_chunks(
    aisquad: Aisquad, logged: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisquad_tui.cli.logs._CHUNK_BYTES", 7)
    logged.output["lint"] = b"".join(b"line %d\n" % n for n in range(50))
    assert aisquad("logs", "lint", "--tail", "3").out == "line 47\nline 48\nline 49\n"


def test_a_tail_reads_on_before_what_was_left_out_of_a_long_log(
    aisquad: Aisquad, logged: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisquad_tui.cli.logs._CHUNK_BYTES", 7)
    logged.output["lint"] = b"head 1\nhead 2\n" + b"\0" * 60 + b"tail 1\ntail 2\n"
    logged.left_out = range(14, 74)
    assert aisquad("logs", "lint", "--tail", "1").out == "tail 2\n"
    assert aisquad("logs", "lint", "--tail", "3").out == "head 2\ntail 1\ntail 2\n"


def test_following_an_ended_log_ends(aisquad: Aisquad, logged: FakeReader) -> None:
    assert aisquad("logs", "lint", "-f").out == aisquad("logs", "lint").out


def test_lines_of_several_logs_name_their_item(aisquad: Aisquad, logged: FakeReader) -> None:
    out = aisquad("logs", "b", "lint", "--tail", "1").out
    assert out == "b     other\nlint  end\n"


def test_logs_as_json_are_an_object_a_line(aisquad: Aisquad, logged: FakeReader) -> None:
    lines = [json.loads(line) for line in aisquad("logs", "b", "--json").out.splitlines()]
    assert lines == [{"id": "b", "convoy_id": "nightly-k3f9", "line": "other"}]


def test_raw_logs_are_the_bytes_themselves(
    logged: FakeReader, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    from aisquad_tui.cli import main

    assert main(["logs", "lint", "--raw"]) == 0
    assert capsysbinary.readouterr().out == LOG


def test_the_log_of_an_item_that_has_not_started_says_why(
    aisquad: Aisquad, reader: FakeReader, item: Callable[..., ItemView]
) -> None:
    reader.rows = [item(status=WorkStatus.BLOCKED, reason="needs build")]
    ran = aisquad("logs", "lint")
    assert (ran.status, ran.out, ran.err) == (0, "", "lint is blocked: needs build\n")


def test_logs_of_nothing_are_bad_input(aisquad: Aisquad, reader: FakeReader) -> None:
    assert aisquad("logs").status == 2
