"""Operations as text: small, and whatever they hold comes back."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from aisquad_core.model import Operation, OutputMode
from aisquad_core.state.operation_text import decode_operation, encode_operation

any_text = st.text(max_size=8)
argument = any_text | st.binary(max_size=8).map(os.fsdecode)
"""Not all of it UTF-8."""

operations = st.builds(
    Operation,
    id=any_text,
    argv=st.lists(argument, max_size=3).map(tuple),
    agent_id=any_text,
    cwd=st.none() | argument,
    stdin=st.none() | argument,
    stdout=st.sampled_from(OutputMode),
    needs=st.lists(any_text, max_size=2).map(tuple),
    priority=st.integers(-9, 9),
    timeout_s=st.none() | st.floats(0, 1e6),
    retries=st.integers(0, 9),
    context=st.dictionaries(any_text, argument | st.integers() | st.none(), max_size=2),
)


@given(operation=operations)
def test_an_operation_comes_back_as_it_was(operation: Operation) -> None:
    text = encode_operation(operation)
    text.encode()  # SQLite can hold it
    assert decode_operation(text) == operation


def test_defaults_are_left_out() -> None:
    assert encode_operation(Operation(id="lint", argv=("true",))) == '{"id":"lint","argv":["true"]}'
