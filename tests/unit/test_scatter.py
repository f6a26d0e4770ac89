"""Joining the pieces of a partition gives the sequence again, for every kind of sequence."""

from collections import deque

import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginery.client.scatter import flattened, join, partition


@given(st.lists(st.integers()), st.integers(1, 9))
def test_pieces_are_contiguous_even_and_in_order(items, k):
    pieces = partition(items, k)
    assert len(pieces) == k
    assert [x for piece in pieces for x in piece] == items
    sizes = [len(piece) for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("k", [1, 3, 4, 20])
@pytest.mark.parametrize(
    "seq",
    [list(range(10)), tuple("abcdefg"), "text of some length", b"some bytes", bytearray(b"x" * 9)],
)
def test_builtin_sequences_come_back_as_they_were(seq, k):
    pieces = partition(seq, k)
    assert {type(piece) for piece in pieces} == {type(seq)}
    back = join(pieces)
    assert back == seq
    assert type(back) is type(seq)


def test_uneven_pieces():
    assert partition(range(10), 4) == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    assert partition([1, 2], 4) == [[1], [2], [], []]


def test_ranges_and_iterables_give_lists():
    assert partition(range(4), 2) == [[0, 1], [2, 3]]
    assert partition((x * x for x in range(4)), 2) == [[0, 1], [4, 9]]
    assert partition({"a": 1, "b": 2}.keys(), 2) == [["a"], ["b"]]
    assert partition(deque([1, 2, 3]), 2) == [[1, 2], [3]]


def test_what_has_no_order_is_refused():
    for unordered in ({"a": 1}, {1, 2}, frozenset((1, 2))):
        with pytest.raises(TypeError, match="cannot be cut into pieces"):
            partition(unordered, 2)


@pytest.mark.parametrize(
    "dtype", ["f8", "i2", "c16", "?", "U3", "M8[s]", "O", [("a", "i4"), ("b", "f8")]]
)
@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 2, 2), (0, 3)])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_arrays_of_any_type_and_shape(dtype, shape, k):
    array = numpy.zeros(shape, dtype)
    if dtype in ("f8", "i2", "c16"):
        array[...] = numpy.arange(array.size).reshape(shape)
    pieces = partition(array, k)
    assert all(piece.base is not None for piece in pieces)  # views: nothing is copied
    back = join(pieces)
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert (back == array).all()


def test_masked_arrays_keep_their_mask():
    array = numpy.ma.masked_greater(numpy.arange(6), 3)
    back = join(partition(array, 4))
    assert back.tolist() == [0, 1, 2, 3, None, None]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_pandas(k):
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}, index=[5, 6, 7])
    pandas.testing.assert_frame_equal(join(partition(frame, k)), frame)
    pandas.testing.assert_series_equal(join(partition(frame["b"], k)), frame["b"])
    pandas.testing.assert_index_equal(join(partition(frame.index, k)), frame.index)
    empty = frame[:0]
    pandas.testing.assert_frame_equal(join(partition(empty, k)), empty)


def test_pieces_of_different_kinds_make_a_list():
    assert join([[1, 2], (3,), numpy.array([4, 5])]) == [1, 2, 3, 4, 5]
    assert join([deque([1]), deque([2])]) == [1, 2]


def test_what_is_no_sequence_is_an_item():
    assert join([1, 2, 3]) == [1, 2, 3]
    assert join([1, [2, 3]]) == [1, [2, 3]]
    assert join([[1, 2, 3], 4]) == [[1, 2, 3], 4]
    total = numpy.float64(6.0)
    assert join([numpy.ones(3), total])[1] is total
    assert join([numpy.ones((2, 2)), total])[1] is total
    assert join([{"a": 1}, {"b": 2}]) == [{"a": 1}, {"b": 2}]
    assert join([numpy.array(1), numpy.array(2)]) == [1, 2]
    assert join([]) == []


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize(
    "seq",
    [[0, 1], [0, 1, 2], list(range(5)), (0, 1, 2), tuple(range(5)), "ab", "abcde", ["ab", 1, "c"]],
)
def test_items_in_the_place_of_pieces_go_into_the_whole(seq, k):
    back = join(flattened(partition(seq, k)))
    assert back == seq
    assert type(back) is type(seq)


@pytest.mark.parametrize("k", [1, 2, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(3),
        numpy.arange(7, dtype="i2"),
        numpy.array(["ab", "c", "d"]),
        numpy.eye(3),
        numpy.zeros(3, [("a", "i4"), ("b", "f8")]),
        numpy.ma.masked_greater(numpy.arange(7.0), 3),
    ],
    ids=lambda array: f"{array.dtype}-{array.ndim}",
)
def test_rows_and_items_in_the_place_of_pieces_go_into_the_array(array, k):
    back = join(flattened(partition(array, k)))
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_rows_in_the_place_of_pieces_go_into_the_frame(k):
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}, index=[5, 6, 7])
    pandas.testing.assert_frame_equal(join(flattened(partition(frame, k))), frame)


def test_where_all_are_items_nothing_tells_them_from_pieces():
    assert join(flattened(partition(["ab", "c"], 2))) == "abc"
    assert join(flattened(partition([[1], [2, 3]], 2))) == [1, 2, 3]
    assert join(flattened(partition(numpy.eye(2), 2))).tolist() == [1, 0, 0, 1]
    assert join(flattened(partition(numpy.array(["a", "b"]), 2))) == ["a", "b"]
    assert join(flattened(partition((1, 2), 2))) == [1, 2]
    assert join(flattened(partition(pandas.Series([1, 2, 3]), 2))) == [1, 2, 3]
