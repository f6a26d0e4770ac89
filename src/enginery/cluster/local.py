"""Starting and stopping the processes of a cluster on this host.

They are started as `python -m enginery …` with this interpreter, never looked up on PATH, and with
`-P`, so that nothing is imported from the current directory. What they are to do goes to them
through their standard input: it may be long, and nobody else need read it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..error import ClusterError
from ..net.profile import Profile
from . import record
from .guard import Guard
from .process import GRACE, Process, birth, end_all, wait_any

AGAIN = 60.0
"""Seconds that a controller has to start again."""

logger = logging.getLogger("enginery.cluster")


def start(
    what: str,
    settings: dict[str, Any],
    *,
    output: str,
    shown: Sequence[str] = (),
    fds: Iterable[int] = (),
) -> Process:
    """Start a "controller", or a supervisor of engines ("engine"), in a session of its own.

    `settings` are fields of its configuration; `output` is the file its terminal output goes to;
    `shown` are arguments for those who read `ps`. The session keeps the terminal's Ctrl-C away.
    """
    if not sys.executable:
        raise ClusterError("cannot start processes: this Python does not know its own executable")
    command = [sys.executable, "-P", "-m", "enginery", what, *shown, "--settings=-"]
    with open(output, "ab", opener=_private) as out:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,
            pass_fds=tuple(fds),
        )
    process = Process(what, popen.pid, birth(popen.pid), output, popen)
    assert popen.stdin is not None
    with contextlib.suppress(BrokenPipeError), popen.stdin as stdin:  # it died: its exit tells
        stdin.write(json.dumps(settings | {"output": output}).encode())
    return process


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)


def failed(process: Process) -> ClusterError:
    """The error for a process that ended while the cluster started; it carries its last lines."""
    lines = process.last_lines()
    text = [f"the {process.what} process did not start: {process.ended or 'it has ended'}"]
    text += [f"  {line}" for line in lines]
    if process.popen is not None and isinstance(process.popen.args, list):
        text.append(f"  command: {' '.join(map(str, process.popen.args))}")
    text.append(f"  its output: {process.output}")
    return ClusterError("\n".join(text))


class LocalProcesses:
    """The processes of one cluster on this host, and the files that go with them.

    With `owned`, they end when this process ends, in whatever way. Knows which process made it: a
    fork of that one must not stop what is not its own.
    """

    def __init__(self, profile: Profile, cluster_id: str, owned: bool) -> None:
        self.profile, self.cluster_id, self.owned = profile, cluster_id, owned
        self.maker = os.getpid()
        self.all: list[Process] = []
        self.file: Path | None = None  # the cluster file, once there was one
        self.started: float | None = None  # as it says
        self._guard: Guard | None = None

    @property
    def controller(self) -> Process | None:
        """The controller, if it was started or is known."""
        return next((p for p in self.all if p.what == "controller"), None)

    def start_controller(self, settings: dict[str, Any]) -> int:
        """Start the controller; a descriptor that gives one line when it listens, or just ends."""
        ready, line = os.pipe()
        try:
            self._start("controller", settings | {"ready_fd": line}, fds=[line])
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(line)  # so that the pipe ends with the controller
        return ready

    def record(self, file: Path, about: dict[str, Any]) -> None:
        """Write the cluster file."""
        record.write(file, about, self.all)
        self.file, self.started = file, about["started"]

    def guard(self, settings: dict[str, Any]) -> None:
        """Start the controller again whenever it was killed, as long as there is a cluster file."""
        controller = self.controller
        assert controller is not None

        def again(stop: int) -> Process | None:
            ready = self._restart_controller(settings)
            controller = self.controller
            if ready is None or controller is None:
                return None
            try:
                self.await_controller(ready, AGAIN, stop)
            except ClusterError:
                if not controller.killed:
                    raise
            return controller

        self._guard = Guard(controller, again)

    def _restart_controller(self, settings: dict[str, Any]) -> int | None:
        """As `start_controller`, in place of one that was killed; None when it is not wanted.

        The cluster file names it at once, so that who stops the cluster meanwhile finds it.
        """
        old, file = self.controller, self.file
        assert old is not None
        assert file is not None
        with record.held(file, self.started) as found:
            if found is None:
                return None
            logger.warning("the controller has ended (%s) and is started again", old.ended)
            ready = self.start_controller(settings)
            self.all.remove(old)
            others = (Process(**process) for process in found["processes"])
            new = [process for process in self.all if process.what == "controller"]
            record.write(file, found, [*new, *(p for p in others if p.pid != old.pid)])
            return ready

    def await_end(self, timeout: float | None = None) -> bool:
        """Wait until the controller has ended, for good, or for so many seconds; whether it has."""
        if self._guard is not None and not self._guard.wait(timeout):
            return False
        return self.controller is None or bool(wait_any([self.controller], timeout))

    def await_controller(self, ready: int, timeout: float, stop: int = -1) -> None:
        """Wait until the controller listens; ClusterError when it ends first, or takes too long,
        or something can be read from `stop`.
        """
        poll = select.poll()
        poll.register(ready, select.POLLIN)
        if stop >= 0:
            poll.register(stop, select.POLLIN)
        try:
            fired = dict(poll.poll(timeout * 1000))
            if not fired:
                raise ClusterError(f"the controller was not ready after {timeout:.0f} s")
            if stop in fired:
                raise ClusterError("the controller is to end")
            controller = self.controller
            if not os.read(ready, 4096) and controller is not None:
                controller.wait(1.0)
                raise failed(controller)
        finally:
            os.close(ready)

    def start_engines(self, n: int, settings: dict[str, Any]) -> Process:
        """Start a supervisor with `n` engines, which get the import path of this process.

        Whether it is owned is as for all, unless the settings name an owner or none.
        """
        path = [str(entry) or os.getcwd() for entry in sys.path]
        settings = settings | {"n": n, "sys_path": path, "cwd": os.getcwd()}
        return self._start("engine", settings, shown=["-n", str(n)])

    def _start(
        self, what: str, settings: dict[str, Any], *, shown: Sequence[str] = (), fds: Any = ()
    ) -> Process:
        infix = f"-{self.cluster_id}" if self.cluster_id else ""
        output = self.profile.log / f"ip{what}{infix}-{os.urandom(3).hex()}.out"
        common = {
            "profile_dir": str(self.profile.path),
            "cluster_id": self.cluster_id,
            "owner_pid": os.getpid() if self.owned else 0,
        }
        shown = [*shown, f"--cluster-id={self.cluster_id}"]
        process = start(what, common | settings, output=str(output), shown=shown, fds=fds)
        self.all.append(process)
        return process

    def stop(self, grace: float = GRACE) -> None:
        """End all of them, and who else is in the cluster file: ask, wait `grace` seconds, kill."""
        if os.getpid() != self.maker:
            return
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.stop()
        if self.file is not None:
            known = {process.pid for process in self.all}
            named = record.take(self.file, self.started)
            self.all += [process for process in named if process.pid not in known]
        end_all(self.all, grace)
        for process in self.all:
            with contextlib.suppress(FileNotFoundError):
                if os.path.getsize(process.output) == 0:
                    os.unlink(process.output)
