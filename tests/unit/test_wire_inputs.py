"""Places among arguments for what other tasks give: noted where pickled, filled where loaded."""

from __future__ import annotations

import pickle
import threading
from types import FunctionType

import numpy
import pytest

from enginery.core.messages import Value
from enginery.error import UnsendableError
from enginery.wire import inputs, payload
from enginery.wire.functions import FunctionCache, load
from enginery.wire.taking import Takeable, taken_by


class Promise(Takeable):
    """Stands for a result; its parts and how they are put together."""

    def __init__(self, *parts, assemble=None):
        self.parts, self.assemble = parts, assemble


class Noting:
    """Takes note of promises."""

    def __init__(self):
        self.seen = []

    def take(self, result):
        self.seen.append(result)
        return inputs.arrive, (list(result.parts), result.assemble)


def packed(value):
    """A value as the client sends it, and the promises in it."""
    noting = Noting()
    with taken_by(noting):
        data, buffers = payload.dumps(value)
    return data, buffers, noting.seen


def values(*given):
    """What some tasks gave."""
    return tuple(Value(*payload.dumps(value)) for value in given)


def test_promises_are_noted_once_and_arrive_as_values():
    one, many = Promise(1), Promise(0, 1, assemble=list)
    data, buffers, seen = packed({"x": [one, (one, many)]})
    assert seen == [one, many]
    with inputs.given(values("a", ["b"])):
        loaded = payload.loads(data, buffers).value
    assert loaded == {"x": [["b"], (["b"], ["a", ["b"]])]}
    assert loaded["x"][0] is loaded["x"][1][0] is loaded["x"][1][1][1]


def test_each_loading_makes_values_of_its_own():
    data, buffers, _ = packed([Promise(0)])
    given = values([1])
    for _ in range(2):
        with inputs.given(given):
            [value] = payload.loads(data, buffers).value
        value.append(2)
        assert value == [1, 2]


def test_chunks_are_joined():
    data, buffers, _ = packed((Promise(1, 0, assemble=inputs.joined),))
    with inputs.given(values([3], [1, 2])):
        assert payload.loads(data, buffers).value == ([1, 2, 3],)


def test_large_arrays_are_not_copied_and_read_only():
    array = numpy.arange(10_000)
    data, buffers, _ = packed([Promise(0), Promise(inputs.along(*payload.dumps(array)))])
    given = values(array)
    assert numpy.shares_memory(numpy.frombuffer(given[0].buffers[0].data, array.dtype), array)
    assert [buffer.nbytes for buffer in buffers] == [array.nbytes]
    with inputs.given(given):
        first, second = payload.loads(data, buffers).value
    for each in (first, second):
        assert (each == array).all()
        assert not each.flags.writeable
        assert numpy.shares_memory(each, array)


def test_promises_that_need_the_other_pickler_are_noted_too():
    scale = 3
    data, buffers, seen = packed([lambda x: x * scale, Promise(0)])
    assert len(set(map(id, seen))) == 1
    with inputs.given(values(5)):
        f, x = payload.loads(data, buffers).value
    assert f(x) == 15


def test_nobody_takes_note_outside_nor_in_other_threads():
    with pytest.raises(TypeError, match="its value is sent where it is the argument of a call"):
        pickle.dumps(Promise(0))
    raised = []

    def elsewhere():
        try:
            payload.dumps([Promise(0)])
        except UnsendableError as error:
            raised.append(error)

    with taken_by(Noting()):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with taken_by(None), pytest.raises(TypeError):
            pickle.dumps(Promise(0))
        pickle.dumps(Promise(0))
    assert len(raised) == 1


def test_a_name_that_a_function_mentions_is_no_argument():
    code = compile("def f(): return promised", "<main>", "exec").co_consts[0]
    space = {"__name__": "__main__", "promised": Promise(0)}
    function = FunctionType(code, space)
    function.__module__ = "__main__"
    data, buffers, seen = packed([function])
    assert seen == []
    with pytest.raises(NameError):
        payload.loads(data, buffers).value[0]()
    _, blob = FunctionCache(1 << 20).serialize(function)
    assert "promised" not in load(blob).names


def test_a_value_that_was_not_given_is_an_error_there():
    data, buffers, _ = packed([Promise(0)])
    with pytest.raises(IndexError):
        payload.loads(data, buffers)
