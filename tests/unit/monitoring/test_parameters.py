"""Whole numbers behind the `?`."""

from __future__ import annotations

import pytest

from aisquad_core.monitoring.parameters import Parameter, ParameterError, read

LIMIT = Parameter(name="limit", default=20, highest=1_000)
RANGE = Parameter(name="time_range", default=60, highest=525_600)


def test_what_is_not_named_has_its_default() -> None:
    assert read("limit=3", (LIMIT, RANGE)) == {"limit": 3, "time_range": 60}


@pytest.mark.parametrize(
    "query",
    ["limit=", "limit", "limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=1e2", "limit=٣",
     "limit=%31%00", "limit= 3", "limit=3&limit=4", "limit=99999999999999999999"],
)  # fmt: skip
def test_what_is_no_number_within_its_bounds_is_an_error_that_names_it(query: str) -> None:
    with pytest.raises(ParameterError) as caught:
        read(query, (LIMIT,))
    assert caught.value.parameter == "limit"


def test_an_unknown_one_is_named_beside_those_that_there_are() -> None:
    with pytest.raises(ParameterError, match=r"^limits: unknown here; expected limit, time_range"):
        read("limits=3", (LIMIT, RANGE))
    with pytest.raises(ParameterError, match="expected no parameters"):
        read("limit=3", ())


def test_what_is_shown_of_a_wrong_one_is_short() -> None:
    with pytest.raises(ParameterError) as caught:
        read(f"limit={'x' * 4000}", (LIMIT,))
    assert len(str(caught.value)) < 200
    with pytest.raises(ParameterError) as caught:
        read("x" * 4000, (LIMIT,))
    assert len(str(caught.value)) < 200


def test_a_flood_of_parameters_is_an_error() -> None:
    with pytest.raises(ParameterError):
        read("&".join(f"p{n}=1" for n in range(1000)), (LIMIT,))
