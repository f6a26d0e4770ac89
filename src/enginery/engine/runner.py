"""The main thread of an engine: it reads the tasks, runs them, and sends what they gave.

No other thread is on the way of a task. While there is nothing to do it waits at its socket; what
arrives while user code runs is read afterwards, and the control thread answers meanwhile.
"""

from __future__ import annotations

import builtins
import os
import platform
import time
from collections.abc import Container
from typing import Any

from ..core import messages as m
from ..core.engine import Engine
from ..core.events import Closed, Event, Finished, Received
from ..error import ClusterError, NoControllerError, UnmetDependency
from ..net import sockets
from ..net.keys import ConnectionFile
from ..net.owner import Owner
from ..version import __version__
from ..wire.dependent import Unfit
from ..wire.memory.peer import Memory
from . import mpi
from .call import Call, Packed, reason_of
from .control import LINGER, NO_CONTROLLER, Control
from .farmer import Farmer
from .lane import Lane
from .lazy_shell import LazyShell
from .life import Life
from .namespace import Namespace
from .page import Page
from .search import Search
from .share import Share


class Runner:
    """Runs the attempts of one life, one after the other."""

    def __init__(self, life: Life, page: Page, farmer: Farmer) -> None:
        self.life = life
        self.page = page
        self.farmer = farmer
        self.lane = life.lanes["tasks"]
        self.reason = ""  # why what ran last was refused
        self.changes = 0  # by which state of the engine's properties

    def serve(self) -> None:
        """Run what comes until this life is to end."""
        while self.life.exit_code is None:
            try:
                ready = self.lane.wait()
            except KeyboardInterrupt:  # by a handler that user code has set; there is none here
                continue
            self._turn(ready)

    def _turn(self, ready: Container[Any]) -> None:
        """See to what has come, and run what is to run.

        What is large is to go as soon as it has been used, so no name here holds it for longer.
        """
        life, lane = self.life, self.lane
        lane.send_posted()
        if life.farm_port:
            self.farmer.serve(life.farm_port, ready, self.run_farmed)
        attempt = life.handed() or life.desk.serve()
        attempt = self._read(ready) or attempt
        while attempt is not None and life.exit_code is None:
            attempt = self._go_on(attempt)

    def _go_on(self, attempt: m.Attempt) -> m.Attempt | None:
        """Run it; the one that is to be started next, if one is."""
        life = self.life
        finished = self.run(attempt)
        if life.exit_code is not None:  # it was interrupted for that
            return None
        following = life.finished(finished, self.lane)
        # What is heard of results waits until nothing is left to be run, unless these are large.
        socket = self.lane.socket
        while life.machine.laden and life.exit_code is None and sockets.readable(socket):
            following = self._read((socket,)) or following
        return following

    def _read(self, ready: Container[Any]) -> m.Attempt | None:
        """Tell the machine what has come; the attempt that is to be started, if one is."""
        attempt = None
        for event in self.lane.events(ready):
            attempt = self.life.handle(event, self.lane) or attempt
        return attempt

    def run(self, attempt: m.Attempt) -> Finished:
        """Run one attempt to its end, whatever that is."""
        if attempt.chunk is not None:
            return self._run_share(attempt, attempt.chunk.start)
        self.page.start(attempt.n)
        result = self._run(attempt)
        self.page.finish(attempt.n)
        return Finished(result)

    def _run_share(self, attempt: m.Attempt, item: int) -> Finished:
        memory = self.lane.memory
        share = Share(attempt, self.life, self.page, None if memory is None else memory.lend)
        self.page.start(attempt.n, item)
        self.life.running(share)
        *before, last = share.run()
        self.life.running(None)
        self.page.finish(attempt.n)
        return Finished(last, tuple(before))

    def run_farmed(self, attempt: m.Attempt) -> m.Result:
        """Run a task of the pure scheme, of which nobody keeps count."""
        result = self._run(attempt)
        if result.status in {"refused", "unfit"}:
            result.status = "error"  # there is nobody who could give it to another engine
        return result

    def _run(self, attempt: m.Attempt) -> m.Result:
        streams = self.life.streams
        self.reason, self.changes = "", 0
        streams.begin(attempt.id, attempt.attempt)
        started = time.time()
        status, (value, buffers) = self._outcome(attempt)
        completed = time.time()
        outputs = streams.end()
        return m.Result(
            attempt.id, attempt.attempt, status, value, buffers, started, completed, outputs,
            self.reason, self.changes, stage=attempt.stage,
        )  # fmt: skip

    def _outcome(self, attempt: m.Attempt) -> tuple[m.Ended, Packed]:
        life = self.life
        call = Call(attempt, life.functions, life.namespace)
        error = life.interrupts.run((attempt.id, attempt.attempt), call)
        if os.getpid() != life.machine.pid:  # a process that user code has forked, and let go on
            os._exit(0 if error is None else 1)
        if error is None:
            memory = self.lane.memory
            return "ok", call.result(memory.lend if memory is not None else None)
        if not isinstance(error, UnmetDependency):
            return "error", call.failure(error)
        self.reason = reason_of(error)
        if isinstance(error, Unfit):
            self.changes = error.changes
            return "unfit", call.failure(error)
        return "refused", call.failure(error)


def run_engine(
    file: ConnectionFile,
    place: bytes,
    incarnation: bytes,
    page: Page,
    *,
    supervisor: m.Segment | None = None,
    search: Search | None = None,
    owner: Owner | None = None,
) -> int:
    """Be an engine in this process until told to stop; the exit code, negative for a signal.

    `supervisor` is the probe of its supervisor. An engine without one ends by its `search`, or with
    its `owner`. It raises NoControllerError, and ClusterError when the controller refuses it.
    """
    machine = Engine(
        place,
        incarnation,
        host=sockets.hostname(),
        pid=os.getpid(),
        version=__version__,
        python=platform.python_version(),
    )
    context = sockets.new_context()
    memory = Memory()
    machine.keeps = memory.trust(supervisor)
    machine.memory = memory.probe.name
    machine.patience, machine.rank = file.patience, mpi.rank(os.environ)
    tasks, control = Lane(context, file, "tasks", memory=memory), Lane(context, file, "control")
    namespace = Namespace()
    life = Life(machine, namespace, tasks, control)
    namespace.properties.tell = life.changed
    namespace.engine_id = lambda: machine.id
    namespace.task_id = lambda: machine.current.id if machine.current else ""
    builtins.input = _cannot_ask
    namespace.display = life.streams.display
    namespace.report = life.streams.report
    life.streams.hear = namespace.commands.hear
    namespace.desk = life.desk
    namespace.install()
    lazy_shell = LazyShell(namespace)
    lazy_shell.install()
    life.streams.install()
    life.interrupts.install()
    farmer = Farmer(context, file, life)
    thread = Control(life, search, owner)
    thread.start()
    try:
        Runner(life, page, farmer).serve()
    finally:
        if namespace.console is not None:
            namespace.console.close()
        farmer.close(LINGER)
        _await_opened(life, LINGER)
        tasks.close(LINGER)
        memory.close()
        life.over.set()
        control.wake()
        thread.join()
        thread.close()
        context.term()
        life.streams.uninstall()
        lazy_shell.uninstall()
    assert life.exit_code is not None
    if search is not None and life.exit_code == NO_CONTROLLER:
        raise NoControllerError(life.why)
    if search is not None and life.exit_code == 1:
        raise ClusterError(f"the engine had to end: {life.why}")
    return life.exit_code


def _await_opened(life: Life, timeout: float) -> None:
    """Let the controller open the results that it was sent: their memory ends with this process."""
    machine, lane = life.machine, life.lanes["tasks"]
    deadline = time.monotonic() + timeout
    while "tasks" in machine.joined and any(map(_is_lent, machine.unacked)):
        rest = deadline - time.monotonic()
        if rest <= 0:
            return
        for event in lane.events(lane.wait(rest)):
            if isinstance(event, Closed) or _is_ack(event):
                life.handle(event, None)


def _is_lent(results: m.Results) -> bool:
    return any(buffer.part is not None for each in results.results for buffer in each.buffers)


def _is_ack(event: Event) -> bool:
    return isinstance(event, Received) and isinstance(event.message, m.Acked)


def _cannot_ask(prompt: object = "", /) -> str:
    """`input()` on an engine, which has no keyboard; a console gives it its own."""
    raise EOFError("input() cannot ask on an engine; attach a console to it: %px %console")
