"""The parts of the 2008 interface that need no cluster: tasks, addresses, results."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from enginery import kernel
from enginery.client.results import AsyncResult
from enginery.kernel import EngineAPI, client
from enginery.kernel.address import connection_info
from enginery.kernel.taskresult import TIME, TaskResult
from enginery.kernel.tasks import chain
from enginery.wire.dependent import Fit
from enginery.wire.failure import Failure
from enginery.wire.pulled import Pulled

from .hand_link import T0, HandLink, client_of, outcome


def result_of(value=None, **more):
    """The result of task 73, with this value."""
    hand = HandLink()
    [slot] = hand.new_slots(1, "StringTask")
    hand.deliver(outcome(slot, value, **more))
    return TaskResult(
        73, slot, AsyncResult(client_of(hand), [slot], name=slot.name, shape="single")
    )


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [kernel, client])
def test_every_public_name_is_there(module):
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"'enginery\.kernel' has no attribute 'Klient'"):
        _ = kernel.Klient
    assert dir(kernel) == ["EngineAPI", "client"]


def test_import_loads_nothing_heavy():
    code = "from enginery.kernel import EngineAPI; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert {"zmq", "IPython", "enginery.kernel.client"}.isdisjoint(done.stdout.split())


# --- tasks -----------------------------------------------------------------------------------


def test_a_task_is_a_string_task_with_these_defaults():
    assert client.Task is client.StringTask
    task = client.Task("a = 1")
    assert (task.expression, task.pull, task.push) == ("a = 1", [], {})
    for each in (task, client.MapTask(len)):
        assert (each.clear_before, each.clear_after, each.retries) == (False, False, 0)
        assert (each.recovery_task, each.depend) == (None, None)
    assert (client.MapTask(len).args, client.MapTask(len).kwargs) == ((), {})


def depends(properties):
    return True


OPTIONS = {
    "clear_before": True,
    "clear_after": True,
    "retries": 3,
    "recovery_task": client.Task("b = 1"),
    "depend": depends,
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(
    "make", [lambda **o: client.Task("a", **o), lambda **o: client.MapTask(len, **o)]
)
def test_options_by_keyword_and_by_attribute(make, name):
    given = make(**{name: OPTIONS[name]})
    assigned = make()
    setattr(assigned, name, OPTIONS[name])
    assert getattr(given, name) == getattr(assigned, name) == OPTIONS[name]


def test_what_is_asked_for_a_task():
    task = client.Task("a = 1", pull="a", push={"b": 2}, **OPTIONS)
    [(f, args, kwargs, name, wishes), (g, *_)] = chain(task)
    assert (args, kwargs, name) == (("a = 1", {"b": 2}, ["a"]), {}, "StringTask")
    assert isinstance(f, Fit)
    assert (f.fits, f.f) == (depends, g)
    assert (wishes.retries, wishes.terms.clear_before, wishes.terms.clear_after) == (3, True, True)
    [(f, args, kwargs, name, wishes)] = chain(client.MapTask(pow, [2, 3], {"mod": 5}))
    assert (f, args, kwargs, name) == (pow, (2, 3), {"mod": 5}, "MapTask(pow)")
    assert (wishes.retries, wishes.terms) == (0, None)


def test_the_name_that_everybody_may_see_has_no_code_in_it():
    [(*_, name, _wishes)] = chain(client.Task("password = 'secret'"))
    assert name == "StringTask"


def test_the_attributes_are_the_tasks_own():
    names, values = ["a"], {"b": 1}
    task = client.Task("a = b", pull=names, push=values)
    task.pull.append("c")
    task.push["d"] = 2
    assert (names, values) == (["a"], {"b": 1})
    [(_, args, *_)] = chain(task)
    assert args == ("a = b", {"b": 1, "d": 2}, ["a", "c"])


@pytest.mark.parametrize(
    ("name", "value", "kind", "told"),
    [
        ("expression", len, TypeError, "a text of code is needed"),
        ("pull", 3, TypeError, "pull: "),
        ("pull", ["a", 3], TypeError, "pull: a name is a text, not 3"),
        ("push", ["a"], TypeError, "push: a dictionary of names and values is needed"),
        ("push", {3: "a"}, TypeError, "push: a name is a text, not 3"),
        ("retries", -1, ValueError, "retries: a whole number from 0 up is needed, not -1"),
        ("retries", 1.5, TypeError, "retries: "),
        ("recovery_task", "a = 1", TypeError, "recovery_task: a client.Task or client.MapTask"),
        ("depend", True, TypeError, "depend: a function is needed, not True"),
    ],
)
def test_what_an_attribute_cannot_be(name, value, kind, told):
    task = client.Task("a = 1")
    with pytest.raises(kind) as caught:
        setattr(task, name, value)
    assert told in str(caught.value)
    with pytest.raises(kind):
        client.Task(**{"expression": "a = 1"} | {name: value})


def test_a_misspelt_attribute():
    with pytest.raises(AttributeError, match="retrys"):
        client.Task("a = 1").retrys = 3


def test_what_a_map_task_cannot_be():
    with pytest.raises(TypeError, match="function: a function is needed, not 'a = 1'"):
        client.MapTask("a = 1")
    with pytest.raises(TypeError, match="args: "):
        client.MapTask(len, 3)


def test_a_list_changed_to_what_it_cannot_be_is_found_when_it_is_submitted():
    task = client.Task("a = 1", pull=["a"])
    task.pull.append(3)
    with pytest.raises(TypeError, match="a name is a text, not 3"):
        chain(task)


def test_chains():
    tasks = [client.Task(f"a = {n}") for n in range(5000)]
    for first, then in pairwise(tasks):
        first.recovery_task = then
    codes = [args[0] for _, args, *_ in chain(tasks[0])]
    assert codes == [f"a = {n}" for n in range(5000)]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_loops(n):
    tasks = [client.Task(f"a = {i}") for i in range(n)]
    for i, task in enumerate(tasks):
        task.recovery_task = tasks[(i + 1) % n]
    lead = client.MapTask(len, recovery_task=tasks[0])
    with pytest.raises(ValueError, match="the recovery tasks form a loop"):
        chain(lead)


def test_what_a_task_says_of_itself():
    assert repr(client.Task("a = 1")) == "<StringTask('a = 1')>"
    assert repr(client.Task("\n a = 1\nb = 2")) == "<StringTask('a = 1 …')>"
    assert repr(client.Task("a" * 50)) == f"<StringTask('{'a' * 39}…')>"
    assert repr(client.Task("")) == "<StringTask('')>"
    task = client.MapTask(len, recovery_task=client.Task("a"))
    assert repr(task) == "<MapTask(len) or its recovery>"


# --- addresses -------------------------------------------------------------------------------


def test_addresses():
    assert connection_info(None) is None
    assert connection_info(client.default_task_address) is None
    assert connection_info(("192.168.1.1", 10113)) == "tcp://192.168.1.1:10113"
    assert connection_info(("::1", 10113)) == "tcp://[::1]:10113"
    assert connection_info("/path/to/my/ipcontroller-tc.furl") == "/path/to/my/ipcontroller-tc.furl"


@pytest.mark.parametrize("strange", [("here",), ("here", "10113"), ("here", True), (10113, "here")])
def test_what_is_no_address(strange):
    with pytest.raises(TypeError, match="an address is a tuple like"):
        client.TaskClient(strange)


# --- results ---------------------------------------------------------------------------------


def test_results_of_names():
    result = result_of(Pulled(a=73, b="x"))
    assert repr(result) == "TaskResult[ID:73]:{'a':73,'b':'x'}"
    assert (result.results, result.ns.b, result.failure) == ({"a": 73, "b": "x"}, "x", None)
    assert type(result.results) is dict
    assert result.engineid == 1
    assert result.duration == pytest.approx(1.2)
    assert repr(result_of(Pulled())) == "TaskResult[ID:73]:{}"


def test_results_of_a_function():
    assert result_of({"a": 1}).results == {"result": {"a": 1}}
    assert result_of(8).result == 8
    assert result_of(Pulled(result=8)).result == 8
    with pytest.raises(AttributeError, match=r"this task gave nothing: use \.results"):
        _ = result_of(Pulled()).result


def test_times_are_local(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-3")
    time.tzset()
    try:
        result = result_of(8, seconds=2.0)
        told = [time.strptime(moment, TIME)[:6] for moment in (result.submitted, result.completed)]
        assert told == [time.gmtime(T0 + 3 * 3600 + s)[:6] for s in (0, 3)]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_engine_whose_clock_is_behind():
    assert result_of(8, started=T0 - 50).duration == 0.0


def test_a_failure_in_a_repr():
    failed = result_of(Failure("ValueError", "no", ""), status="error")
    assert repr(failed) == "TaskResult[ID:73]:ValueError: no"
    assert repr(result_of(status="aborted", engine=-1, started=0.0)) == (
        "TaskResult[ID:73]:TaskAborted: StringTask was aborted before it ran"
    )
    long = result_of(Failure("ValueError", "no " * 500, ""), status="error")
    assert len(repr(long)) == len("TaskResult[ID:73]:") + 200


def test_pulled_values_travel():
    again = pickle.loads(pickle.dumps(Pulled(a=1)))
    assert (type(again), again) == (Pulled, {"a": 1})


# --- engines ---------------------------------------------------------------------------------


def test_properties_are_those_of_an_engine():
    with pytest.raises(RuntimeError, match="for code that runs on an engine, and this is none"):
        _ = EngineAPI().properties
