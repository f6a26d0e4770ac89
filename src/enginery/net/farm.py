"""The queue of the `pure` scheme: tasks go from clients to engines, and no Python sees them.

Two listening sockets and libzmq's own proxy between them, in a thread that never holds the
interpreter. Clients knock in front, engines behind; each side has a ZAP domain of its own, since
nothing here can look at who says what. What an engine that dies has taken is gone: the clients
find out (`core.farming`).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Literal

import zmq

from . import sockets
from .auth import Authenticator
from .keys import Keys

FRONT, BACK = "farm clients", "farm engines"

WORKERS: tuple[Literal["client", "task"], ...] = ("client", "task")
"""Roles whose keys may put tasks in."""

AHEAD = 100
"""Tasks on their way to one engine at most, unless a larger hwm is configured."""


class Farm:
    """The queue. Poll `auth.socket` and call `auth.handle`, or nobody gets in."""

    def __init__(self, keys: Keys, ip: str, hwm: int) -> None:
        self._context = sockets.new_context()
        allowed: dict[str, dict[bytes, str]] = {
            FRONT: {keys.public(role): role for role in WORKERS},
            BACK: {keys.public("engine"): "engine"},
        }
        self.auth = Authenticator(self._context, allowed)
        ahead = max(hwm, AHEAD) if hwm else 0
        self._front, self.front_port = sockets.queue_end(
            self._context, zmq.ROUTER, keys.server, FRONT, ip=ip
        )
        self._back, self.back_port = sockets.queue_end(
            self._context, zmq.DEALER, keys.server, BACK, ip=ip, ahead=ahead
        )
        self._thread = threading.Thread(target=self._serve, name="enginery-farm", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            while True:
                # It ends so when it was told of something to read and then finds nothing, as
                # happens round the first large messages; nothing is lost by that.
                with suppress(zmq.Again):
                    zmq.proxy(self._front, self._back)
        except zmq.ContextTerminated:
            pass  # it was closed
        finally:
            self._front.close(0)
            self._back.close(0)

    def close(self) -> None:
        """End it; what is in it is dropped."""
        self.auth.close()
        self._context.term()
        self._thread.join()
