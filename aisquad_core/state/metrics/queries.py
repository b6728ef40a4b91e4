"""The questions as SQL; each answers with one row, of which every column is a JSON document."""

from __future__ import annotations

from aisquad_core.state.metrics.spans import DAY_S, HOUR_S, MINUTE_S


def _as_json(columns: str, query: str) -> str:
    """Return a query that answers with all rows of `query` as one JSON list of lists."""
    return f"SELECT json_group_array(json_array({columns})) FROM ({query})"


def _together(*queries: str) -> str:
    """Return a query that answers with the answers of several, each in a column."""
    return f"SELECT {', '.join(f'({query})' for query in queries)}"


def _rows(columns: str, rest: str) -> str:
    return _as_json(columns, f"SELECT {columns} {rest}")


RECENT_CONVOYS = _rows(
    "convoy_id, name, status, start_us, end_us, operations, completed, failed, cancelled, skipped,"
    " attempts, attempts_us",
    "FROM convoys ORDER BY start_us DESC, convoy_id LIMIT :limit",
)
UNFINISHED = "SELECT json_group_array(convoy_id) FROM convoys WHERE end_us IS NULL"
FAILURES = _rows(
    "convoy_id, item_id, agent_id, status, attempt, exit_code, error, ended_us, duration_us",
    "FROM operations WHERE is_final AND status IN ('failed', 'lost')"
    " ORDER BY ended_us DESC, number DESC LIMIT :limit",
)
RESIZES = _rows(
    "at_us, previous, parallelism, is_auto, reason",
    "FROM resizes WHERE at_us > :start AND at_us <= :end"
    " ORDER BY at_us DESC, number DESC LIMIT :limit",
)

_SINGLY = ((0, 1), (1, -1))
"""Number of a part whose rows are read one by one, and what each counts."""
_SUMMED = ((2, HOUR_S), (3, HOUR_S), (4, DAY_S))
"""Number of the part of the time as its parameters have it, and the width of the sums there."""


def _ends(kind: str, singly: str, ended_us: str) -> tuple[str, str]:
    """Return queries for what ended: at the edges by outcome and bin; stored sums, without bins."""
    edges = _edges(f"SELECT {{sign}} AS sign, {singly}", ended_us)
    sums = " UNION ALL ".join(
        f"SELECT rowid AS number, outcome, count, sum_us FROM ends WHERE kind = '{kind}'"
        f" AND width_s = {width_s} AND start_us >= :a{number} AND start_us < :b{number}"
        for number, width_s in _SUMMED
    )
    return _by_bin(edges), _as_json("number, outcome, count, sum_us", sums)


def _edges(rows: str, ended_us: str) -> str:
    return " UNION ALL ".join(
        f"{rows.format(sign=sign)} WHERE {ended_us} >= :a{number} AND {ended_us} < :b{number}"
        for number, sign in _SINGLY
    )


def _by_bin(rows: str) -> str:
    return _as_json(
        "outcome, bin, count, sum_us",
        "SELECT outcome, bin, sum(sign) AS count, sum(sign * sum_us) AS sum_us"
        f" FROM ({rows}) GROUP BY outcome, bin",
    )


def _sum(column: str, *outcomes: str) -> str:
    """Return SQL for the sum over the rows of some outcomes."""
    fitting = ", ".join(f"'{outcome}'" for outcome in outcomes)
    return f"coalesce(sum({column}) FILTER (WHERE outcome IN ({fitting})), 0)"


def _agents(rows: str) -> str:
    return _as_json(
        "agent_id, completed, failed, timed, sum_us",
        f"SELECT agent_id, {_sum('count', 'completed')} AS completed,"
        f" {_sum('count', 'failed', 'lost')} AS failed,"
        f" {_sum('count', 'completed', 'failed')} AS timed,"
        f" {_sum('sum_us', 'completed', 'failed')} AS sum_us"
        f" FROM ({rows}) GROUP BY agent_id HAVING sum(count) > 0"
        " ORDER BY sum(count) DESC, agent_id",
    )


_OUTCOME = "CASE WHEN is_final THEN status ELSE 'retried' END"
_OPERATION_ENDS = _ends(
    "operation",
    f"{_OUTCOME} AS outcome, bin, duration_us AS sum_us FROM operations",
    "ended_us",
)
_CONVOY_ENDS = _ends(
    "convoy",
    "status AS outcome, bin, max(0, end_us - start_us) AS sum_us FROM convoys",
    "end_us",
)
STATS = _together(
    _rows(
        "status, count",
        "FROM (SELECT status, count(*) AS count FROM convoys WHERE end_us IS NULL GROUP BY status)",
    ),
    *_CONVOY_ENDS,
    *_OPERATION_ENDS,
)
_AGENT_ENDS_SINGLY = (
    "SELECT agent_id, status AS outcome, {sign} * is_final AS count,"
    " {sign} * is_final * duration_us AS sum_us"
)
AGENTS = _agents(
    " UNION ALL ".join(
        [
            _edges(f"{_AGENT_ENDS_SINGLY} FROM operations", "ended_us"),
            *(
                f"SELECT agent_id, outcome, count, sum_us FROM agent_ends WHERE width_s = {width_s}"
                f" AND start_us >= :a{number} AND start_us < :b{number}"
                for number, width_s in _SUMMED
            ),
        ]
    )
)

_OF_CONVOY = "FROM operations WHERE convoy_id = :convoy AND ended_us > :start AND ended_us <= :end"
_OF_ALL = "FROM operations WHERE ended_us > :start AND ended_us <= :end"


def _stretch_of(at_us: str) -> str:
    """Return SQL for the number of the stretch, from 0, that a time after `:start` falls into."""
    return f"max(0, min(({at_us} - :start) * :points / (:end - :start), :points - 1))"


def _throughput(at_us: str, rows: str) -> str:
    return _as_json(
        "stretch, completed, failed",
        f"SELECT {_stretch_of(at_us)} AS stretch, {_sum('count', 'completed')} AS completed,"
        f" {_sum('count', 'failed', 'lost')} AS failed"
        f" FROM ({rows}) GROUP BY stretch HAVING completed + failed > 0 ORDER BY stretch",
    )


def _slowest(rest: str) -> str:
    # The rows are looked up when it is known which: the index has all that decides.
    return _rows(
        "convoy_id, item_id, agent_id, status, duration_us, ended_us",
        f"FROM operations WHERE number IN (SELECT number {rest} AND is_final AND bin >= 0"
        " ORDER BY duration_us DESC, number LIMIT :slowest) ORDER BY duration_us DESC, number",
    )


def _singly(rest: str) -> str:
    return f"SELECT ended_us, status AS outcome, is_final AS count {rest}"


FINE_PAST = _together(
    _throughput("ended_us", _singly(_OF_ALL)), *_OPERATION_ENDS, AGENTS, _slowest(_OF_ALL)
)
HOURLY_PAST = _together(
    _throughput(
        "start_us",
        "SELECT start_us, outcome, count FROM agent_ends"
        f" WHERE width_s = {HOUR_S} AND start_us > :start - {HOUR_S * 1_000_000}"
        " AND start_us <= :end",
    ),
    *_OPERATION_ENDS,
    AGENTS,
    _slowest(_OF_ALL),
)
CONVOY_PAST = _together(
    _throughput("ended_us", _singly(_OF_CONVOY)),
    _by_bin(f"SELECT 1 AS sign, {_OUTCOME} AS outcome, bin, duration_us AS sum_us {_OF_CONVOY}"),
    "'[]'",  # of one convoy no sums are kept
    _agents(f"{_AGENT_ENDS_SINGLY.format(sign=1)} {_OF_CONVOY}"),
    _slowest(_OF_CONVOY),
)

_SAMPLED = ("cpu_percent", "memory_percent", "active_workers", "queue_depth", "parallelism",
            "throttle")  # fmt: skip


def _sampled(samples: str, counts: str, rest: str) -> str:
    columns = ", ".join(_SAMPLED)
    means = ", ".join(f"sum({name}) / {counts} AS {name}" for name in _SAMPLED)
    return _as_json(
        f"stretch, {columns}",
        f"SELECT {_stretch_of('at_us')} AS stretch, {means} FROM {samples} WHERE {rest}"
        " GROUP BY stretch ORDER BY stretch",
    )


SAMPLES = _sampled("samples", "count(*)", "at_us > :start AND at_us <= :end")
MINUTES, HOURS = (
    _sampled(
        "sample_sums",
        "sum(count)",
        f"width_s = {width_s} AND at_us > :start - {width_s * 1_000_000} AND at_us <= :end",
    )
    for width_s in (MINUTE_S, HOUR_S)
)
