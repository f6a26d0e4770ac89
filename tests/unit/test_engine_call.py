"""A call gives what the function returned at that moment, or says which step of it failed."""

import sys
import weakref
from types import ModuleType

import numpy as np
import pytest

from enginery import Reference, UnmetDependency, interactive
from enginery.core.messages import Attempt, Buffer, Result, Results
from enginery.engine.call import REASON, Call, own, ready, reason_of
from enginery.engine.functions import Functions
from enginery.engine.namespace import Namespace
from enginery.wire import codec, payload
from enginery.wire.chunks import ChunkFailed, MapChunk
from enginery.wire.failure import Failure
from enginery.wire.functions import FunctionCache


class Engine:
    """As much of an engine as a call needs."""

    def __init__(self):
        self.cache = FunctionCache(1 << 20)
        self.functions = Functions()
        self.namespace = Namespace()

    def call(self, function, *args, **kwargs):
        hash, blob = self.cache.serialize(function)
        self.functions.keep(hash, blob)
        data, buffers = payload.dumps((args, kwargs))
        return Call(Attempt(1, "t", 1, hash, data, buffers), self.functions, self.namespace)

    def result(self, function, *args, **kwargs):
        call = self.call(function, *args, **kwargs)
        call()
        return payload.loads(*call.result()).value

    def failure(self, function, *args, **kwargs):
        call = self.call(function, *args, **kwargs)
        with pytest.raises(BaseException) as caught:
            call()
        return payload.loads(*call.failure(caught.value)).value


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setitem(sys.modules, "__main__", engine.namespace.module)
    return engine


class Large:
    """Something that is not to stay."""


def test_nothing_is_kept_of_the_first_call_where_a_module_is_absent(engine, monkeypatch):
    here = ModuleType("only_the_client_has_this")
    script = {"__name__": "__main__", "absent": here}
    exec("def f(value): return absent if value is None else 1", script)
    with monkeypatch.context() as client:
        client.setitem(sys.modules, here.__name__, here)
        hash, blob = engine.cache.serialize(script["f"])
    engine.functions.keep(hash, blob)
    large = Large()
    gone = weakref.ref(large)

    def call(value):
        function = ready(engine.functions, engine.namespace, hash)
        return function.call(value)

    assert call(large) == 1
    del large
    assert gone() is None
    assert "No module named 'only_the_client_has_this'" in repr(call(None))


def test_a_function_is_loaded_once(engine):
    def f(x, y=1):
        return x + y

    assert engine.result(f, 1) == 2
    hash = engine.cache.serialize(f)[0]
    loaded = engine.functions.loaded(hash)
    assert loaded is not None
    assert engine.result(f, 1, y=5) == 6
    assert engine.functions.loaded(hash) is loaded
    engine.functions.forget(hash)
    assert engine.functions.loaded(hash) is None


def test_it_says_which_step_has_failed(engine):
    failure = engine.failure(lambda: 1 / 0)
    assert (failure.kind, failure.ename) == ("call", "ZeroDivisionError")
    assert engine.failure(abs, Reference("nothing")).kind == "load"
    assert engine.failure(sys._getframe).kind == "result"


def test_a_function_that_could_not_be_loaded_is_tried_again(engine):
    call = engine.call(abs, -1)
    hash = call.attempt.function
    good = engine.functions._codes[hash]
    engine.functions.keep(hash, b"\x80\x05cno_such_module\nf\n.")
    with pytest.raises(ModuleNotFoundError):
        call()
    engine.functions.keep(hash, good)
    call()
    assert payload.loads(*call.result()).value == 1


def test_the_good_items_of_a_chunk_survive_the_bad(engine):
    failed = engine.failure(MapChunk(lambda x: 1 / x), [(1,), (0,), (2,)])
    assert isinstance(failed, ChunkFailed)
    assert failed.outcomes[::2] == [1.0, 0.5]
    assert isinstance(failed.outcomes[1], Failure)


def test_so_do_those_that_can_be_sent(engine):
    def f(x):
        return sys._getframe() if x else x

    failed = engine.failure(MapChunk(f), [(0,), (1,)])
    assert isinstance(failed, ChunkFailed)
    assert failed.outcomes[0] == 0
    assert failed.outcomes[1].kind == "result"


def test_names_lent_to_the_last_function_are_not_the_next_ones(engine):
    engine.namespace.lend({"k": 1})

    @interactive
    def f():
        return "k" in globals()

    assert engine.result(f) is False


def test_a_result_does_not_change_after_it_was_made(engine):
    big = np.zeros(100_000)
    engine.namespace.push({"big": big})

    @interactive
    def get():
        return big

    @interactive
    def part():
        return {"x": [big[10:]]}

    for function in (get, part):
        call = engine.call(function)
        call()
        sent = call.result()
        big += 1
        value = payload.loads(*sent).value
        value = value["x"][0] if isinstance(value, dict) else value
        assert value[50] == big[50] - 1


def test_what_nobody_else_holds_is_not_copied(engine):
    call = engine.call(lambda: [np.zeros(100_000), bytes(100_000)])
    call()
    before = [memoryview(b.data) for b in call.packed[1]]
    after = [memoryview(b.data) for b in call.result()[1]]
    assert len(before) == 2
    assert [a.obj is b.obj for a, b in zip(after, before, strict=True)] == [True, True]


class Untold(UnmetDependency):
    def __str__(self):
        raise RuntimeError("it has no text")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnmetDependency(), "UnmetDependency"),
        (UnmetDependency("no GPU"), "no GPU"),
        (UnmetDependency("no caf\udce9"), "no caf\\udce9"),
        (UnmetDependency("\udce9" * REASON), ("\\udce9" * REASON)[:REASON]),
        (Untold(), "<Untold str() failed>"),
    ],
)
def test_why_a_task_is_refused_can_always_be_sent(error, reason):
    result = Result("t", 1, "refused", b"", reason=reason_of(error))
    results = [Results(1, [result])]
    assert codec.decode(codec.encode(results)) == results
    assert result.reason == reason


def test_memory_of_unknown_owners_is_copied():
    held = bytearray(100)
    assert own(Buffer(bytes(100))).data == bytes(100)
    copy = own(Buffer(held))
    held[0] = 1
    assert copy.data[0] == 0
