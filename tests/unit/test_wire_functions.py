"""A function's blob is made once as long as nothing in it can have changed, and is never stale."""

from __future__ import annotations

import functools
import gc
import json
import math
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from hashlib import sha256
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pytest

from enginery.core import messages as m
from enginery.core.names import content_hash
from enginery.error import UnsendableError
from enginery.wire import functions
from enginery.wire.chunks import MapChunk
from enginery.wire.functions import FunctionCache, Lend
from enginery.wire.identity import identify
from enginery.wire.memory.peer import Memory
from enginery.wire.modules import File, Module, PushedModules
from enginery.wire.reference import Reference

SCRIPT = """
import math, json
k = 3
text = "t"
items = [1]
pair = (1, (2, "x"))

class Thing: pass

def plain(x): return x
def uses_k(x): return x + k
def through(x): return uses_k(x)
def through_data(x): return through(x), items
def uses_list(x): return items
def uses_pair(): return pair
def uses_module(x): return math.sqrt(x), json.dumps(x)
def uses_class(): return Thing()
def default_list(x=[]): return x
def default_int(x=5, *, y=6): return x
def annotated(x: int, y: list[int] | None = None) -> dict[str, float]: return x
def recursive(n): return recursive(n - 1) if n else 0
def stores():
    global made
    made = 1
    def inner():
        global inner_made
        del inner_made
def nothing(): return not_there
def closure(value):
    def inner(): return value
    return inner
"""


@pytest.fixture
def script() -> dict[str, Any]:
    """The names of a script that ran as `__main__`."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT, names)
    return names


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The namespace of an engine."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main.__dict__


@pytest.fixture
def cache() -> FunctionCache:
    return FunctionCache(1 << 20)


def run(cache: FunctionCache, function: Any, *args: Any) -> Any:
    """What the function returns where only its own names are set."""
    loaded = functions.load(cache.serialize(function)[1])
    space = sys.modules["__main__"].__dict__
    space.update(loaded.names)
    try:
        return loaded.call(*args)
    finally:
        for name in loaded.names:
            del space[name]


def test_the_hash_is_that_of_the_blob(cache: FunctionCache) -> None:
    hash, blob = cache.serialize(math.sqrt)
    assert hash == sha256(blob).digest()[:16]


@pytest.mark.parametrize(
    "name",
    ["plain", "uses_k", "through", "uses_pair", "uses_module", "default_int", "annotated",
     "recursive", "nothing", "stores"],
)  # fmt: skip
def test_what_cannot_change_is_pickled_once(
    script: dict[str, Any], cache: FunctionCache, name: str
) -> None:
    first = cache.serialize(script[name])
    assert cache.serialize(script[name])[1] is first[1]
    assert len(cache) == 1


@pytest.mark.parametrize("name", ["uses_list", "through_data", "uses_class", "default_list"])
def test_what_can_change_is_pickled_each_time(
    script: dict[str, Any], cache: FunctionCache, name: str
) -> None:
    first, second = cache.serialize(script[name]), cache.serialize(script[name])
    assert second[1] is not first[1]
    assert second[0] == first[0], "and sent once all the same, as nothing has changed"
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("function", "cached"),
    [
        (len, True),
        (math.sqrt, True),
        (json.dumps, True),
        (dict, True),
        (functools.partial(pow, 2), True),
        (functools.partial(pow, mod=3), True),
        (functools.partial(sorted, [1]), False),
        (MapChunk(math.sqrt), True),
        (MapChunk(functools.partial(sorted, [1])), False),
        ([].append, False),
        (json.JSONEncoder().encode, False),
        (lambda x: math.sqrt(x) + 1, True),
    ],
)
def test_other_callables(cache: FunctionCache, function: Any, cached: bool) -> None:
    assert (cache.serialize(function)[1] is cache.serialize(function)[1]) is cached
    assert callable(functions.load(cache.serialize(function)[1]).call)


def test_a_global_that_is_bound_anew(
    script: dict[str, Any], cache: FunctionCache, engine: dict[str, Any]
) -> None:
    assert run(cache, script["through"], 1) == 4
    script["k"] = 10
    assert run(cache, script["through"], 1) == 11
    script["uses_k"] = lambda x: "other"
    assert run(cache, script["through"], 1) == "other"
    del script["uses_k"]
    with pytest.raises(NameError):
        run(cache, script["through"], 1)


def test_data_that_is_changed_in_place(
    script: dict[str, Any], cache: FunctionCache, engine: dict[str, Any]
) -> None:
    assert run(cache, script["uses_list"], 0) == [1]
    script["items"].append(2)
    assert run(cache, script["uses_list"], 0) == [1, 2]


def test_code_defaults_attributes_and_cells_that_change(
    script: dict[str, Any], cache: FunctionCache, engine: dict[str, Any]
) -> None:
    f = script["default_int"]
    assert run(cache, f) == 5
    f.__defaults__ = (7,)
    assert run(cache, f) == 7
    f.__kwdefaults__["y"] = 8
    assert functions.load(cache.serialize(f)[1]).call.__kwdefaults__ == {"y": 8}
    f.mark = 1
    assert functions.load(cache.serialize(f)[1]).call.mark == 1
    f.mark = 2
    assert functions.load(cache.serialize(f)[1]).call.mark == 2
    f.__code__ = script["plain"].__code__.replace(co_name="other")
    assert run(cache, f, 9) == 9
    inner = script["closure"](1)
    assert run(cache, inner) == 1
    inner.__closure__[0].cell_contents = 2
    assert run(cache, inner) == 2


def test_classes_that_change(
    script: dict[str, Any], cache: FunctionCache, engine: dict[str, Any]
) -> None:
    script["Thing"].value = 1
    assert run(cache, script["uses_class"]).value == 1
    script["Thing"].value = 2
    assert run(cache, script["uses_class"]).value == 2


def test_ids_are_not_mistaken_for_others(
    script: dict[str, Any], cache: FunctionCache, engine: dict[str, Any]
) -> None:
    for i in range(300):  # each new text may get the memory, and so the id, of the last
        script["k"] = f"{i}!" * 2
        assert run(cache, script["uses_k"], ">") == ">" + f"{i}!" * 2


def test_a_lambda_of_a_module_sees_its_own_globals(cache: FunctionCache) -> None:
    module = {"__name__": "some_module", "rate": 2}
    f = eval("lambda x: x * rate", module)
    assert functions.load(cache.serialize(f)[1]).call(3) == 6
    module["rate"] = 5
    assert functions.load(cache.serialize(f)[1]).call(3) == 15


def interactive() -> Any:
    return where, json.dumps(1)  # type: ignore[name-defined] # noqa: F821


def test_interactive_runs_among_the_names_of_the_engine(
    cache: FunctionCache, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert functions.load(cache.serialize(interactive)[1]).call is interactive
    monkeypatch.setitem(vars(interactive), "__interactive__", True)
    engine["where"] = "engine"
    loaded = functions.load(cache.serialize(interactive)[1])
    assert loaded.call is not interactive
    assert loaded.names == {"json": json}
    engine.update(loaded.names)
    assert loaded.call() == ("engine", "1")


def test_code_keeps_the_name_of_its_file(cache: FunctionCache, engine: dict[str, Any]) -> None:
    source = "def outer():\n    def inner(): return 1\n    return inner\n"
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "/somewhere/script.py", "exec"), names)
    outer = functions.load(cache.serialize(names["outer"])[1]).call
    assert {outer.__code__.co_filename, outer().__code__.co_filename} == {"/somewhere/script.py"}


def test_stores_are_named(script: dict[str, Any], cache: FunctionCache) -> None:
    assert functions.load(cache.serialize(script["stores"])[1]).stores == {"made", "inner_made"}


@pytest.fixture
def peer() -> Iterator[Memory]:
    """A process that shares memory with its controller, which is this process, too."""
    memory = Memory()
    memory.controller = os.getpid()
    yield memory
    memory.close()


@pytest.mark.parametrize("with_modules", [False, True])
def test_large_data_in_a_function_is_used_where_it_lies(
    peer: Memory, engine: dict[str, Any], with_modules: bool
) -> None:
    data = np.arange(100_000)
    hash, code = FunctionCache(1 << 20, lambda: peer.lend).serialize(lambda i: (data[i], data))
    assert hash == content_hash(code)
    if with_modules:
        pushed = PushedModules()
        pushed.add(Module("some_module", {"some_module": File("/some_module.py", b"")}))
        code = pushed.with_function(code)
    assert isinstance(code, m.Large)
    assert len(code.blob) < 5000
    (buffer,) = code.buffers
    number, there = functions.load(code).call(7)
    assert (number, there.tolist()) == (7, data.tolist())
    assert (there.flags.writeable, there.flags.aligned) == (False, True)
    assert np.shares_memory(there, np.frombuffer(buffer.data, np.uint8))


@pytest.mark.parametrize("lends", [True, False])
def test_a_function_has_the_same_name_until_its_large_data_changes(
    peer: Memory, lends: bool
) -> None:
    lend: Lend = peer.lend if lends else lambda buffers: buffers
    cache, data = FunctionCache(1 << 20, lambda: lend), np.arange(100_000)

    def at(i: int) -> Any:
        return data[i]

    first = cache.serialize(at)[0]
    assert cache.serialize(at)[0] == first
    pushed = PushedModules()
    pushed.add(Module("some_module", {"some_module": File("/some_module.py", b"")}))
    names = {content_hash(pushed.with_function(cache.serialize(at)[1])) for _ in range(2)}
    assert len(names) == 1
    data[7] = 0
    changed = cache.serialize(at)[0]
    assert changed != first
    assert cache.serialize(lambda i: data[i] + 1)[0] not in {first, changed}
    data[7] = 7
    assert (cache.serialize(at)[0] == first) or lends  # its place may be another one's by now


def test_nobody_else_can_give_a_name_to_large_data() -> None:
    """Or a client could give other data for the function that others are about to send."""
    data = np.arange(100_000)
    caches = [FunctionCache(1 << 20, lambda: lambda buffers: buffers) for _ in range(2)]
    one, other = (cache.serialize(lambda: data)[0] for cache in caches)
    assert one != other


def test_large_data_in_a_function_may_be_changed_before_it_is_sent() -> None:
    data = np.arange(100_000)
    hash, code = FunctionCache(1 << 20, lambda: lambda buffers: buffers).serialize(lambda: data)
    data[:] = 0
    assert content_hash(code) == hash
    assert functions.load(code).call()[7] == 7


def test_a_function_with_much_that_is_no_array_goes_apart(peer: Memory) -> None:
    many = [f"text {i}" for i in range(50_000)]
    _, code = FunctionCache(1 << 20, lambda: peer.lend).serialize(lambda i: many[i])
    assert isinstance(code, m.Large)
    assert len(code.blob) < 20
    assert functions.load(code).call(9) == "text 9"


def test_without_a_lender_it_holds_all() -> None:
    data = np.arange(100_000)
    _, code = FunctionCache(1 << 20).serialize(lambda i: data[i])
    assert isinstance(code, bytes)
    assert functions.load(code).call(7) == 7


def test_references_make_a_function_live(cache: FunctionCache, engine: dict[str, Any]) -> None:
    _, blob = cache.serialize(functools.partial(max, Reference("a")))
    engine["a"] = 1
    assert functions.load(blob).live
    assert functions.load(blob).call(0) == 1
    engine["a"] = 2
    assert functions.load(blob).call(0) == 2


def test_the_cache_is_bounded_by_bytes_and_drops_the_least_used(script: dict[str, Any]) -> None:
    cache = FunctionCache(30_000)
    often = script["plain"]
    kept = cache.serialize(often)[1]
    for i in range(50):
        cache.serialize(script["closure"](f"{i}" * 1000))
        assert cache.serialize(often)[1] is kept
    assert 2 < len(cache) < 20


def test_what_the_cache_keeps_alive_counts(script: dict[str, Any]) -> None:
    cache = FunctionCache(30_000)
    script["text"] = "x" * 100_000  # not lent, but part of the key
    cache.serialize(eval("lambda: text", script))
    assert len(cache) == 0


def test_dropped_functions_can_go(script: dict[str, Any], engine: dict[str, Any]) -> None:
    cache = FunctionCache(2_500)
    inner = script["closure"]("x")
    gone = weakref.ref(inner)
    cache.serialize(inner)
    del inner
    for i in range(5):
        cache.serialize(script["closure"](i))
    gc.collect()
    assert gone() is None


def test_dropped_functions_that_were_sent_again_can_go(script: dict[str, Any]) -> None:
    cache = FunctionCache(200_000)
    gone = []
    for i in range(10):
        large = script["closure"](f"{i}" * 40_000)
        gone.append(weakref.ref(large))
        cache.serialize(large)
        cache.serialize(large)
    del large
    gc.collect()
    assert len([each for each in gone if each() is not None]) == len(cache) == 2


def test_threads_share_a_cache(script: dict[str, Any], cache: FunctionCache) -> None:
    made: list[bytes] = []

    def work() -> None:
        made.extend(cache.serialize(script["through"])[0] for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 400
    assert len(set(made)) == 1
    assert len(cache) == 1


def test_recursion_through_a_closure_and_an_empty_cell(
    script: dict[str, Any], cache: FunctionCache, engine: dict[str, Any]
) -> None:
    exec(
        "def make():\n"
        "    def inner(n): return inner(n - 1) + 1 if n else 0\n"
        "    return inner\n"
        "def early():\n"
        "    def inner(): return later\n"
        "    if False: later = 1\n"
        "    return inner\n",
        script,
    )
    assert run(cache, script["make"](), 4) == 4
    with pytest.raises(NameError):
        run(cache, script["early"]())


def test_what_cannot_be_sent_is_named(script: dict[str, Any], cache: FunctionCache) -> None:
    with pytest.raises(UnsendableError, match=r"closure variable 'value' of function inner"):
        cache.serialize(script["closure"](threading.Lock()))


def test_identity_ends_where_the_walk_comes_back(script: dict[str, Any]) -> None:
    exec("def a(): return b()\ndef b(): return a()", script)
    first, again, other = (identify(script[name]) for name in "aab")
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.key == again.key != other.key


def test_what_holds_is_what_has_not_changed(script: dict[str, Any]) -> None:
    exec("k = 3\ndef helper(): return k\ndef top(x=1): return helper() + x", script)
    identity = identify(script["top"])
    assert identity is not None
    assert identity.holds()
    script["k"] = 4
    assert not identity.holds()
    script["k"] = 3
    assert identity.holds()
    script["helper"].__code__ = (lambda: 5).__code__
    assert not identity.holds()
    assert (identify(script["top"]) or identity).key != identity.key
    for change in ("__defaults__", "__kwdefaults__", "__dict__"):
        exec("def f(x=1): return x", script)
        identity = identify(script["f"])
        assert identity is not None
        assert identity.holds()
        setattr(script["f"], change, {"x": 2} if change != "__defaults__" else (2,))
        assert not identity.holds(), change


def test_a_function_of_a_module_that_is_sent_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    exec("k = 3\ndef f(): return k", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    cache = FunctionCache(1 << 20)
    by_name = cache.serialize(module.f)
    assert cache.serialize(module.f) == by_name  # recognized
    cloudpickle.register_pickle_by_value(module)
    try:
        before = cache.serialize(module.f)
        assert cache.serialize(module.f) == before
        monkeypatch.setattr(module, "k", 4)
        after = cache.serialize(module.f)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert cache.serialize(module.f) == by_name
    monkeypatch.delitem(sys.modules, "only_here")
    assert functions.load(before[1]).call() == 3
    assert functions.load(after[1]).call() == 4
