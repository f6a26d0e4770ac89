"""One life of an engine: what its two threads share.

Both tell the machine what happened, under one lock, and carry out what it says. Each owns one lane
and may only send there; what is to be said on the other one is handed to the thread that owns it.
User code is for the main thread alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from .. import log
from ..core import messages as m
from ..core.engine import Engine
from ..core.events import (
    Changed,
    ClearNamespace,
    Divide,
    Divided,
    Effect,
    Event,
    Finished,
    Forget,
    Interrupt,
    JoinFarm,
    Kill,
    Load,
    Log,
    Look,
    RunTyped,
    Send,
    Start,
    Stop,
)
from .console.desk import Desk, key_of
from .functions import Functions
from .interrupts import Interrupts
from .lane import Lane
from .namespace import Namespace
from .share import Share
from .streams import Streams


class Life:
    """See the module's theory. `exit_code` is None until the engine is to end."""

    def __init__(self, machine: Engine, namespace: Namespace, tasks: Lane, control: Lane) -> None:
        self.machine = machine
        self.namespace = namespace
        self.lanes: dict[Any, Lane] = {"tasks": tasks, "control": control}
        self.interrupts = Interrupts()
        self.streams = Streams(control.wake, self.interrupts.shield)
        self.functions = Functions()
        self.desk = Desk(self)
        self.exit_code: int | None = None
        self.why = ""
        self.farm_port = 0  # where the queue of the pure scheme listens
        self.over = threading.Event()  # the main thread is done
        self._share: Share | None = None  # that runs
        self._to_divide = 0  # the number of an attempt
        self._handed: m.Attempt | None = None
        self._lock = threading.Lock()
        self._logger = logging.getLogger("enginery.engine")

    def handle(self, event: Event, mine: Lane | None) -> m.Attempt | None:
        """Tell the machine, and do what it says; what is to be started is left to the caller.

        `mine` is the lane of this thread; None for a thread of the user's, which has none.
        """
        with self._lock:
            effects = self.machine.handle(event, time.monotonic())
            for effect in effects.copy():
                if type(effect) is ClearNamespace:  # before anything else can start
                    self.namespace.clear()
                elif type(effect) is Divide:  # before it can have ended
                    effects += self._divide(effect.n)
        attempt = None
        said: list[m.Message] = []
        for effect in effects:
            if type(effect) is Send:
                if mine is not None and effect.conn == mine.name:
                    said.append(effect.message)
                else:
                    self.lanes[effect.conn].post(effect.message)
            elif type(effect) is Start:
                attempt = effect.attempt
            elif type(effect) is Look:
                self.lanes["control"].wake()
            else:
                self._do(effect)
        if mine is not None and said:
            mine.send(said)
        return attempt

    def finished(self, finished: Finished, mine: Lane) -> m.Attempt | None:
        """An attempt has ended; what is to be started is left to the caller."""
        with self._lock:
            following = self.machine.pass_on(finished.result, time.monotonic())
        return following or self.handle(finished, mine)

    def _divide(self, n: int) -> list[Effect]:
        """Cut the share that runs, and tell the machine."""
        results: tuple[m.Result, ...] = ()
        if self._share is not None and self._share.attempt.n == n:
            results = self._share.cut()
        else:
            self._to_divide = n  # it is about to begin, or has ended
        return self.machine.handle(Divided(n, results), time.monotonic())

    def running(self, share: Share | None) -> None:
        """This share runs from now on; None: it has ended."""
        with self._lock:
            self._share = share
            if share is not None and share.attempt.n == self._to_divide:
                share.halt(1)

    def _do(self, effect: Effect) -> None:
        match effect:
            case JoinFarm(port=port):
                self.farm_port = port
                self.lanes["tasks"].wake()
            case RunTyped(number=number):
                self.desk.call(number)
            case Load(hash=hash, blob=blob):
                self.functions.keep(hash, blob)
            case Forget(hash=hash):
                self.functions.forget(hash)
            case Interrupt(id=id, attempt=attempt):
                self.interrupts.request((id, attempt))
            case Kill(signum=signum):
                os.kill(os.getpid(), signum)
            case Stop(code=code, why=why):
                self.stop(code, why)
            case Log(level=level, event=event, fields=fields):
                self.log(level, event, **fields)

    def log(self, level: str, event: str, **fields: Any) -> None:
        """One line in the log of this engine."""
        log.event(self._logger, level, event, engine=self.machine.id, pid=os.getpid(), **fields)

    def changed(self, changes: int) -> None:
        """The user has changed the properties; called from any thread."""
        with self.interrupts.shield:
            self.handle(Changed(changes), None)

    # --- between the threads -------------------------------------------------------------------

    def hand_over(self, attempt: m.Attempt) -> None:
        """Let the main thread start this attempt."""
        self._handed = attempt
        self.lanes["tasks"].wake()

    def handed(self) -> m.Attempt | None:
        """The attempt that the control thread has handed over, once."""
        attempt, self._handed = self._handed, None
        return attempt

    def stop(self, code: int, why: str) -> None:
        """End this life: at once when idle, else after interrupting the user's code.

        `code` is an exit code, or the number of a signal, negative.
        """
        if self.exit_code is None:
            self.exit_code, self.why = code, why
            for lane in self.lanes.values():
                lane.wake()
            self.desk.stopped()
            if (share := self._share) is not None:
                share.halt()
            if (current := self.machine.current) is not None:
                self.interrupts.request((current.id, current.attempt))
            elif typing := self.machine.typing:
                self.interrupts.request(key_of(typing))
