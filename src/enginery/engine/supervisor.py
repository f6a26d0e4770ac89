"""`ipengine -n N`: looks after the engines of this host, and speaks for them.

Two processes. This one finds the controller, tells it of each end and each beginning, and drives
`core.supervisor`. The other, its nursery, forks the engines. It is forked before there is a thread
or a zmq context here, and after everything that engines need was imported.
"""

from __future__ import annotations

import importlib
import logging
import os
import select
import signal
import time
import traceback
from collections.abc import Container, Sequence
from typing import Any

import zmq

from .. import log
from ..core import messages as m
from ..core.engine import STOPPED
from ..core.events import Died, Effect, Fork, Forked, KeepCopy, KillEngine, Log, Send, Stop
from ..core.supervisor import Supervisor
from ..error import ClusterError
from ..net import sockets
from ..net.bell import Bell, heeded
from ..net.keys import ConnectionFile, Tunnelled
from ..net.owner import Owner
from ..version import __version__
from .alone import run_alone
from .channel import Begin, Begun, Channel, Ended, Signal
from .config import EngineConfig, enter, log_to
from .copies import Copies
from .lane import Lane
from .nursery import Nursery
from .page import Page
from .runner import run_engine
from .search import Search

WARM = ("cloudpickle", "IPython.core.interactiveshell", "enginery.engine.shell")
"""What an engine needs sooner or later, imported once for all of them."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

STOP_GRACE = 3.0
"""Seconds within which everything has ended."""

LINGER = 0.3
"""Seconds that the last messages have to leave."""


def run(config: EngineConfig) -> int:
    """Run engines until told to stop; the exit code.

    Raises NoControllerError when no controller was found in time, ConnectionFileError when the
    connection file cannot be used, and ClusterError when they cannot go on.
    """
    if config.n == 0:
        return run_alone(config)
    for module in WARM:
        importlib.import_module(module)
    pages = [Page() for _ in range(config.n)]
    ours, theirs = Channel.pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be_nursery(theirs, pages, config)
    theirs.close()
    log_to(config, os.getpid())
    return Supervision(config, ours, pages, pid).run()


def _be_nursery(channel: Channel, pages: list[Page], config: EngineConfig) -> None:
    """Be the nursery in this process; does not return."""

    def engine(order: Begin, page: Page) -> int:
        log_to(config, supervisor)
        enter(config)
        file = ConnectionFile.read(order.file)
        if order.ports:
            file = Tunnelled.of(file, order.ports)
        return run_engine(file, order.place, order.incarnation, page, supervisor=order.memory)

    supervisor = os.getppid()
    code = 1
    try:
        Nursery(channel, pages, engine).run()
        code = 0
    except BaseException:
        traceback.print_exc()  # the supervisor sees the channel close
    finally:
        os._exit(code)


class Supervision:
    """The supervisor's loop."""

    def __init__(
        self, config: EngineConfig, channel: Channel, pages: Sequence[Page], nursery: int
    ) -> None:
        self.config = config
        self.channel = channel
        self.pages = pages
        self.nursery = nursery
        self.logger = logging.getLogger("enginery.engine")
        self.search = Search(config, time.monotonic())
        self.context = sockets.new_context()
        self.poller = zmq.Poller()
        self.lane: Lane | None = None
        self.machine: Supervisor | None = None
        self.places: list[bytes] = []
        self.copies = Copies(self.context, self.poller)
        self.bell = Bell(heeded(STOP_SIGNALS))
        self.owner = Owner(config.owner_pid) if config.owner_pid else None
        self.code: int | None = None
        self.why = ""
        for fd in (self.bell.fileno(), channel.fileno()):
            self.poller.register(fd, zmq.POLLIN)
        if self.owner is not None:
            self.poller.register(self.owner.fileno(), zmq.POLLIN)

    def run(self) -> int:
        """Serve until told to stop, then end every engine; the exit code."""
        try:
            while self.code is None:
                self.turn()
        finally:
            self.end()
        if self.code:
            raise ClusterError(f"the engines had to end: {self.why}")
        return self.code

    def turn(self) -> None:
        """Wait for something to happen, and see to it."""
        pauses = [each for each in (self.search.interval, self.copies.look()) if each is not None]
        ready = dict(self.poller.poll(int(min(pauses) * 1000) if pauses else None))
        now = time.monotonic()
        if self.bell.fileno() in ready and (signals := self.bell.heard()):
            self.stop(0, signal.Signals(min(signals)).name)
        if self.owner is not None and self.owner.fileno() in ready:
            self.stop(0, "its owner has ended")
        if self.channel.fileno() in ready:
            self.hear(now)
        self.listen(ready, now)
        for kept in self.copies.serve(ready):
            self.answer(kept)
        self.look(now)

    def look(self, now: float) -> None:
        """Look for the controller, while there is none."""
        self.search.joined(self.machine is not None and self.machine.joined, now)
        if self.search.alone_since is None or self.code is not None:
            return
        if (file := self.search.look(now)) is not None:
            self.meet(file, now)
        self.search.failed = self.lane.failed if self.lane is not None else ""
        self.search.check(now)

    def meet(self, file: ConnectionFile, now: float) -> None:
        """Begin with a controller; what there was for another one is over."""
        if self.lane is not None:
            self.lane.close()
            for seat in range(self.config.n):
                self.channel.send(Signal(seat, signal.SIGKILL))
        self.lane = Lane(self.context, file, "control", self.poller)
        self.places = [os.urandom(16) for _ in range(self.config.n)]
        self.copies.meet(file)
        self.machine = Supervisor(
            os.urandom(16),
            self.places,
            host=sockets.hostname(),
            pid=os.getpid(),
            version=__version__,
            replace=self.config.replace,
        )
        self.machine.patience = file.patience
        self.machine.memory = self.copies.probe.name
        self.perform(self.machine.begin(now))

    def listen(self, ready: Container[Any], now: float) -> None:
        """Take what the controller says."""
        if self.lane is not None and self.machine is not None:
            for event in self.lane.events(ready):
                self.perform(self.machine.handle(event, now))
            self.lane.monitor.retry()  # while there is no controller we are here again soon

    def hear(self, now: float) -> bool:
        """Take what the nursery says; False when it has said all."""
        lines = self.channel.receive()
        if lines is None:
            if self.code is None:
                self.lose_nursery(now)
            return False
        for line in lines:
            if isinstance(line, Begun):
                place = self.places[line.seat]
                if self.lives(place, line.incarnation):
                    self.tell(Forked(place, line.incarnation, line.pid), now)
            elif isinstance(line, Ended):
                self.tell_end(line, now)
        return True

    def tell_end(self, line: Ended, now: float) -> None:
        """Tell the machine of an end, unless it is one of an earlier controller's engines."""
        place = self.places[line.seat]
        if not self.lives(place, line.incarnation):
            return
        # When all is being ended, this is how an engine is asked to.
        stopped = self.code is not None and line.status == -signal.SIGTERM
        status = STOPPED if stopped else line.status
        died = Died(
            place, line.incarnation, status, line.started, line.finished, line.facts, line.item
        )
        self.tell(died, now)

    def lose_nursery(self, now: float) -> None:
        """Every engine has ended with the process that forked it; only their pages are left."""
        self.stop(1, "the process that forks engines has ended")
        if self.machine is None:
            return
        for place, page in zip(self.places, self.pages, strict=True):
            seat = self.machine.seats[place]
            if seat.alive:
                status = -int(signal.SIGKILL)
                died = Died(
                    place, seat.incarnation, status, page.started, page.finished, item=page.item
                )
                self.tell(died, now)

    def lives(self, place: bytes, incarnation: bytes) -> bool:
        """Whether this is the life of now of that place."""
        return self.machine is not None and self.machine.seats[place].incarnation == incarnation

    def tell(self, event: Forked | Died, now: float) -> None:
        """Tell the machine, and do what it says."""
        assert self.machine is not None
        self.perform(self.machine.handle(event, now))

    def perform(self, effects: Sequence[Effect]) -> None:
        """Do what the machine says."""
        for effect in effects:
            match effect:
                case Send(message=message):
                    if self.lane is not None:
                        self.lane.send([message])
                case Fork(place=place, incarnation=incarnation):
                    seat = self.places.index(place)
                    tunnel = self.search.tunnel
                    ports = tunnel.ports if tunnel is not None else {}
                    path, memory = str(self.search.path), self.copies.probe.name
                    self.channel.send(Begin(seat, incarnation, place, path, ports, memory))
                case KeepCopy(message=message):
                    if (kept := self.copies.keep(message)) is not None:
                        self.answer(kept)
                case KillEngine(place=place, signum=signum):
                    self.channel.send(Signal(self.places.index(place), signum))
                case Log(level=level, event=event, fields=fields):
                    log.event(self.logger, level, event, **fields)
                case Stop(code=code, why=why):
                    self.stop(code, why)

    def answer(self, kept: m.Kept) -> None:
        """Tell the controller what has become of a copy."""
        if kept.segment is None and kept.door is not None:
            log.event(self.logger, "warning", "copy.unreached", address=kept.door.address)
        if self.lane is not None:
            self.lane.send([kept])

    def stop(self, code: int, why: str) -> None:
        """End, once what is being done is done."""
        if self.code is None:
            self.code, self.why = code, why
            log.event(self.logger, "info", "supervisor.stops", why=why)
            if self.machine is not None:
                self.machine.stopping = True

    def end(self) -> None:
        """End every engine, tell the controller, and leave nothing behind."""
        self.code = 1 if self.code is None else self.code
        if self.machine is not None:
            self.machine.stopping = True
        self.channel.finish()
        deadline = time.monotonic() + STOP_GRACE
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.channel.fileno()], [], [], left)
            if ready and not self.hear(time.monotonic()):
                break
        else:
            os.kill(self.nursery, signal.SIGKILL)  # what is left of its engines dies with it
        os.waitpid(self.nursery, 0)
        if self.lane is not None:
            self.lane.send([m.Goodbye("stopped")])
            self.lane.close(LINGER)
        self.copies.close()
        self.context.term()
        self.search.close()
        self.channel.close()
        self.bell.close()
        if self.owner is not None:
            self.owner.close()
