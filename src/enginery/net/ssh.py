"""One run of the system's `ssh` that forwards ports, and that ends with the process that began it.

An ssh without a remote command reads nothing, so it would not notice that its owner is gone. A
shell beside it does: it reads from a pipe of the owner's, and ends ssh when that pipe ends, as it
does however the owner ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

OPEN = "open"
"""What the command says that ssh runs on this side as soon as ports are forwarded."""

OPTIONS = {
    "BatchMode": "yes",  # nobody is there who could be asked for a password
    "ExitOnForwardFailure": "yes",
    "ServerAliveInterval": "2",  # a dead connection is given up after some 6 seconds
    "ServerAliveCountMax": "3",
    "ConnectTimeout": "10",
    "ControlMaster": "no",  # what a shared connection forwards would stay when we end
    "ControlPath": "none",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "yes",
    "LocalCommand": f"echo {OPEN}",
    "LogLevel": "INFO",  # at least: by this, ssh tells what its other end refuses
}

LEASHED = 'exec 3<&0 </dev/null; (read -r _ <&3 || kill $$) >/dev/null 2>&1 & exec "$@" 3<&-'
"""A shell that becomes its arguments, and ends them when its input ends before a line has come."""

GRACE = 2.0
"""Seconds that an ssh has to end when it is asked to."""


class Server(NamedTuple):
    """Where ssh logs in: HOST, USER@HOST, USER@HOST:PORT or a name of ssh's own configuration;
    with the key in this file, if one is named.
    """

    name: str
    key: str = ""

    def command(self, forwards: Iterable[str]) -> list[str]:
        """The ssh that forwards these."""
        command = ["ssh", "-N", "-T"]
        for option, value in OPTIONS.items():
            command += ["-o", f"{option}={value}"]
        if self.key:
            command += ["-i", os.path.expanduser(self.key)]
        host, port = self.parts()
        if port:
            command += ["-p", port]
        for forward in forwards:
            command += ["-L", forward]
        return [*command, "--", host]

    def parts(self) -> tuple[str, str]:
        """What to log in at; and the port, where the name ends in one."""
        found = re.fullmatch(r"((?:[^@]*@)?(?:\[[^\]]+\]|[^:\[\]]+)):(\d+)", self.name)
        host, port = (found[1], found[2]) if found else (self.name, "")
        return re.sub(r"\[([^\]]*)\]$", r"\1", host), port


class Ssh:
    """A running ssh; OSError when it cannot be begun. Whoever began it has to `end` it."""

    def __init__(self, command: list[str]) -> None:
        reins, self._leash = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", LEASHED, "enginery-tunnel", *command],
                stdin=reins,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # the terminal's Ctrl-C is not for it
            )
        except BaseException:
            os.close(self._leash)
            raise
        finally:
            os.close(reins)

    def hear(self, opened: Callable[[], None], said: Callable[[str], None], until: int) -> None:
        """Pass on that it is open, and the lines that it says, until it ends or `until` is ready.

        Where there are no pidfds, it has ended when nobody can write to its standard error any more
        (a program that helps it to connect may hold that for a little longer).
        """
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        rest = {err: b"", out: b""}
        with _pidfd(self._process.pid) as pidfd:
            poll = select.poll()
            for fd in {err, out, until, pidfd} - {-1}:
                poll.register(fd, select.POLLIN)
            while True:
                ready = {fd for fd, _ in poll.poll()}
                for fd in rest.keys() & ready:
                    data = os.read(fd, 65536)
                    *lines, rest[fd] = (rest[fd] + data).split(b"\n")
                    for line in lines:
                        if fd == err:
                            said(line.decode(errors="replace"))
                        elif line.strip() == OPEN.encode():
                            opened()
                    if not data:
                        poll.unregister(fd)
                        if fd == err and pidfd < 0:
                            return
                if {pidfd, until} & ready and not rest.keys() & ready:
                    return

    def end(self) -> None:
        """See to it that it has ended, and the shell beside it."""
        process = self._process
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Its number is free by now: the shell shall not end whoever has that next.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._leash, b"\n")
        self.let_go()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def let_go(self) -> None:
        """Hold the leash no longer, as in a fork of the owner."""
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    """What is readable once this child has ended; -1 where there is no such thing."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield -1
        return
    try:
        yield fd
    finally:
        os.close(fd)
