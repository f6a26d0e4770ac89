"""Any nest of plain values, bytes and arrays of all sizes comes back equal, arrays read-only."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enginery.core.messages import Buffer
from enginery.wire import payload
from enginery.wire.layout import DIRECT, INSIDE

SIZES = st.sampled_from([0, 1, 7, INSIDE - 8, INSIDE, DIRECT - 8, DIRECT, DIRECT + 8, 3 * DIRECT])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
RAW = st.builds(lambda size, kind: kind(size), SIZES, st.sampled_from([bytes, bytearray]))
TEXT = st.builds(lambda size, letter: letter * size, SIZES, st.sampled_from(["a", "é", "\ud800"]))
ARRAYS = st.builds(
    lambda size, dtype, step: np.arange(size, dtype="u1").repeat(4).view(dtype)[::step],
    SIZES.map(lambda size: size % 251 * 2 if size < 20_000 else size),
    st.sampled_from(["u1", "f4", "i8", "M8[s]"]),
    st.sampled_from([1, 2, -1]),
)
VALUES = st.recursive(
    PLAIN | st.binary() | RAW | TEXT | ARRAYS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def check(sent: Any, there: Any) -> None:
    assert type(there) is type(sent)
    if isinstance(sent, np.ndarray):
        np.testing.assert_array_equal(there, sent)
        assert not there.flags.writeable
    elif isinstance(sent, dict):
        assert list(there) == list(sent)
        for key in sent:
            check(sent[key], there[key])
    elif isinstance(sent, list | tuple):
        assert len(there) == len(sent)
        for one, other in zip(sent, there, strict=True):
            check(one, other)
    else:
        assert there == sent


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(VALUES)
def test_any_value_comes_back(value: Any) -> None:
    data, buffers = payload.dumps(value)
    check(value, payload.loads(data, [Buffer(bytes(b.data)) for b in buffers]).value)
