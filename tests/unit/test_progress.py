"""Progress counts items, is shown where and when it should be, and nothing is left behind."""

import io
import sys
import threading
from types import SimpleNamespace

import pytest

from enginery.client.display.bars import Lines
from enginery.client.display.progress import Engines, Progress, Watcher, follow, snapshot, summary
from enginery.client.results import AsyncResult
from enginery.error import ControllerLost

from .hand_link import HandLink, client_of, outcome


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def hand():
    return HandLink()


def a_map(hand, sizes=(3, 3, 4)):
    slots = hand.new_slots(len(sizes), "map(fit)")
    return slots, AsyncResult(client_of(hand), slots, name="map(fit)", shape="map", sizes=sizes)


def finish(hand, slots, sizes=(3, 3, 4)):
    hand.deliver(*(outcome(s, [0] * n) for s, n in zip(slots, sizes, strict=True)))


def test_items_are_counted_not_tasks(hand):
    slots, result = a_map(hand)
    hand.deliver(outcome(slots[2], [0] * 4))
    now = snapshot(result)
    assert (now.done, now.running, now.failed, now.total, now.ended) == (4, None, 0, 10, 4)
    assert now.eta == pytest.approx(now.elapsed / 4 * 6)


def test_nothing_is_known_of_the_time_left_before_anything_ended(hand):
    assert snapshot(a_map(hand)[1]).eta is None


def test_a_callable_gets_each_change_and_nothing_is_printed(hand, capfd):
    slots, result = a_map(hand)
    seen = []

    def show(progress):
        seen.append((progress.done, progress.total))
        if len(seen) <= len(slots):
            i = len(seen) - 1
            hand.deliver(outcome(slots[i], [0] * (3, 3, 4)[i]))

    assert follow(result, show, interval=0.001)
    assert seen == [(0, 10), (3, 10), (6, 10), (10, 10)]
    assert capfd.readouterr() == ("", "")


def test_lines_come_for_each_tenth():
    out = io.StringIO()
    lines = Lines("map(fit)", out)
    for done in range(0, 101, 5):
        lines.update(Progress(done, None, 0, 100, 2.0 * done, 2.0 * (100 - done)))
    assert out.getvalue().splitlines() == [
        f"map(fit): {done} of 100 done, 0.5/s, {left} left"
        for done, left in [
            (10, "3 min"), (20, "2 min 40 s"), (30, "2 min 20 s"), (40, "2 min"),
            (50, "1 min 40 s"), (60, "1 min 20 s"), (70, "1 min"), (80, "40 s"), (90, "20 s"),
        ]
    ]  # fmt: skip


def test_lines_tell_failures():
    out = io.StringIO()
    Lines("map(fit)", out).update(Progress(4000, 7, 3, 10_000, 83.0, 125.0, retried=5))
    assert out.getvalue() == (
        "map(fit): 4,000 of 10,000 done, 7 running, 3 failed, 5 retried, 48/s, 2 min 5 s left\n"
    )


def test_one_line_stays(hand):
    slots, result = a_map(hand)
    finish(hand, slots)
    out = io.StringIO()
    assert follow(result, True, stream=out)
    assert out.getvalue() == "map(fit): 10 items on 1 engine in 2 s (5/s)\n"


def test_the_line_tells_engines_failures_and_retries(hand):
    slots, result = a_map(hand, (3, 3, 4))
    hand.deliver(
        outcome(slots[0], [0] * 3, engine=0),
        outcome(slots[1], [0] * 3, engine=1, attempt=2),
        outcome(slots[2], status="aborted", engine=-1, started=0.0, attempt=0),
    )
    assert summary(result) == ("map(fit): 10 items on 2 engines in 2 s (5/s), 4 failed, 3 retried")


def test_a_bar_in_a_terminal_and_no_thread_left(hand):
    before = set(threading.enumerate())
    slots, result = a_map(hand)
    out = Terminal()

    def finish_when_shown():
        with hand.changed:
            pass
        finish(hand, slots)

    thread = threading.Thread(target=finish_when_shown)
    thread.start()
    assert follow(result, True, stream=out, interval=0.01)
    thread.join()
    assert "map(fit):" in out.getvalue()
    assert "10/10" in out.getvalue() or "100%" in out.getvalue()
    assert out.getvalue().endswith("map(fit): 10 items on 1 engine in 2 s (5/s)\n")
    assert set(threading.enumerate()) == before


def test_the_bar_goes_when_the_wait_is_interrupted(hand):
    _, result = a_map(hand)
    out = Terminal()
    hand.lose(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        follow(result, True, stream=out)
    assert out.getvalue().endswith("\r")


def test_items_that_run_and_items_that_were_retried(hand):
    slots, result = a_map(hand)
    running = {slots[0].id, slots[1].id, "somebody-else-1"}
    seen = SimpleNamespace(running=frozenset(running))
    result._client.working = SimpleNamespace(look=lambda: seen, last=lambda: None)
    hand.deliver(outcome(slots[0], [0] * 3, attempt=2))
    now = snapshot(result)
    assert (now.done, now.running, now.retried) == (3, 1, 3)  # what has ended runs no more
    assert snapshot(result, ask=False).running is None
    finish(hand, slots[1:], (3, 4))
    assert snapshot(result).running is None


def test_of_another_clients_tasks_the_time_is_not_known_at_first(hand):
    slots = hand.new_slots(2)
    for slot in slots:
        slot.submitted = 0.0
    result = AsyncResult(client_of(hand), slots, name="f", shape="list")
    assert (result.elapsed, result.eta) == (0.0, None)
    hand.deliver(*(outcome(slot, 0) for slot in slots))
    assert result.elapsed == 2.0


# --- in a loop of their own -----------------------------------------------------------------------


def test_a_watcher_leaves_a_line(hand):
    slots, result = a_map(hand)
    out = Terminal()
    with Watcher(result, stream=out) as watcher:
        watcher.update()
        assert "0/10" in out.getvalue()
        watcher.hide()
        assert out.getvalue().endswith("\r")
        finish(hand, slots)
        watcher.update()
    assert out.getvalue().endswith("\rmap(fit): 10 items on 1 engine in 2 s (5/s)\n")


def test_a_watcher_that_shows_nothing_at_first(hand):
    slots, result = a_map(hand)
    out = Terminal()
    with Watcher(result, after=1000.0, stream=out) as watcher:
        watcher.update()
        watcher.hide()
        finish(hand, slots)
    assert out.getvalue() == ""


def test_a_watcher_of_what_is_not_done_leaves_nothing(hand):
    _, result = a_map(hand)
    out = io.StringIO()
    with Watcher(result, stream=out) as watcher:
        watcher.update()
        hand.lose(ControllerLost("gone"))
    assert out.getvalue() == ""


def test_engines_that_are_to_come(hand):
    out = Terminal()
    engines = Engines(hand, 3)
    assert not follow(engines, True, timeout=0.01, interval=0.005, stream=out)
    assert "2/3" in out.getvalue()
    hand.engines[2] = hand.engines[0]
    assert follow(engines, True, stream=out)
    assert "3 engines after" in out.getvalue().splitlines()[-1]


def test_time_out(hand):
    _, result = a_map(hand)
    out = io.StringIO()
    assert not follow(result, True, stream=out, timeout=0.01, interval=0.005)
    assert out.getvalue() == ""


@pytest.mark.parametrize("wanted", [False, "auto"])
def test_a_script_prints_nothing(hand, wanted, capfd, monkeypatch):
    monkeypatch.delattr(sys, "ps1", raising=False)
    slots, result = a_map(hand)
    finish(hand, slots)
    assert follow(result, wanted)
    assert capfd.readouterr() == ("", "")


def test_auto_shows_a_long_wait_at_a_prompt(hand, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr("enginery.client.display.progress.AUTO_AFTER", 0.01)
    slots, result = a_map(hand)
    out = io.StringIO()
    assert not follow(result, "auto", stream=out, timeout=0.02)
    finish(hand, slots)
    assert follow(result, "auto", stream=out)
    assert out.getvalue() == ""  # it was done before the two seconds were over


def test_wait_interactive(hand, capfd):
    slots, result = a_map(hand)
    finish(hand, slots)
    assert result.wait_interactive()
    assert capfd.readouterr().err == "map(fit): 10 items on 1 engine in 2 s (5/s)\n"
