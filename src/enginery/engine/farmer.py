"""The engine's end of the queue of the `pure` scheme: tasks come from clients, past the controller.

The main thread takes one at a time, when it has nothing else to do, and answers its client.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import zmq

from ..core import messages as m
from ..error import ProtocolError
from ..net import sockets
from ..net.keys import ConnectionFile
from ..wire import codec
from .life import Life

FUNCTIONS = 256
"""Functions of such tasks that are kept."""

AHEAD = 2
"""Tasks that wait here while another one runs; more wait where others can take them."""


class Farmer:
    """See the module's theory."""

    def __init__(self, context: sockets.Context, file: ConnectionFile, life: Life) -> None:
        self.life = life
        self.port = 0
        self._context, self._file = context, file
        self._socket: sockets.Peer | None = None
        self._monitor: sockets.Monitor | None = None
        self._known: dict[bytes, None] = {}

    def serve(self, port: int, ready: Container[Any], run: Callable[[m.Attempt], m.Result]) -> None:
        """Take one task, if there is one; connect first, where that has not been done."""
        if port != self.port:
            self._join(port)
        if self._monitor in ready and self._monitor is not None:
            while sockets.monitor_event(self._monitor) is not None:
                pass
            self._monitor.retry()
        if self._socket is None or self._socket not in ready:
            return
        frames = sockets.recv_frames(self._socket)
        if not frames:
            return
        client, *rest = frames
        try:
            messages = codec.decode(rest)
        except ProtocolError:
            return  # of a client that speaks another language; it hears so from the controller
        answers = [self._answer(each, run) for each in messages if isinstance(each, m.Farmed)]
        if answers and self.life.exit_code is None:
            sockets.send(self._socket, codec.encode(answers), bytes(client))

    def _answer(self, farmed: m.Farmed, run: Callable[[m.Attempt], m.Result]) -> m.Message:
        machine = self.life.machine
        name = machine.name
        attempt = farmed.attempt
        if attempt is None:
            return m.Probed(farmed.probe, name)
        self._keep(attempt.function, farmed.blob)
        result = run(attempt)
        outcome = m.Outcome(
            attempt.id, "ok" if result.status == "ok" else "error", result.value, result.buffers,
            machine.id, name, 1, farmed.submitted, result.started, result.completed,
            result.outputs, attempt.name,
        )  # fmt: skip
        return m.Deliver(0, [outcome])

    def _keep(self, hash: bytes, blob: bytes) -> None:
        functions = self.life.functions
        self._known.pop(hash, None)
        self._known[hash] = None
        if functions.loaded(hash) is None:
            functions.keep(hash, blob)
        if len(self._known) > FUNCTIONS:
            oldest = next(iter(self._known))
            del self._known[oldest]
            if oldest not in self.life.machine.functions:
                functions.forget(oldest)

    def _join(self, port: int) -> None:
        self.close(0.0)
        self.port = port
        self._socket, self._monitor = sockets.dealer(
            self._context, self._file.at_port(port), ahead=AHEAD, heartbeats=False
        )
        for source in (self._socket, self._monitor):
            self.life.lanes["tasks"].poller.register(source, zmq.POLLIN)

    def close(self, linger: float) -> None:
        """Leave; what is not sent yet has `linger` seconds."""
        if self._socket is not None and self._monitor is not None:
            for source in (self._socket, self._monitor):
                self.life.lanes["tasks"].poller.unregister(source)
            self._monitor.close()
            self._socket.close(linger=int(linger * 1000))
            self._socket = self._monitor = None
