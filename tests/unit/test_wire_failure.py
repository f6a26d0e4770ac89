"""What an engine says of any exception arrives, bounded, without our own frames."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import enginery
from enginery.wire import payload
from enginery.wire.chunks import MapChunk
from enginery.wire.failure import EXCEPTION_LIMIT, TEXT_LIMIT, Failure

OWN = str(Path(enginery.__file__).parent)


def fail(error: BaseException) -> Any:
    raise error


def failure(f: Callable[[], Any], **options: Any) -> Failure:
    """What a client gets of the exception that `f` raises."""
    try:
        f()
    except BaseException as error:
        said = Failure.capture(error, **options)
        there = payload.loads(*payload.dumps(said, lend=False)).value
        assert there == said
        assert isinstance(there, Failure)
        return there
    raise AssertionError("it did not raise")


class WithState(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b


class WithLock(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class Gone(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "no", path)
        self.hint = "look"


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")


class Once(Exception):
    made = 0

    def __new__(cls, *args: Any) -> Once:
        cls.made += 1
        if cls.made > 1:
            raise RuntimeError("only once")
        return super().__new__(cls, *args)


class BadNotes(Exception):
    __notes__ = 5  # type: ignore[assignment]


def test_the_facts() -> None:
    said = failure(lambda: fail(KeyError("k")))
    assert (said.ename, said.evalue, said.kind, said.module) == ("KeyError", "'k'", "call", "")
    assert str(said) == "KeyError: 'k'"
    file, line, function, source = said.frames[-1]
    assert (file, function, source) == (__file__, "fail", "raise error")
    assert line > 1
    assert said.traceback.startswith("Traceback (most recent call last):\n")
    assert said.traceback.endswith("KeyError: 'k'\n")


def test_the_exception_can_be_had_here() -> None:
    error = failure(lambda: json.loads("{")).exception_here()
    assert type(error) is json.JSONDecodeError
    assert error.pos == 1
    assert error.__traceback__ is None


def test_attributes_and_notes_survive() -> None:
    sent = ValueError("v")
    sent.extra = [1, 2]  # type: ignore[attr-defined]
    sent.add_note("noted")
    said = failure(lambda: fail(sent))
    assert said.notes == ["noted"]
    error = said.exception_here()
    assert error is not None
    assert vars(error) == {"extra": [1, 2], "__notes__": ["noted"]}


def test_an_exception_that_cannot_be_unpickled_keeps_class_message_and_attributes() -> None:
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(WithState(1, 2)))
    error = failure(lambda: fail(WithState(1, 2))).exception_here()
    assert type(error) is WithState
    assert (str(error), error.a, error.b) == ("1 and 2", 1, 2)


def test_an_error_of_the_system_keeps_its_facts() -> None:
    error: Any = failure(lambda: fail(Gone("a"))).exception_here()
    assert type(error) is Gone
    assert str(error) == "[Errno 2] no: 'a'"
    assert error.args == (str(error),)
    assert (error.errno, error.strerror, error.filename, error.filename2) == (2, "no", "a", None)
    assert vars(error) == {"hint": "look"}


def test_an_exception_that_cannot_be_pickled_keeps_class_and_message() -> None:
    error = failure(lambda: fail(WithLock("held"))).exception_here()
    assert type(error) is WithLock
    assert str(error) == "held"
    assert not hasattr(error, "lock")


def test_one_attribute_that_cannot_be_sent_does_not_cost_the_others() -> None:
    sent = WithLock("held")
    sent.hint = {"a": 1}  # type: ignore[attr-defined]
    error: Any = failure(lambda: fail(sent)).exception_here()
    assert type(error) is WithLock
    assert vars(error) == {"hint": {"a": 1}}


def test_an_exception_that_refuses_everything() -> None:
    said = failure(lambda: fail(Hostile()))
    assert said.ename == "Hostile"
    assert said.evalue == "<Hostile str() failed>"
    assert isinstance(said.exception_here(), Hostile)


def test_an_exception_that_cannot_be_made_again() -> None:
    said = failure(lambda: fail(Once("made")))
    assert said.exception_here() is None
    assert str(said) == "Once: made"


def test_an_exception_whose_class_is_not_here() -> None:
    said = failure(lambda: fail(WithState(1, 2)))
    assert said.exception is not None
    said.exception = said.exception.replace(b"WithState", b"WithStarz")
    assert said.exception_here() is None


def test_a_pickle_that_is_no_exception_is_none() -> None:
    said = Failure("X", "x", "x", exception=pickle.dumps("text"))
    assert said.exception_here() is None
    assert Failure("X", "x", "x", exception=b"garbage").exception_here() is None
    assert Failure("X", "x", "x").exception_here() is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1)])
def test_what_is_no_plain_exception(error: BaseException) -> None:
    there = failure(lambda: fail(error)).exception_here()
    assert type(there) is type(error)
    assert there.args == error.args


def test_chains_are_in_the_text() -> None:
    def chain() -> None:
        try:
            fail(KeyError("first"))
        except KeyError as error:
            raise ValueError("second") from error

    said = failure(chain)
    assert "KeyError: 'first'" in said.traceback
    assert "direct cause" in said.traceback
    assert said.ename == "ValueError"


def test_groups() -> None:
    group = ExceptionGroup("two", [ValueError("one"), WithState(1, 2)])
    said = failure(lambda: fail(group))
    assert "WithState: 1 and 2" in said.traceback
    assert "ValueError: one" in said.traceback
    plain = failure(lambda: fail(ExceptionGroup("one", [ValueError("v")]))).exception_here()
    assert isinstance(plain, ExceptionGroup)
    assert isinstance(plain.exceptions[0], ValueError)


class Errors(ExceptionGroup):
    def __new__(cls, errors: list[Exception], code: int) -> Errors:
        self = super().__new__(cls, f"exit code {code}", errors)
        self.code = code
        return self


def test_a_group_keeps_what_can_be_sent_of_each_member() -> None:
    inner = Errors([Gone("a"), Hostile()], 3)
    inner.lock = threading.Lock()  # type: ignore[attr-defined]
    sent = ExceptionGroup("all", [ValueError("v"), WithState(1, 2), inner])
    sent.add_note("noted")
    error: Any = failure(lambda: fail(sent)).exception_here()
    assert type(error) is ExceptionGroup
    assert (str(error), error.__notes__) == ("all (3 sub-exceptions)", ["noted"])
    plain, with_state, errors = error.exceptions
    assert (repr(plain), vars(with_state)) == ("ValueError('v')", {"a": 1, "b": 2})
    assert (type(errors), errors.message, vars(errors)) == (Errors, "exit code 3", {"code": 3})
    assert (errors.exceptions[0].filename, type(errors.exceptions[1])) == ("a", Hostile)


def test_a_group_with_one_that_cannot_be_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Once, "made", 0)
    said = failure(lambda: fail(ExceptionGroup("all", [Once("made")])))
    assert said.exception_here() is None
    assert str(said) == "ExceptionGroup: all (1 sub-exception)"


def test_groups_in_groups_without_end() -> None:
    sent: Exception = WithState(1, 2)
    for _ in range(2000):
        sent = ExceptionGroup("deep", [sent])
    assert failure(lambda: fail(sent)).ename == "ExceptionGroup"


def test_huge_messages_are_cut_and_keep_their_ends() -> None:
    said = failure(lambda: fail(ValueError("a" * 5_000_000 + "end")))
    assert len(said.evalue) < TEXT_LIMIT + 100
    assert len(said.traceback) < TEXT_LIMIT + 100
    assert said.evalue.endswith("end")
    assert "characters cut" in said.evalue
    assert len(said.exception or b"") < EXCEPTION_LIMIT
    error = said.exception_here()
    assert type(error) is ValueError
    assert str(error) == said.evalue


def test_deep_recursion() -> None:
    def down() -> None:
        down()

    said = failure(down)
    assert said.ename == "RecursionError"
    assert len(said.frames) == 64
    assert "repeated" in said.traceback


def test_notes_and_messages_may_be_anything() -> None:
    assert failure(lambda: fail(BadNotes())).notes == []
    odd = ValueError("\ud800\x1b[31m", b"\xff")
    assert failure(lambda: fail(odd)).ename == "ValueError"


def test_a_source_line_that_is_not_to_be_had() -> None:
    space: dict[str, Any] = {}
    exec(compile("def f():\n    1/0", "<stdin>", "exec"), space)
    assert failure(space["f"]).frames[-1] == ("<stdin>", 2, "f", "")


def test_our_own_frames_are_cut() -> None:
    def through_a_chunk() -> None:
        try:
            MapChunk(fail)([(ValueError("v"),)])
        except Exception as error:
            raise error.outcomes[0].exception_here() from error  # type: ignore[attr-defined]

    said = failure(through_a_chunk)
    assert OWN not in said.traceback
    assert all(not frame[0].startswith(OWN) for frame in said.frames)
    assert said.frames[-1][2] == "through_a_chunk"


def test_a_missing_module_is_named_and_our_own_import_is_a_load() -> None:
    broken = b"\x80\x05cno_such_module_here\nf\n."
    said = failure(lambda: payload.loads(broken, ()))
    assert (said.kind, said.module) == ("load", "no_such_module_here")
    assert said.python
    assert "importlib" not in said.traceback

    def user_code() -> None:
        import no_such_module_here  # noqa: F401

    said = failure(user_code)
    assert (said.kind, said.module) == ("call", "no_such_module_here")


def test_withheld_names_are_explained() -> None:
    withheld = {"data": "it is larger than 64 KiB"}
    said = failure(lambda: data, withheld=withheld)  # type: ignore[name-defined] # noqa: F821
    assert said.notes == [
        "'data' did not come along with the function: it is larger than 64 KiB"
    ]  # fmt: skip
    said = failure(lambda: other, withheld=withheld)  # type: ignore[name-defined] # noqa: F821
    assert said.notes == []


def test_what_it_came_from_comes_along() -> None:
    def fail() -> None:
        try:
            int("a")
        except ValueError as error:
            try:
                raise KeyError("b") from error
            except KeyError:
                raise OSError("c")  # noqa: B904

    with pytest.raises(OSError, match="c") as raised:
        fail()
    failure = Failure.capture(raised.value)
    told = [(how, ename, evalue) for how, ename, evalue, _ in failure.earlier]
    assert told == [
        ("raised while handling", "KeyError", "'b'"),
        ("caused by", "ValueError", "invalid literal for int() with base 10: 'a'"),
    ]
    assert [frames[-1][3] for *_, frames in failure.earlier] == [
        'raise KeyError("b") from error', 'int("a")',
    ]  # fmt: skip
    assert Failure.capture(ValueError("alone")).earlier == []


def test_what_was_meant_to_be_forgotten_does_not() -> None:
    def fail() -> None:
        try:
            int("a")
        except ValueError:
            raise KeyError("b") from None

    with pytest.raises(KeyError) as raised:
        fail()
    assert Failure.capture(raised.value).earlier == []
