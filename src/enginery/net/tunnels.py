"""Tunnels through ssh, to a controller that listens where only its own host can connect.

The system's `ssh` makes them, with its user's own configuration, keys and agent. `core.tunnel`
decides when one is begun anew; a thread does so here, and hears what ssh says.

The port on this side is kept also while no ssh runs, by a socket that is bound to it and does not
listen: nobody else gets it meanwhile, and libzmq, which tries it again and again, is never
connected with itself, as TCP does when a port that nobody holds is tried from that same port.
"""

from __future__ import annotations

import os
import select
import shutil
import threading
import time
import weakref
from collections.abc import Callable

from ..core.tunnel import Trouble
from ..core.tunnel import Tunnel as Machine
from ..error import NoControllerError
from . import sockets
from .keys import ConnectionFile, Tunnelled
from .ssh import Server, Ssh
from .wakeup import Wakeup

__all__ = ["Server", "Tunnel"]

LOCAL = "127.0.0.1"

CLOSING = 5.0
"""Seconds within which a tunnel that is closed is gone."""


class Tunnel:
    """A way through ssh to the controller of a connection file, until it is closed.

    `file` leads through it. It may be open now or later, see `await_open`.
    """

    def __init__(self, file: ConnectionFile, server: Server) -> None:
        self.server = server
        self.there, _, port = file.url.removeprefix("tcp://").rpartition(":")
        self.port = int(port)
        self._machine = Machine()
        self._changed = threading.Condition()
        self._ssh: Ssh | None = None
        wanted = [self.port, *([file.farm_port] if file.farm_port else [])]
        self._kept = {there: sockets.kept_port(LOCAL) for there in wanted}
        self.ports = {there: ours.getsockname()[1] for there, ours in self._kept.items()}
        self.file = Tunnelled.of(file, self.ports)
        self._closing = Wakeup()
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _let_go(me()))
        self._thread = threading.Thread(target=self._serve, name="enginery-tunnel", daemon=True)
        self._thread.start()

    @property
    def hopeless(self) -> bool:
        """Whether it was never open, and will not be unless somebody changes something."""
        return self._machine.hopeless

    @property
    def trouble(self) -> Trouble | None:
        """What is amiss, if anything is known."""
        return self._machine.trouble

    def await_open(self, timeout: float) -> None:
        """Wait until it is open; NoControllerError when it will not be, or not in that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._machine.open or self.hopeless, timeout)
            if self._machine.open:
                return
        raise NoControllerError(
            self.in_words() or f"{self.server.name} has not let ssh in within {timeout:g} s"
        )

    def await_trouble(self, timeout: float = 0.5) -> bool:
        """Whether something is amiss, or is known to be within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.trouble is not None, timeout)

    def in_words(self) -> str:
        """What is amiss, and what to do; "" when nothing is known to be."""
        return "" if self.trouble is None else in_words(self, self.trouble)

    def close(self) -> None:
        """End it; again is fine."""
        self._closing.set()
        self._thread.join(CLOSING)

    # --- its thread -------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while not self._over(self._machine.begin_at):
                if shutil.which("ssh") is None:
                    self._tell(self._machine.missing)
                else:
                    self._run()
        finally:
            for ours in self._kept.values():
                ours.close()
            self._closing.close()

    def _over(self, until: float | None) -> bool:
        """Whether this tunnel was closed before that time, which is waited for; None: for ever."""
        rest = None if until is None else max(0.0, until - time.monotonic())
        return bool(select.select([self._closing.fileno()], [], [], rest)[0])

    def _run(self) -> None:
        """One ssh from its beginning to its end."""
        machine = self._machine
        machine.begun()
        forwards = [f"{LOCAL}:{ours}:{self.there}:{there}" for there, ours in self.ports.items()]
        try:
            self._ssh = Ssh(self.server.command(forwards))
        except OSError as error:  # no process can be had just now
            machine.said(str(error))
        else:
            try:
                self._ssh.hear(
                    lambda: self._tell(machine.opened),
                    lambda line: self._tell(lambda: machine.said(line)),
                    self._closing.fileno(),
                )
            finally:
                self._ssh.end()
                self._ssh = None
        if not self._over(0.0):  # else it was ended, and there is nothing amiss
            self._tell(lambda: machine.ended(time.monotonic()))

    def _tell(self, change: Callable[[], None]) -> None:
        """Tell the machine, and who waits for it to change."""
        with self._changed:
            change()
            self._changed.notify_all()

    def in_fork(self) -> None:
        """Leave it to the process that this one was forked from."""
        if self._ssh is not None:
            self._ssh.let_go()
        for ours in self._kept.values():
            ours.close()


def _let_go(tunnel: Tunnel | None) -> None:
    if tunnel is not None:
        tunnel.in_fork()


def in_words(tunnel: Tunnel, trouble: Trouble) -> str:
    """What is amiss with a tunnel, and what to do about it."""
    name = tunnel.server.name
    host = tunnel.server.parts()[0]
    match trouble.kind:
        case "missing":
            text, hint = "there is no ssh on this host's PATH", "Install OpenSSH's client here."
        case "unknown":
            text, hint = f"ssh knows no host {host!r}", "Is it spelled right? It is USER@HOST."
        case "host-key":
            text = f"the host key of {host} is not known here, or has changed"
            hint = f"Log in by hand once, and look whether it is the right one: ssh {host}"
        case "key":
            text = f"{name} does not let ssh in with the keys that it has here"
            hint = (
                "Nobody can be asked for a password: name a key (sshkey=, --sshkey), load it into"
                f" an\n  ssh-agent, or make the server know it: ssh-copy-id {host}"
            )
        case "forwarding":
            text = "ssh could not listen at all the ports that it is to forward"
            hint = f"Does its configuration forward others for {host}? They may be in use."
        case "option":
            text, hint = "this ssh does not know what it was told", "OpenSSH 7.6 or newer will do."
        case "unreachable":
            text, hint = f"{name} cannot be reached by ssh", "Is the host up, and its ssh server?"
        case "port":
            text = f"from {name} there is no way on to {tunnel.there}:{tunnel.port}"
            hint = (
                "The controller that this connection file names is gone, or on another host,"
                " or the\n  server does not forward."
            )
        case "ended":
            text, hint = f"ssh to {name} has ended", "It is tried again."
    said = f"\n  ssh said: {trouble.said}" if trouble.said else ""
    return f"{text}{said}\n  {hint}"
