"""The process that forks engines: warm with all they import, and with nothing that forks badly.

It has one thread, no zmq context and no numpy: a fork copies threads' locks and random states. It
does what its supervisor says over a channel, tells it of each end, and ends its engines when the
supervisor is gone or has said all. An engine gets a session of its own, so that the terminal's
Ctrl-C never reaches it, and dies with this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct

from ..net import cgroup
from ..net.bell import Bell
from .channel import Begin, Begun, Channel, Ended, Signal
from .leave import leave
from .page import Page

LOOK = 5.0
"""Seconds between two looks at the memory of living engines."""

GRACE = 2.0
"""Seconds that engines have to end when they are asked to."""

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

PR_SET_PDEATHSIG = 1

KILOBYTES = 1024 if sys.platform == "linux" else 1
"""The unit of `ru_maxrss`."""

Engine = Callable[[Begin, Page], int]
"""What an engine is, from the inside: runs until it ends, gives its exit code."""


class Child(Struct):
    """A life of an engine, as its parent process knows it."""

    order: Begin
    pid: int
    since: float
    group: Path | None = None  # its memory cgroup, when it was last looked at
    oom_kills: int = 0  # of that group, then


class Nursery:
    """See the module's theory. Made in the process that is to be it."""

    def __init__(self, channel: Channel, pages: list[Page], engine: Engine) -> None:
        self.channel = channel
        self.pages = pages
        self.engine = engine
        self.pid = os.getpid()
        self.lives: dict[int, Child] = {}  # by pid
        self.oom_kills = cgroup.system_oom_kills()  # anywhere on this host, at the last look
        self.waiting: dict[int, Begin] = {}  # by seat: to begin when the last life has ended
        self.prctl = getattr(ctypes.CDLL(None), "prctl", None)
        self.bell = Bell([signal.SIGCHLD])

    def run(self) -> None:
        """Serve until the supervisor has said all or is gone, and every engine has ended."""
        # The supervisor decides. Not ignored but blocked, so that an engine that is asked to end
        # just when it begins still hears it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        gc.collect()
        gc.freeze()  # so that collections in the engines leave these pages shared
        while True:
            sources = [self.channel.fileno(), self.bell.fileno()]
            # The supervisor may say much at once: if both waited to be heard, both would for ever.
            full = [self.channel.fileno()] if self.channel.unsent else []
            ready, free, _ = select.select(sources, full, [], LOOK if self.lives else None)
            if free:
                self.channel.flush()
            elif not ready:
                self.look_at_memory()
            if self.bell.fileno() in ready:
                self.bell.heard()
                self.reap()
            if self.channel.fileno() in ready:
                lines = self.channel.receive()
                if lines is None:
                    break
                for line in lines:
                    self.obey(line)
        self.end()

    def obey(self, line: Any) -> None:
        """Do what the supervisor says."""
        if isinstance(line, Begin):
            if self.at(line.seat) is None:
                self.begin(line)
            else:
                self.waiting[line.seat] = line
        elif isinstance(line, Signal) and (life := self.at(line.seat)) is not None:
            os.kill(life.pid, line.signum)

    def at(self, seat: int) -> Child | None:
        """The life of the engine of this seat, if it has one."""
        return next((life for life in self.lives.values() if life.order.seat == seat), None)

    # --- begin and end -------------------------------------------------------------------------

    def begin(self, order: Begin) -> None:
        """Fork an engine."""
        self.pages[order.seat].reset()
        try:
            pid = os.fork()
        except OSError as error:  # no process or no memory to be had: it has ended as it began
            facts = {"error": str(error)}
            self.channel.post(Ended(order.seat, order.incarnation, 1, 0, 0, facts))
            return
        if pid == 0:
            self.be_engine(order)
        self.lives[pid] = life = Child(order, pid, time.monotonic())
        self.look_at_group(life)
        self.channel.post(Begun(order.seat, order.incarnation, pid))

    def look_at_memory(self) -> None:
        """Note how things are, to see what has changed when an engine has ended."""
        self.oom_kills = cgroup.system_oom_kills()
        for life in self.lives.values():
            self.look_at_group(life)

    def look_at_group(self, life: Child) -> None:
        """Note the group of an engine, which can be told only while it lives."""
        life.group = cgroup.memory_group(life.pid) or life.group
        life.oom_kills = cgroup.oom_kills(life.group) if life.group else 0

    def reap(self) -> None:
        """Tell of each engine that has ended, with all that is known of its end."""
        while self.lives:
            # Not waited for yet, so that nobody else gets its number meanwhile.
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None:
                return
            life = self.lives.pop(dead.si_pid, None)
            if life is not None:
                self.end_children(life)
            _, status, usage = os.wait4(dead.si_pid, 0)
            if life is not None:
                self.tell_end(life, os.waitstatus_to_exitcode(status), usage.ru_maxrss * KILOBYTES)

    def end_children(self, life: Child) -> None:
        """Kill what user code started in the engine's process group and left there."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left
            os.killpg(life.pid, signal.SIGKILL)

    def tell_end(self, life: Child, status: int, memory: int) -> None:
        """Report the end of a life, and begin the next one if that was waiting for it."""
        facts: dict[str, Any] = {
            "pid": life.pid,
            "uptime": time.monotonic() - life.since,
            "memory": memory,
        }
        if life.group is not None and (limit := cgroup.memory_limit(life.group)) is not None:
            facts["memory_limit"] = limit
        if status == -signal.SIGKILL and cgroup.tells():
            facts["oom"] = self.was_killed_for_memory(life)
        seat = life.order.seat
        page = self.pages[seat]
        started, finished, item = page.started, page.finished, page.item
        ended = Ended(seat, life.order.incarnation, status, started, finished, facts, item)
        self.channel.post(ended)
        if (order := self.waiting.pop(seat, None)) is not None:
            self.begin(order)

    def was_killed_for_memory(self, life: Child) -> bool:
        """Whether the kernel has killed for memory just now: in its group, or at least somewhere.

        The second for an engine that has moved to another group since it was last looked at.
        """
        if life.group is not None and cgroup.oom_kills(life.group) > life.oom_kills:
            return True
        return cgroup.system_oom_kills() > self.oom_kills

    def end(self) -> None:
        """End every engine: ask, then kill."""
        self.waiting.clear()
        for signum, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            for pid in self.lives:
                os.kill(pid, signum)
            until = time.monotonic() + seconds
            while self.lives and (left := until - time.monotonic()) > 0:
                select.select([self.bell], [], [], left)
                self.bell.heard()
                self.reap()
        self.channel.flush(wait=True)

    # --- in the new process --------------------------------------------------------------------

    def be_engine(self, order: Begin) -> NoReturn:
        """Be an engine until it ends; never returns to what the nursery was doing."""
        code = 1
        try:
            self.leave_nursery()
            code = self.engine(order, self.pages[order.seat])
        except BaseException:
            # Nobody above can be told: this process is a copy. Its output is in the log.
            traceback.print_exc()
        finally:
            leave(code)

    def leave_nursery(self) -> None:
        """Make this copy of the nursery a process of its own, as if freshly started."""
        os.setsid()
        if self.prctl is not None:
            self.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
            if os.getppid() != self.pid:
                os._exit(1)  # it died before this was asked for
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self.channel.close()
        self.bell.close()
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        random.seed()
        sys.argv = [""]
