"""What people may write as targets, and what it means."""

import numpy
import pytest

from enginery.client.targets import present, resolve
from enginery.error import NoEnginesRegistered

IDS = [0, 1, 2, 5]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, 0),
        (5, 5),
        (-1, 5),
        (numpy.int64(2), 2),
        (slice(None), [0, 1, 2, 5]),
        (slice(None, None, 2), [0, 2]),
        (slice(-2, None), [2, 5]),
        ([0, 2], [0, 2]),
        ((2, 0), [2, 0]),
        (range(3), [0, 1, 2]),
        ([0, -1], [0, 5]),
        (numpy.array([1, 2]), [1, 2]),
        ("all", "all"),
    ],
)
def test_targets(written, meant):
    assert resolve(written, IDS) == meant


def test_all_needs_no_engines_yet():
    assert resolve("all", []) == "all"


@pytest.mark.parametrize("wrong", [3, 6, -5, [0, 3], range(4)])
def test_an_engine_that_is_not_there(wrong):
    with pytest.raises(IndexError, match=r"there is no engine -?\d; there are engines 0, 1, 2, 5"):
        resolve(wrong, IDS)


@pytest.mark.parametrize(
    "wrong", ["al", "0", b"all"[:0].decode(), 1.0, None, True, [0, "1"], object]
)
def test_what_cannot_name_an_engine(wrong):
    with pytest.raises(TypeError):
        resolve(wrong, IDS)


def test_nothing_named():
    with pytest.raises(
        NoEnginesRegistered, match=r"targets \[9:\] names no engine; there are engines 0"
    ):
        resolve(slice(9, None), IDS)
    with pytest.raises(NoEnginesRegistered, match=r"targets \[\] names no engine"):
        resolve([], IDS)


def test_twice_the_same():
    with pytest.raises(ValueError, match=r"targets \[0, 0\] names an engine twice"):
        resolve([0, 0], IDS)


def test_no_engines_at_all_says_what_to_do():
    for written in (0, slice(None), [0]):
        with pytest.raises(
            NoEnginesRegistered, match=r"no engine is registered; .*ipcluster engines"
        ):
            resolve(written, [])
    with pytest.raises(NoEnginesRegistered, match="no engine is registered"):
        present("all", [])


def test_all_is_read_at_each_call_and_the_rest_is_fixed():
    assert present("all", [0, 1]) == [0, 1]
    assert present([0, 7], [0]) == [0, 7]
    assert present(3, []) == [3]
