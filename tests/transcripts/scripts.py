"""The scripts; each becomes the text file of its name."""

from __future__ import annotations

from enginery.core import messages as m
from tests.sim.peers import Job

from .stage import Stage


def first_task(stage: Stage) -> None:
    """From nothing to the first result.

    A supervisor with one engine and a client connect, each with two connections: one for tasks, one
    for control. An arrow is a message that arrives; an indented line is a step of a task in the
    controller.
    """
    stage.say("The supervisor forks an engine. Both, and ann, say who they are.")
    stage.supervisor(1)
    ann = stage.client("ann")
    stage.pass_time(0.5)
    stage.say("ann calls fit(...). The function goes ahead of the task, once.")
    stage.submit(ann, "fit", Job(outputs=1))
    stage.pass_time(0.5)
    stage.say("She calls it twice more: nobody needs the function again.")
    stage.submit(ann, "fit", Job(), Job())


def engine_killed_twice(stage: Stage) -> None:
    """A task with two retries survives the deaths of two engines.

    Each engine shares a page with its supervisor, in which stands the number of what it has started
    and finished last. So after a SIGKILL it is known what had started: that costs a retry. What
    had only been sent ahead (hwm=2 here) goes elsewhere for free.
    """
    stage.supervisor(2)
    ann = stage.client("ann")
    stage.cut()
    stage.say("Two tasks with two retries and two without; ann-1 and ann-3 go to engine 0.")
    stage.submit(ann, "simulate", Job(seconds=3.0), Job(seconds=0.1), retries=2)
    stage.submit(ann, "simulate", Job(seconds=0.1), Job(seconds=0.1))
    stage.pass_time(0.05)
    stage.say("The engine is killed while it runs ann-1; ann-3 is there, but has not started.")
    stage.runner("ann-1").exit(-9)
    stage.pass_time(0.6)
    stage.say("The engine that runs ann-1 again is killed as well.")
    stage.runner("ann-1").exit(-9)
    stage.pass_time(0.5)
    stage.say("The third attempt is left alone.")
    stage.pass_time(4.0)


def engine_comes_back(stage: Stage) -> None:
    """An engine is frozen for longer than others wait, and comes back.

    Its place goes on under the same id; its life of before is over, and what it still says about
    the work of that life is not heard.
    """
    stage.supervisor(2)
    ann = stage.client("ann")
    stage.cut()
    stage.say("Engine 0 runs a task that may be retried; then it is stopped for 10 s.")
    stage.submit(ann, "simulate", Job(seconds=2.0), retries=1)
    stage.pass_time(0.1)
    frozen = stage.runner("ann-1")
    frozen.freeze(10.0)
    stage.pass_time(5.0)
    stage.say("The heartbeats fail: the connections are cut, and after a second it is given up.")
    for lane in frozen.lanes:
        frozen.wires[lane][0].cut()
    stage.pass_time(4.0)
    stage.say("It goes on, as if nothing had happened, and is told otherwise.")
    stage.pass_time(4.0)
    stage.say("The place has its id again, and gets work.")
    stage.submit(ann, "simulate", Job(), Job())


def connection_breaks(stage: Stage) -> None:
    """A client's connection breaks at a bad moment: things are said twice, and count once.

    Whoever sends keeps a thing until told that it is there. Who reconnects says how far it has got.
    """
    stage.supervisor(1)
    ann = stage.client("ann")
    stage.cut()
    stage.say("ann submits; the connection breaks, and the submission is lost.")
    stage.submit(ann, "fit")
    stage.lose(ann, "tasks")
    stage.pass_time(0.5)
    stage.say(
        "The next result is lost on its way to her: the controller keeps it until she has it."
    )
    stage.submit(ann, "fit", Job(seconds=0.001))
    stage.pass_time(0.0045)
    stage.lose(ann, "tasks")
    stage.pass_time(0.5)
    stage.say("The engine's connection breaks with a result on its way: it keeps what is unsaid.")
    stage.submit(ann, "fit")
    stage.pass_time(0.0125)
    stage.lose(stage.engines[0], "tasks")


def aborts(stage: Stage) -> None:
    """Three tasks are aborted: one waits, one has been sent, one runs.

    An abort travels on the connection for control, so that it never stands behind work. The engine
    decides whether it was in time: what it has not started, it will not start.
    """
    stage.supervisor(1)
    ann = stage.client("ann")
    stage.cut()
    stage.say("Engine 0 gets ann-1 and ann-2 (hwm=2); ann-3 waits.")
    ids = stage.submit(ann, "simulate", Job("endless"), Job(), Job())
    stage.pass_time(0.1)
    stage.say("ann aborts the last two: the waiting one is done at once.")
    ann.ask(m.Abort(ids[1:]))
    stage.pass_time(0.1)
    stage.say("ann aborts the first one, although it runs.")
    ann.ask(m.Abort(ids[:1], running=True))
    stage.pass_time(0.1)


def task_that_kills(stage: Stage) -> None:
    """A task kills each engine that runs it, and has 99 retries.

    It was running each time an engine died: after the third, it is not tried again.
    """
    stage.supervisor(2)
    ann = stage.client("ann")
    stage.cut()
    stage.say("ann calls segfault(...).")
    stage.submit(ann, "segfault", Job("kill", 0.1), retries=99)
    stage.pass_time(2.0)


def client_leaves(stage: Stage) -> None:
    """A client leaves while its task runs; another one fetches the result."""
    stage.supervisor(1)
    ann = stage.client("ann")
    bob = stage.client("bob")
    stage.cut()
    stage.say("ann submits a task that takes a second.")
    stage.submit(ann, "simulate", Job(seconds=1.0))
    stage.pass_time(0.1)
    stage.say("ann leaves.")
    ann.leave()
    stage.pass_time(0.1)
    stage.say("bob has been told the id of the task.")
    bob.ask(m.Query(0, "fetch", ["ann-1", "ann-2"]))
    stage.pass_time(1.5)


engine_killed_twice.limits = {"hwm": 2}  # type: ignore[attr-defined]
aborts.limits = {"hwm": 2}  # type: ignore[attr-defined]

SCRIPTS = (
    first_task,
    engine_killed_twice,
    engine_comes_back,
    connection_breaks,
    aborts,
    task_that_kills,
    client_leaves,
)
