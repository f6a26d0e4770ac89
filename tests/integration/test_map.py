"""Maps on real engines: direct, balanced, chunked, unordered, lazy, reduced."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time

import numpy
import pytest

from enginery import CompositeError, QueueFull, RemoteError, UnsendableError


@pytest.fixture(params=["direct", "balanced"])
def view(request, rc):
    return rc[:] if request.param == "direct" else rc.load_balanced_view()


@pytest.fixture
def lview(rc):
    return rc.load_balanced_view()


def test_the_example_of_the_sources(view):
    view.block = True
    serial = [x**10 for x in range(32)]
    assert view.map(lambda x: x**10, range(32)) == serial


def test_the_three_forms(view):
    assert view.map(abs, [-1, 2]).get(30) == [1, 2]
    assert view.map_async(abs, [-1, 2]).get(30) == [1, 2]
    assert view.map_sync(abs, [-1, 2]) == [1, 2]
    assert view.map(abs, [-1, 2], block=True) == [1, 2]
    assert view.block is False


def test_several_sequences_and_the_shortest_ends_it(view):
    assert view.map_sync(lambda a, b: a + b, [1, 2, 3], (10, 20)) == [11, 22]
    assert view.map_sync(pow, range(5), itertools.repeat(2)) == [0, 1, 4, 9, 16]
    assert view.map_sync(lambda a, b: (a, b), "ab", numpy.arange(2)) == [("a", 0), ("b", 1)]


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 101])
def test_any_number_of_items(view, n):
    assert view.map_sync(lambda x: x, range(n)) == list(range(n))
    result = view.map_async(lambda x: -x, iter(range(n)))
    assert list(result) == [-x for x in range(n)]
    assert len(result) == n


def test_direct_maps_give_each_engine_one_contiguous_chunk(rc):
    pids = rc[:].map_sync(lambda _: os.getpid(), range(8))
    there = rc[:].apply_sync(os.getpid)
    assert pids == [pid for pid in there for _ in range(2)]
    assert rc[1].map_sync(lambda _: os.getpid(), range(3)) == [there[1]] * 3
    assert rc[:].imap(abs, [-1, -2]).get(30) == [1, 2]


@pytest.mark.parametrize("chunksize", [1, 2, 7, 1000])
def test_chunks(lview, chunksize):
    result = lview.map_async(lambda x: x * x, range(50), chunksize=chunksize)
    assert result.get(30) == [x * x for x in range(50)]
    assert len(result.msg_ids) == -(-50 // chunksize)
    assert list(result) == [x * x for x in range(50)]


def test_results_come_as_they_arrive(lview):
    def nap(seconds):
        time.sleep(seconds)
        return seconds

    naps = [0.4, 0.0, 0.0]
    unordered = lview.map_async(nap, naps, ordered=False)
    assert list(unordered) == [0.0, 0.0, 0.4]
    assert lview.map_sync(nap, naps) == naps


def test_one_failed_item(view):
    def bad(x):
        if x == 5:
            raise ValueError(f"bad item {x}")
        return x

    with pytest.raises(ValueError, match="bad item 5") as caught:
        view.map_sync(bad, range(8))
    assert isinstance(caught.value, RemoteError)
    values = view.map_sync(bad, range(8), return_exceptions=True)
    assert values[:5] + values[6:] == [0, 1, 2, 3, 4, 6, 7]
    assert isinstance(values[5], ValueError)


def test_failed_items_of_chunks(lview):
    def bad(x):
        return 1 // (x % 3)

    result = lview.map_async(bad, range(9), chunksize=4)
    with pytest.raises(CompositeError, match="3 of 9 items"):
        result.get(30)
    assert sorted(result.partial()) == [1, 2, 4, 5, 7, 8]


def test_bound_functions_see_the_names_of_the_engine(rc, view):
    rc[:].push({"offset": 100}, block=True)
    assert view.map_sync(with_offset, range(3), bound=True) == [100, 101, 102]


def with_offset(x):
    return x + offset  # noqa: F821  # a name of the engines


@pytest.mark.parametrize("progress", [True, False])
def test_progress_of_a_blocking_map(lview, capsys, progress):
    assert lview.map_sync(abs, range(20), progress=progress) == list(range(20))
    assert bool(capsys.readouterr().err) is progress


def test_progress_by_a_callable(lview):
    seen = []
    lview.map_sync(abs, range(20), progress=seen.append)
    assert seen[-1].done == seen[-1].total == 20


def test_labels_are_kept(rc, lview):
    result = lview.map_async(abs, [1], label="night run")
    result.wait(30)
    assert result.label == ["night run"]
    assert lview.label == ""


# --- lazy maps --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("ordered", [True, False])
def test_imap(lview, chunksize, ordered):
    values = lview.imap(lambda x: x * 2, range(100), chunksize=chunksize, ordered=ordered)
    assert sorted(values) == [x * 2 for x in range(100)]


def test_imap_reads_endless_input_in_windows(lview):
    taken = itertools.count()
    read = []

    def endless():
        for i in taken:
            read.append(i)
            yield i

    values = lview.imap(lambda x: -x, endless(), max_outstanding=8)
    assert len(read) == 8
    assert list(itertools.islice(values, 100)) == [-x for x in range(100)]
    assert len(read) <= 100 + 8
    values.cancel()
    assert list(values) == []
    assert len(read) <= 100 + 8


def test_imap_goes_on_after_a_failed_item(lview):
    values = lview.imap(lambda x: 1 // x, [1, 0, 1])
    assert next(values) == 1
    with pytest.raises(ZeroDivisionError) as raised:
        next(values)
    assert raised.value.item == 1
    assert re.match(r"  item 1 of map\(<lambda>\), on engine", raised.value.__notes__[0])
    assert next(values) == 1
    with pytest.raises(StopIteration):
        next(values)
    kept = list(lview.imap(lambda x: 1 // x, [1, 0, 1], return_exceptions=True, chunksize=2))
    assert [isinstance(value, ZeroDivisionError) for value in kept] == [False, True, False]
    assert kept[1].item == 1


def test_imap_raises_what_failed_and_gives_what_was_returned(lview):
    loads = f"1 // (__import__('os').getpid() != {os.getpid()})"

    class OnlyThere:
        def __reduce__(self):
            return eval, (loads,)

    def f(x):
        return OnlyThere() if x == 1 else QueueFull("returned") if x == 2 else x

    values = lview.imap(f, range(4))
    told = []
    for _ in range(4):
        try:
            told.append(repr(next(values)))
        except ZeroDivisionError:
            told.append("raised")
    assert told == ["0", "raised", "QueueFull('returned')", "3"]
    kept = list(lview.imap(f, range(4), return_exceptions=True))
    assert [type(each) for each in kept] == [int, ZeroDivisionError, QueueFull, int]


@pytest.mark.parametrize("chunksize", [1, 3])
def test_imap_loses_no_item_when_there_is_no_room(rc, lview, tmp_path, chunksize):
    def wait(path):
        while not os.path.exists(path):
            time.sleep(0.001)

    values = lview.imap(abs, range(60), max_outstanding=8, chunksize=chunksize)
    first = next(values)
    holding = lview.apply_async(wait, str(tmp_path / "go"))
    rc.queue_limit, rc.when_full = 1, "raise"
    given = []
    with pytest.raises(QueueFull):
        given.extend(values)
    (tmp_path / "go").touch()
    holding.get(30)
    rc.queue_limit = 0
    assert [first, *given, *values] == list(range(60))


@pytest.mark.parametrize("chunksize", [1, 3])
def test_imap_loses_no_item_when_its_input_is_interrupted(lview, chunksize):
    class Input:
        read = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.read += 1
            if self.read == 50:
                raise KeyboardInterrupt
            if self.read > 100:
                raise StopIteration
            return self.read

    values = lview.imap(abs, Input(), max_outstanding=8, chunksize=chunksize)
    given = []
    with pytest.raises(KeyboardInterrupt):
        given.extend(values)
    given.extend(values)
    assert given == [n for n in range(1, 101) if n != 50]


def test_imap_does_not_pass_over_an_item_that_cannot_be_sent(lview):
    unsendable = (n for n in range(3))
    values = lview.imap(abs, [*range(30), unsendable, 31], max_outstanding=8)
    given = []
    for _ in range(2):
        with pytest.raises(UnsendableError):
            given.extend(values)
    assert given == list(range(len(given)))


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_one_item_that_raises_what_is_no_exception_costs_no_other(view, error):
    def f(x):
        if x == 5:
            raise error
        return x

    result = view.map_async(f, range(12))
    assert result.exception(30).ename == error.__name__
    assert sorted(result.partial()) == [x for x in range(12) if x != 5]


# --- reduce -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 10, 57])
def test_reduce_keeps_the_order(view, n):
    words = [chr(97 + i % 26) for i in range(n)]
    assert view.reduce(lambda a, b: a + b, words) == "".join(words)


def test_reduce_of_nothing(view):
    with pytest.raises(TypeError, match=r"reduce\(\) of nothing"):
        view.reduce(lambda a, b: a + b, [])
    assert view.reduce(lambda a, b: a + b, [], 5) == 5
    assert view.reduce(lambda a, b: a + b, iter([1, 2]), 5) == 8


# --- decorated functions ------------------------------------------------------------------------


def test_parallel_functions(rc, lview):
    @lview.parallel(block=True)
    def f(x):
        return 10.0 * x**4

    assert f.map(range(32)) == [10.0 * x**4 for x in range(32)]
    assert (f(numpy.arange(10)) == 10.0 * numpy.arange(10) ** 4).all()
    assert lview.map_sync(f, [1, 2]) == [10.0, 160.0]


def test_decorated_functions_call_each_other_on_the_engines(lview):
    @lview.remote(block=True)
    def double(x):
        return 2 * x

    @lview.remote(block=True)
    def quadruple(x):
        return double(double(x))

    assert quadruple(3) == 12
