"""AsyncResult: what it gives, when, in which order, and what it tells while it is not done."""

import asyncio
import gc
import threading
import weakref
from datetime import UTC, datetime

import pytest
from IPython.lib.pretty import pretty

from enginery.client.results import AsyncResult
from enginery.core.messages import Abort
from enginery.error import CompositeError, ControllerLost, RemoteError, TaskAborted
from enginery.error import TimeoutError as WaitTimeout
from enginery.wire.chunks import ChunkFailed
from enginery.wire.failure import Failure

from .hand_link import T0, HandLink, aborts, client_of, outcome, output


class Counted:
    """Says how often it was unpickled."""

    times = 0

    def __setstate__(self, state):
        Counted.times += 1

    def __getstate__(self):
        return {"a": 1}


def bad(text="no"):
    return {"value": Failure("ValueError", text, ""), "status": "error"}


@pytest.fixture
def hand():
    return HandLink()


@pytest.fixture
def make(hand):
    def make(shape, n, *, sizes=None, engines=None, **more):
        name = "map(fit)" if shape == "map" else "fit"
        slots = hand.new_slots(n, name, engines)
        return slots, AsyncResult(
            client_of(hand), slots, name=name, shape=shape, sizes=sizes, **more
        )

    return make


@pytest.fixture
def two_seconds_later(monkeypatch):
    """It is two seconds after all was submitted."""
    monkeypatch.setattr("enginery.client.told.time", lambda: T0 + 2)


@pytest.fixture
def later():
    """Run something in another thread; it is over when the test is."""
    threads = []

    def later(call):
        threads.append(threading.Thread(target=call))
        threads[-1].start()

    yield later
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


# --- shapes -------------------------------------------------------------------------------------


def test_single(hand, make):
    (slot,), result = make("single", 1)
    assert (result.ready(), len(result), repr(result)) == (False, 1, "<AsyncResult: fit:pending>")
    hand.deliver(outcome(slot, {"x": 1}))
    assert result.get() == result.r == result.result() == result[0] == {"x": 1}
    assert result.ready()
    assert result.done()
    assert result.successful()
    assert result.get_dict() == {1: {"x": 1}}
    assert list(result) == [{"x": 1}]
    assert repr([result]) == "[<AsyncResult: fit:ok>]"


def test_list_is_in_target_order(hand, make):
    slots, result = make("list", 3, engines=[2, 0, 1])
    for i in (2, 0, 1):
        hand.deliver(outcome(slots[i], f"value {i}", engine=[2, 0, 1][i]))
    assert result.get() == ["value 0", "value 1", "value 2"]
    assert result.get_dict() == {2: "value 0", 0: "value 1", 1: "value 2"}
    assert repr(result) == "<AsyncResult fit: 3 of 3 done>"


def test_map_joins_its_chunks(hand, make, two_seconds_later):
    slots, result = make("map", 3, sizes=[2, 2, 1])
    hand.deliver(outcome(slots[2], [4], engine=0), outcome(slots[0], [0, 1], engine=0))
    assert result.progress == 3
    assert repr(result) == "<AsyncResult map(fit): 3 of 5 done, 1.3 s left>"
    hand.deliver(outcome(slots[1], (2, 3)))
    assert result.get() == [0, 1, 2, 3, 4]
    assert result.get_dict() == {0: [0, 1, 4], 1: [2, 3]}
    assert (len(result), result[3], result[-1], result[1:4]) == (5, 3, 4, [1, 2, 3])
    assert result[::-2] == [4, 2, 0]
    with pytest.raises(IndexError, match=r"map\(fit\) has 5 items, no number 5"):
        result[5]


def test_map_of_nothing(make):
    _, result = make("map", 0, sizes=[])
    assert (result.get(), list(result), result.ready(), bool(result)) == ([], [], True, True)
    assert result.successful()
    assert not result.cancelled()


def test_outcomes_that_were_there_before(hand):
    slots = hand.new_slots(2)
    hand.deliver(*(outcome(slot, i) for i, slot in enumerate(slots)))
    assert AsyncResult(client_of(hand), slots, name="f", shape="list").get(0) == [0, 1]


def test_a_chunk_of_the_wrong_length_is_an_error(hand, make):
    (slot,), result = make("map", 1, sizes=[3])
    hand.deliver(outcome(slot, [1, 2]))
    with pytest.raises(CompositeError, match="3 of 3 items"):
        result.get()


def test_a_task_named_twice_is_refused(hand):
    (slot,) = hand.new_slots(1)
    with pytest.raises(ValueError, match="twice"):
        AsyncResult(client_of(hand), [slot, slot], name="f", shape="list")


# --- waiting ------------------------------------------------------------------------------------


def test_a_wait_that_timed_out_can_be_repeated(hand, make):
    (slot,), result = make("single", 1)
    assert result.wait(0.001) is False
    with pytest.raises(WaitTimeout, match="fit is not done after 1 ms; the work goes on"):
        result.get(0.001)
    with pytest.raises(TimeoutError):
        result.exception(0)
    hand.deliver(outcome(slot, 3))
    assert result.get(0.001) == 3
    assert result.wait(0)


@pytest.mark.parametrize("timeout", [None, -1, 10])
def test_get_wakes_when_the_last_one_comes(hand, make, later, timeout):
    slots, result = make("list", 2)

    def deliver():
        for i, slot in enumerate(slots):
            hand.deliver(outcome(slot, i))

    later(deliver)
    assert result.get(timeout) == [0, 1]


def test_the_controller_is_gone(hand, make):
    _, result = make("single", 1)
    hand.lose(ControllerLost("gone"))
    for wait in (result.get, result.wait, result.wait_for_output, lambda: result[0]):
        with pytest.raises(ControllerLost):
            wait()
    with pytest.raises(ControllerLost):
        asyncio.run(awaited(result))


def test_ctrl_c_is_not_swallowed(hand, make):
    _, result = make("single", 1)
    hand.lose(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        result.get()


def test_what_needs_the_end_says_so_before(make):
    _, result = make("single", 1)
    with pytest.raises(ValueError, match="<AsyncResult: fit:pending> is not done"):
        result.successful()
    for name in ("wall_time", "serial_time"):
        with pytest.raises(WaitTimeout, match="not done"):
            getattr(result, name)


# --- iterating ----------------------------------------------------------------------------------


def test_iteration_gives_what_has_arrived_in_order(hand, make, later):
    slots, result = make("map", 3, sizes=[2, 1, 2])
    hand.deliver(outcome(slots[2], [3, 4]), outcome(slots[0], [0, 1]))
    values = iter(result)
    assert [next(values), next(values)] == [0, 1]
    later(lambda: hand.deliver(outcome(slots[1], [2])))
    assert list(values) == [2, 3, 4]


def test_unordered_iteration_gives_what_comes_first(hand, make, later):
    slots, result = make("map", 3, sizes=[2, 1, 2], ordered=False)
    hand.deliver(outcome(slots[2], [3, 4]))
    values = iter(result)
    assert [next(values), next(values)] == [3, 4]
    hand.deliver(outcome(slots[1], [2]))
    assert next(values) == 2
    later(lambda: hand.deliver(outcome(slots[0], [0, 1])))
    assert list(values) == [0, 1]
    assert list(result) == [3, 4, 2, 0, 1]
    assert result.get() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_failed_item_raises_in_its_turn_and_iteration_goes_on(hand, make, ordered):
    slots, result = make("map", 3, ordered=ordered)
    hand.deliver(outcome(slots[0], 0), outcome(slots[1], **bad()), outcome(slots[2], 2))
    values = iter(result)
    assert next(values) == 0
    with pytest.raises(ValueError, match="no") as caught:
        next(values)
    assert isinstance(caught.value, RemoteError)
    assert list(values) == [2]


def test_failures_as_values(hand, make):
    slots, result = make("map", 2, return_exceptions=True)
    hand.deliver(outcome(slots[0], 0), outcome(slots[1], **bad()))
    for values in (result.get(), list(result), result[:]):
        assert values[0] == 0
        assert isinstance(values[1], ValueError)
    with pytest.raises(ValueError, match="no"):
        result.get(return_exceptions=False)
    slots, result = make("map", 1)
    hand.deliver(outcome(slots[0], **bad()))
    assert isinstance(result.get(return_exceptions=True)[0], ValueError)


# --- failures -----------------------------------------------------------------------------------


def test_what_is_raised(hand, make):
    slots, result = make("map", 3)
    hand.deliver(outcome(slots[0], **bad("a")), outcome(slots[1], 1), outcome(slots[2], 2))
    with pytest.raises(ValueError, match="a"):
        result.get()
    assert isinstance(result.exception(), ValueError)
    assert not result.successful()
    assert result.partial() == {1: 1, 2: 2}
    slots, result = make("list", 2)
    hand.deliver(outcome(slots[0], 0), outcome(slots[1], 1))
    assert result.exception() is None


def test_partial_never_waits(hand, make, two_seconds_later):
    slots, result = make("map", 3, sizes=[2, 2, 2])
    assert result.partial() == {}
    chunk = ChunkFailed([Failure("ValueError", "no", ""), 3])
    hand.deliver(outcome(slots[1], chunk, status="error"))
    assert result.partial() == {3: 3}
    assert (result.progress, result.failed) == (2, 1)
    assert repr(result) == "<AsyncResult map(fit): 1 of 6 done, 1 failed, 4 s left>"


def test_numbers_are_readable(hand, make, two_seconds_later):
    slots, result = make("map", 10, sizes=[1000] * 10)
    hand.deliver(*(outcome(slot, [0] * 1000) for slot in slots[:8]))
    hand.deliver(outcome(slots[8], status="aborted"))
    told = "8,000 of 10,000 done, 1,000 failed, 0.2 s left"
    assert repr(result) == f"<AsyncResult map(fit): {told}>"
    html = result._repr_html_()
    assert '<progress value="9000" max="10000"' in html
    assert "<b>AsyncResult map(fit)</b>" in html
    assert told in html


def test_what_is_done_is_told_without_a_bar(hand, make):
    slots, result = make("map", 2)
    hand.deliver(outcome(slots[0], 0), outcome(slots[1], status="aborted"))
    assert repr(result) == "<AsyncResult map(fit): 1 of 2 done, 1 failed>"
    html = result._repr_html_()
    assert "1 of 2 done, 1 failed" in html
    assert "<progress" not in html


def test_in_a_list_results_are_told_in_short(hand, make):
    slots, result = make("map", 2)
    (slot,), single = make("single", 1)
    assert pretty([result, single]) == (
        "[<AsyncResult: map(fit):pending>, <AsyncResult: fit:pending>]"
    )
    hand.deliver(outcome(slots[0], 0), outcome(slots[1], status="aborted"), outcome(slot, 0))
    assert pretty([result, single]) == "[<AsyncResult: map(fit):aborted>, <AsyncResult: fit:ok>]"
    assert pretty(result) == "<AsyncResult map(fit): 1 of 2 done, 1 failed>"


# --- telling ------------------------------------------------------------------------------------


async def awaited(result):
    return await result


def test_await(hand, make, later):
    slots, result = make("list", 2)
    seen = []

    async def main():
        task = asyncio.create_task(awaited(result))
        await asyncio.sleep(0)
        seen.append(task.done())
        later(lambda: hand.deliver(*(outcome(slot, 1) for slot in slots)))
        return await task

    assert asyncio.run(main()) == [1, 1]
    assert seen == [False]
    assert asyncio.run(awaited(result)) == [1, 1]


def test_await_raises_what_get_raises(hand, make):
    (slot,), result = make("single", 1)
    hand.deliver(outcome(slot, **bad()))
    with pytest.raises(ValueError, match="no"):
        asyncio.run(awaited(result))


def test_an_await_that_was_given_up_leaves_nothing_behind(hand, make):
    (slot,), result = make("single", 1)

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(awaited(result), 0.01)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    hand.deliver(outcome(slot, 1))
    assert result.get() == 1


def test_callbacks_may_wait_for_other_results(hand, make):
    (first,), result = make("single", 1)
    (second,), other = make("single", 1)
    told = threading.Event()
    seen = []

    def callback(ar):
        seen.append((ar is result, ar.get(), other.get()))
        told.set()

    result.add_done_callback(callback)
    hand.deliver(outcome(first, 1))
    assert not seen
    hand.deliver(outcome(second, 2))
    assert told.wait(10)
    assert seen == [(True, 1, 2)]
    told.clear()
    result.add_done_callback(callback)
    assert told.wait(10)


def test_a_callback_that_raises_is_logged(hand, make, caplog):
    (slot,), result = make("single", 1)
    told = threading.Event()

    def callback(ar):
        told.set()
        raise ZeroDivisionError("mine")

    result.add_done_callback(callback)
    with caplog.at_level("ERROR"):
        hand.deliver(outcome(slot, 1))
        assert told.wait(10)
        for thread in threading.enumerate():
            if thread.name == "enginery-callback":
                thread.join(10)
    assert "mine" in caplog.text


# --- stopping -----------------------------------------------------------------------------------


def test_abort_names_what_has_not_ended(hand, make):
    slots, result = make("map", 3)
    hand.deliver(outcome(slots[0], 0))
    result.abort(running=True)
    assert hand.asked == [Abort([slots[1].id, slots[2].id], True)]
    hand.deliver(outcome(slots[1], 1), outcome(slots[2], 2))
    result.abort()
    assert len(hand.asked) == 1


def test_cancel_tells_the_truth(hand, make, monkeypatch):
    monkeypatch.setattr("enginery.client.results.CANCEL_TIME", 0.01)
    (slot,), running = make("single", 1)
    assert running.cancel() is False
    assert running.cancelled() is False
    hand.deliver(outcome(slot, 1))
    assert running.cancel() is False
    assert running.get() == 1
    aborts(hand)
    _, waiting = make("list", 2)
    assert waiting.cancel() is True
    assert waiting.cancelled()
    with pytest.raises(CompositeError):
        waiting.get()
    _, single = make("single", 1)
    single.cancel()
    with pytest.raises(TaskAborted):
        single.get()


def test_cancel_is_not_certain_when_nobody_answers(hand, make):
    def silent(message):
        raise WaitTimeout("the controller has not answered")

    hand.on_ask = silent
    _, result = make("single", 1)
    assert result.cancel() is False
    with pytest.raises(WaitTimeout):
        result.abort()


def test_interrupted_is_not_cancelled(hand, make):
    (slot,), result = make("single", 1)
    hand.deliver(outcome(slot, status="aborted"))
    assert result.cancelled() is False


# --- what is known of it ------------------------------------------------------------------------


def test_metadata(hand, make):
    (slot,), result = make("single", 1)
    before = result.metadata
    assert (before.status, before.started, before.engine_id) == (None, None, None)
    assert before["submitted"] == datetime.fromtimestamp(T0, UTC)
    hand.deliver(
        outcome(slot, 1, outputs=3, attempt=2),
        outputs=[
            output(slot, 0, "lost with its engine\n", attempt=1),
            output(slot, 0, "one\n", attempt=2),
            output(slot, 1, "late\n", attempt=1),
            output(slot, 1, "two\n", attempt=2),
            output(slot, 2, "oh\n", stream="stderr", attempt=2),
        ],
    )
    assert dict(result.metadata) == {
        "msg_id": slot.id,
        "name": "fit",
        "label": "",
        "submitted": datetime.fromtimestamp(T0, UTC),
        "started": datetime.fromtimestamp(T0 + 1, UTC),
        "completed": datetime.fromtimestamp(T0 + 1.2, UTC),
        "received": datetime.fromtimestamp(T0 + 2, UTC),
        "engine_id": 1,
        "engine_uuid": "life1",
        "attempt": 2,
        "status": "ok",
        "error": None,
        "stdout": "one\ntwo\n",
        "stderr": "oh\n",
        "outputs": [],
    }
    assert result.metadata is result.metadata
    assert (result.engine_id, result["stderr"], result.msg_ids) == (1, "oh\n", [slot.id])
    with pytest.raises(AttributeError, match="AsyncResult has no 'engine'"):
        _ = result.engine
    with pytest.raises(AttributeError, match="metadata has no 'engine'"):
        _ = result.metadata.engine
    with pytest.raises(KeyError, match="no key 'engine'"):
        result["engine"]


def test_what_a_task_that_has_ended_has_printed_is_waited_for(hand, make, later):
    (slot,), result = make("single", 1)
    hand.deliver(outcome(slot, 1, outputs=1))
    assert result.status == "ok"
    later(lambda: hand.deliver(outputs=[output(slot, 0, "one\n")]))
    assert result.stdout == "one\n"


def test_but_not_for_ever(hand, make, monkeypatch):
    monkeypatch.setattr("enginery.client.told.OUTPUT_TIME", 0.01)
    (slot,), result = make("single", 1)
    hand.deliver(outcome(slot, 1, outputs=1))
    assert result.stdout == ""
    hand.lose(ControllerLost("it is gone"))
    assert result["stderr"] == ""


def test_output_that_is_lost_is_not_waited_for_for_ever(hand, make, later, monkeypatch, capsys):
    monkeypatch.setattr("enginery.client.told.OUTPUT_TIME", 0.05)
    (slot,), result = make("single", 1)
    later(lambda: hand.deliver(outcome(slot, 1, outputs=2), outputs=[output(slot, 0, "one\n")]))
    assert result.wait_for_output() is False
    assert result.wait_for_output(-1) is False
    result.display_outputs()
    assert capsys.readouterr().out == "[1] one\n"


def test_output_is_waited_for_as_long_as_some_comes(hand, make, monkeypatch):
    monkeypatch.setattr("enginery.client.told.OUTPUT_TIME", 0.05)
    (slot,), result = make("single", 1)
    hand.deliver(outcome(slot, 1, outputs=4))
    numbers, wait = iter(range(4)), hand.wait

    def some_comes(done, timeout):
        ended = wait(done, timeout)
        for number in numbers if not ended else ():
            hand.deliver(outputs=[output(slot, number, "more\n")])
            break
        return ended

    monkeypatch.setattr(hand, "wait", some_comes)
    assert result.wait_for_output()
    assert result.stdout == "more\n" * 4


def test_metadata_of_several_are_lists(hand, make):
    slots, result = make("list", 2)
    hand.deliver(outcome(slots[0], 1, engine=0), outcome(slots[1], **bad()))
    assert result.engine_id == [0, 1]
    assert result.status == ["ok", "error"]
    assert [type(e).__name__ for e in result["error"]] == ["NoneType", "RemoteError[ValueError]"]


def test_metadata_of_a_pending_task_show_what_it_has_printed(hand, make):
    (slot,), result = make("single", 1)
    hand.deliver(outputs=[output(slot, 0, "so far\n")])
    assert result.stdout == "so far\n"
    hand.deliver(outcome(slot, outputs=2))
    assert result.wait_for_output(0.001) is False
    hand.deliver(outputs=[output(slot, 1, "the end\n")])
    assert result.wait_for_output(0)
    assert result.stdout == "so far\nthe end\n"


def test_times(hand, make):
    slots, result = make("list", 2)
    hand.deliver(outcome(slots[0], 1, seconds=0.5))
    assert result.elapsed > 0
    hand.deliver(outcome(slots[1], 1, seconds=0.25))
    assert result.elapsed == result.wall_time == 2.0
    assert result.serial_time == pytest.approx(0.75)
    assert result.timedelta(result.submitted, result.completed) == pytest.approx(1.5)
    assert result.timedelta(result.submitted[0], result.completed[1]) == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("groupby", "stdout"),
    [("type", "[1] a\n[1] b\n[0] c\n"), ("engine", "[0] c\n[1] a\n[1] b\n"),
     ("order", "[1] a\n[1] b\n[0] c\n")],
)  # fmt: skip
def test_display_outputs(hand, make, capsys, groupby, stdout):
    slots, result = make("list", 2)
    hand.deliver(
        outcome(slots[0], outputs=3, engine=1),
        outcome(slots[1], outputs=1, engine=0),
        outputs=[
            output(slots[0], 0, "a\n"),
            output(slots[0], 1, "b"),
            output(slots[0], 2, "oh\n", stream="stderr"),
            output(slots[1], 0, "c\n", engine=0),
        ],
    )
    result.display_outputs(groupby)
    assert capsys.readouterr() == (stdout, "[1] oh\n")


def test_display_outputs_without_prefix(hand, make, capsys, monkeypatch):
    monkeypatch.setenv("ENGINERY_PREFIX", "0")
    (slot,), result = make("single", 1)
    hand.deliver(outcome(slot, outputs=1), outputs=[output(slot, 0, "a\n")])
    result.display_outputs()
    assert capsys.readouterr().out == "a\n"
    with pytest.raises(ValueError, match="groupby is one of type, engine, order, not 'size'"):
        result.display_outputs("size")


def test_sent(hand, make):
    (slot,), result = make("single", 1)
    assert result.sent  # no memory of the caller's is under way
    slot.sending = (lambda: True,)
    assert (result.sent, result.wait_on_send(0), result.wait_for_send(0)) == (False,) * 3
    slot.sending = (lambda: False, lambda: None)
    assert result.wait_on_send(0)
    slot.sending = (lambda: True,)
    hand.deliver(outcome(slot))
    assert result.sent
    assert result.wait_on_send(0)


# --- memory -------------------------------------------------------------------------------------


def test_a_value_is_unpickled_once_and_only_when_asked_for(hand, make):
    slots, result = make("list", 2)
    Counted.times = 0
    hand.deliver(*(outcome(slot, Counted()) for slot in slots))
    assert result.metadata
    assert repr(result)
    assert Counted.times == 0
    assert result[1] is result[1]
    assert Counted.times == 1
    assert result.get() == [result[0], result[1]]
    assert Counted.times == 2


def test_nothing_keeps_a_result_that_was_dropped(hand, make):
    slots, result = make("map", 2)
    hand.deliver(outcome(slots[0], 0), outcome(slots[1], **bad()))
    with pytest.raises(ValueError, match="no"):
        result.get()
    assert len(result.metadata) == 2
    kept = weakref.ref(result)
    del result
    gc.collect()
    assert kept() is None


def test_a_pending_result_that_was_dropped_is_freed_at_once(hand, make):
    slots, result = make("map", 2)
    kept = weakref.ref(result)
    result = None
    assert kept() is None
    hand.deliver(*(outcome(slot, 0) for slot in slots))
