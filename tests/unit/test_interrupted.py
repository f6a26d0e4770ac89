"""What Ctrl-C says of the work that was waited for."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from enginery.client import interrupted
from enginery.client.interrupted import Presses, Second, Work
from enginery.error import NoControllerError

MAP = Work(
    "map(slow)", {"t-1": 10, "t-2": 10, "t-3": 5}, done=30, failed=5, total=60, unit="items",
    again="Wait again: rc.last.get()", stop="Stop it: rc.last.abort(running=True)",
    rest="What is done: rc.last.partial()",
)  # fmt: skip
ONE = MAP._replace(name="apply(slow)", pending={"t-1": 1}, unit="", done=0, failed=0, total=1)
LAZY = MAP._replace(total=None, done=0, failed=0)


@pytest.mark.parametrize(
    ("work", "running", "told"),
    [
        (MAP, {"t-1", "t-3", "x-9"}, ": 30 of 60 items done, 5 failed, 15 running, 10 waiting"),
        (MAP, set(), ": 30 of 60 items done, 5 failed, 25 waiting"),
        (MAP, None, ": 30 of 60 items done, 5 failed"),
        (ONE, {"t-1"}, ": it is running"),
        (ONE, {"x-1"}, ": it has not started"),
        (ONE, None, ""),
        (LAZY, {"t-1"}, ": 10 running, 15 waiting"),
        (LAZY, None, ""),
    ],
)
def test_how_far_it_is(work: Work, running: set[str] | None, told: str) -> None:
    assert work.so_far(None if running is None else frozenset(running)) == told


class Deaf:
    """A link to a controller that does not answer."""

    closed, ended, lost_since = False, "", None

    def __init__(self) -> None:
        self.slots: dict[str, Any] = {"t-1": SimpleNamespace()}
        self.asked: list[Any] = []

    def ask(self, message: Any, timeout: float = 10.0) -> Any:
        """No answer."""
        self.asked.append(message)
        raise NoControllerError("nobody answers\n  for long")


def shown(error: KeyboardInterrupt) -> list[str]:
    """The lines of an exception."""
    return [str(error), *getattr(error, "__notes__", [])]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the handler of SIGINT of the test run."""
    monkeypatch.setattr(Presses, "_listen", lambda self: None)


@pytest.mark.usefixtures("elsewhere")
def test_when_nobody_answers() -> None:
    """The wait ends all the same, and what is said is what is known here."""
    link: Any = Deaf()
    presses = Presses(link)
    error = KeyboardInterrupt()
    presses.tell(error, MAP)
    assert shown(error) == [
        "stopped waiting for map(slow): 30 of 60 items done, 5 failed",
        "  The work goes on.  Wait again: rc.last.get()    Stop it: rc.last.abort(running=True)",
        "  Ctrl-C twice within 2 s does both: stops waiting and stops the work.",
    ]
    assert presses.listening
    error = KeyboardInterrupt()
    presses.tell(error, MAP)
    assert shown(error) == [
        "stopped waiting for map(slow), but not the work: nobody answers",
        "  Wait again: rc.last.get()",
    ]
    assert link.asked[-1].ids == ["t-1"]
    assert not presses.listening


@pytest.mark.usefixtures("elsewhere")
def test_work_that_nobody_can_stop() -> None:
    """As that of the scheme "pure": a second press is another first one."""
    presses = Presses(Deaf())  # type: ignore[arg-type]
    for _ in range(2):
        error = KeyboardInterrupt()
        presses.tell(error, MAP._replace(stop=""))
        assert shown(error)[1:] == ["  The work goes on.  Wait again: rc.last.get()"]
        assert not presses.listening


class Held:
    """Something that a user's function holds."""


@pytest.mark.usefixtures("elsewhere")
def test_nothing_of_what_was_interrupted_is_held() -> None:
    presses = Presses(Deaf())  # type: ignore[arg-type]

    def work() -> weakref.ref[Held]:
        held = Held()
        presses.tell(KeyboardInterrupt(), MAP)
        try:
            raise presses.stopped()
        except KeyboardInterrupt as error:
            presses.tell(error, MAP)
        return weakref.ref(held)

    held = work()
    gc.collect()
    assert held() is None


@pytest.mark.usefixtures("elsewhere")
def test_nothing_is_said_of_what_is_done_or_closed() -> None:
    link: Any = Deaf()
    error = KeyboardInterrupt()
    Presses(link).tell(error, MAP._replace(pending={}))
    assert shown(error) == [""]
    link.closed = True
    Presses(link).tell(error, MAP)
    assert shown(error) == [""]
    assert link.asked == []


# --- the handler of SIGINT ------------------------------------------------------------------------


@pytest.fixture
def sigint() -> Iterator[Callable[[], Any]]:
    """Gives the handler of SIGINT, which is Python's own at first, and that of the run later."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def pressed(link: Any) -> Presses:
    """A link's, after a first press."""
    presses = Presses(link)
    presses._at_exit = True  # this is no program that ends
    presses.tell(KeyboardInterrupt(), MAP)
    return presses


def test_ours_goes_when_the_time_is_over(
    sigint: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    presses = pressed(Deaf())
    ours = sigint()
    assert isinstance(ours, Second)
    presses.put_back()
    assert sigint() is ours
    monkeypatch.setattr(interrupted, "TWICE", -1.0)
    other = threading.Thread(target=presses.put_back)  # where it cannot be done
    other.start()
    other.join()
    assert sigint() is presses.handler is ours
    presses.put_back()
    assert sigint() is signal.default_int_handler
    assert presses.handler is None


def test_ours_goes_when_the_link_is_closed(sigint: Callable[[], Any]) -> None:
    link = Deaf()
    presses = pressed(link)
    link.closed = True
    link.asked.clear()
    with pytest.raises(KeyboardInterrupt) as caught:
        signal.raise_signal(signal.SIGINT)
    assert (caught.value.args, link.asked) == ((), [])
    assert sigint() is signal.default_int_handler
    assert presses.handler is None


def test_a_handler_that_came_later_stays(
    sigint: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    presses = pressed(Deaf())
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(interrupted, "TWICE", -1.0)
    presses.put_back()
    assert sigint() is signal.SIG_IGN
    signal.signal(signal.SIGINT, ours)  # as who had put it there only for a while
    presses.put_back()
    assert sigint() is signal.default_int_handler


def test_another_link_takes_over(
    sigint: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pressed(Deaf()), pressed(Deaf())
    assert one.handler is None
    assert sigint() is other.handler
    monkeypatch.setattr(interrupted, "TWICE", -1.0)
    one.put_back()
    assert sigint() is other.handler
    other.put_back()
    assert sigint() is signal.default_int_handler
