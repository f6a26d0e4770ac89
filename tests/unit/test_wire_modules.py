"""Modules in front of functions: they arrive before these, and each function has its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from hashlib import sha256

import pytest

from enginery.core.names import content_hash
from enginery.engine.functions import Functions
from enginery.wire.functions import FunctionCache
from enginery.wire.modules import File, Module, PushedModules, SourceFinder, installed, unpack

NAME = "enginery_test_module"


def module(source: str, **more: str) -> Module:
    """A module, or a package when there is more in it."""
    start = f"/home/somebody/{NAME}"
    own = f"{start}/__init__.py" if more else f"{start}.py"
    files = {NAME: File(own, source.encode())}
    for name, text in more.items():
        files[f"{NAME}.{name}"] = File(f"{start}/{name}.py", text.encode())
    return Module(NAME, files)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Nothing stays in this process."""
    try:
        yield
    finally:
        sys.meta_path[:] = [each for each in sys.meta_path if type(each) is not SourceFinder]
        for name in [name for name in sys.modules if name.startswith(NAME)]:
            del sys.modules[name]


def reads() -> object:
    return importlib.import_module(NAME).value


def test_a_function_goes_as_it_is_without_modules() -> None:
    hash, blob = FunctionCache(1 << 20).serialize(abs)
    assert not PushedModules()
    assert unpack(blob) == ([], blob)
    assert hash == sha256(blob).digest()[:16]


def test_modules_come_out_as_they_went_in() -> None:
    pushed = PushedModules()
    first, second = module("value = 1"), module("value = 2", sub="value = 'ü'")
    for each in (first, second):
        pushed.add(each)
        assert unpack(pushed.with_function(b"\x80function")) == ([each], b"\x80function")
    assert pushed
    other = Module("another", {"another": File("/another.py", b"")})
    pushed.add(other)
    assert unpack(pushed.with_function(b"")) == ([second, other], b"")
    assert first.digest != second.digest
    assert first.digest == module("value = 1").digest


def test_each_function_has_its_own_modules() -> None:
    engine, cache = Functions(), FunctionCache(1 << 20)
    hashes = []
    for value in (1, 2):
        pushed = PushedModules()
        pushed.add(module(f"value = {value}"))
        code = pushed.with_function(cache.serialize(reads)[1])
        hashes.append(content_hash(code))
        engine.keep(hashes[-1], code)
    for _ in range(2):
        for value, hash in enumerate(hashes, 1):
            assert engine.loaded(hash) is None  # the modules of the other one are there
            assert engine.load(hash).call() == value
            assert engine.loaded(hash) is not None
    finders = [each for each in sys.meta_path if type(each) is SourceFinder]
    assert len(finders) == 1


def test_what_was_imported_is_renewed_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, cache, pushed = Functions(), FunctionCache(1 << 20), PushedModules()
    main = sys.modules["__main__"]
    seen = []
    for value in ("1", "1", "from .sub import value"):
        more = {"sub": "value = 3"} if "sub" in value else {}
        pushed.add(module(value if more else f"value = {value}", **more))
        code = pushed.with_function(cache.serialize(abs)[1])
        hash = content_hash(code)
        engine.keep(hash, code)
        function = engine.loaded(hash) or engine.load(hash)
        assert installed(function.modules)
        if not seen:
            monkeypatch.setattr(main, "mine", importlib.import_module(NAME), raising=False)
        seen.append(main.mine)  # type: ignore[attr-defined]
    assert seen[0] is seen[1] is not seen[2]
    assert seen[2] is sys.modules[NAME]
    assert [each.value for each in seen] == [1, 1, 3]


def test_a_finder_knows_its_own_files_only() -> None:
    finder = SourceFinder(module("", sub=""), b"")
    assert finder.find_spec("json", None) is None
    assert finder.find_spec(f"{NAME}.other", []) is None
    spec = finder.find_spec(NAME, None)
    assert spec is not None
    assert spec.origin == f"/home/somebody/{NAME}/__init__.py"
    with pytest.raises(ImportError, match=f"json is no part of {NAME}"):
        finder.get_filename("json")
    with pytest.raises(FileNotFoundError, match=f"/data did not come along with module {NAME}"):
        finder.get_data("/data")
