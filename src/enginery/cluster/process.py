"""One process of a cluster on this host: started here, or known by its number from a cluster file.

A number alone is no name, since numbers are used again: a process is known by its number *and* by
when it was born. It is signalled through a pidfd where the system has them, so that a signal can
never reach a stranger that got the number in between.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable
from typing import Any

GRACE = 5.0
"""Seconds that a process has to end when it is asked to, before it is killed."""

_POLL = 0.02  # s between two looks at a process, only where there is no pidfd


def birth(pid: int) -> str:
    """When the process `pid` was born, as this system tells it; "" when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            state, *fields = stat.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        return _birth_elsewhere(pid) if not os.path.exists("/proc/self/stat") else ""
    except (ProcessLookupError, PermissionError):
        return ""
    return "" if state in (b"Z", b"X") else fields[18].decode()


def _birth_elsewhere(pid: int) -> str:
    """`birth` on a system without /proc."""
    import psutil

    try:
        return repr(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


class Process:
    """A controller, or a supervisor with its engines; the leader of a session of its own.

    `what` is "controller" or "engine", `output` the file with what it wrote to its terminal.
    """

    def __init__(
        self,
        what: str,
        pid: int,
        born: str,
        output: str = "",
        popen: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.what, self.pid, self.born, self.output, self.popen = what, pid, born, output, popen

    def __repr__(self) -> str:
        return f"<Process {self.what} {self.pid}: {'running' if self.running else 'ended'}>"

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        if self.popen is not None:
            return self.popen.poll() is None
        return bool(self.born) and birth(self.pid) == self.born

    @property
    def ended(self) -> str:
        """How it ended: "exit code 3", "signal 9 (SIGKILL)"; "" while it runs or when unknown."""
        code = self.popen.poll() if self.popen is not None else None
        if code is None:
            return ""
        if code >= 0:
            return f"exit code {code}"
        return f"signal {-code} ({signal.Signals(-code).name})"

    @property
    def killed(self) -> bool:
        """Whether it is known that a signal ended it."""
        return self.ended.startswith("signal")

    def signal(self, signum: int) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            if self.popen is not None:
                self.popen.send_signal(signum)  # looks first whether it has ended
                return
            with pidfd(self.pid) as fd:
                if not self.running:
                    return
                if fd is None:
                    os.kill(self.pid, signum)
                else:
                    signal.pidfd_send_signal(fd, signum)

    def kill(self) -> None:
        """SIGKILL it and what it started in its session, if it still runs."""
        if self.running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> bool:
        """Wait for its end, `timeout` seconds at most; whether it has ended."""
        return not self.running or bool(wait_any([self], timeout)) or not self.running

    def end(self, grace: float = GRACE) -> None:
        """End it: ask, wait `grace` seconds, kill."""
        end_all([self], grace)

    def last_lines(self, count: int = 12) -> list[str]:
        """The last lines it wrote to its terminal."""
        try:
            with open(self.output, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 16384))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return []
        return [line for line in lines if line.strip()][-count:]

    def to_json(self) -> dict[str, Any]:
        """What a cluster file keeps of it."""
        return {"what": self.what, "pid": self.pid, "born": self.born, "output": self.output}


def end_all(processes: Iterable[Process], grace: float = GRACE) -> None:
    """End these processes: ask all, wait `grace` seconds, kill those that are left."""
    ending = list(processes)
    for process in ending:
        process.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace
    for process in ending:
        if not process.wait(max(0.0, deadline - time.monotonic())):
            process.kill()
    for process in ending:
        process.wait(grace)


@contextlib.contextmanager
def pidfd(pid: int) -> Any:
    """A pidfd of the process, or None where there are no pidfds."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, ProcessLookupError):  # not Linux; or gone
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def wait_any(processes: Iterable[Process], timeout: float | None = None) -> list[Process]:
    """Wait until one of these processes has ended, or for `timeout` seconds; those that have."""
    watched = list(processes)
    deadline = None if timeout is None else time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        poll = select.poll()
        fds = [stack.enter_context(pidfd(p.pid)) for p in watched]
        for fd in fds:
            if fd is not None:
                poll.register(fd, select.POLLIN)
        while True:
            ended = [p for p in watched if not p.running]
            left = None if deadline is None else deadline - time.monotonic()
            if ended or (left is not None and left <= 0):
                return ended
            if None in fds:  # no event tells, so look again soon
                time.sleep(_POLL if left is None else min(_POLL, left))
            else:
                poll.poll(None if left is None else left * 1000 + 1)
