"""One connection to the controller: a socket, its monitor, and a way to wake who waits at them."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from typing import Any

import zmq

from ..core import messages as m
from ..core.events import Closed, Event, Opened, Received
from ..error import ProtocolError
from ..net import sockets
from ..net.keys import ConnectionFile
from ..net.monitors import rest
from ..wire import codec
from ..wire.memory.peer import Memory


class Lane:
    """The end of a connection that one thread owns; only `post` and `wake` are for others.

    With a `memory`, large buffers go by reference where the controller shares it.
    """

    def __init__(
        self,
        context: sockets.Context,
        file: ConnectionFile,
        name: m.Lane,
        poller: zmq.Poller | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.name = name
        self.memory = memory
        self.socket, self.monitor = sockets.dealer(context, file)
        self.wakeup = sockets.Wakeup()
        self.nonsense = 0  # batches that were not understood
        self.failed = ""  # why the last attempt to connect failed
        self._posted: deque[m.Message] = deque()
        self.poller = poller or zmq.Poller()
        self._sources: list[Any] = [self.socket, self.monitor, self.wakeup.fileno()]
        for source in self._sources:
            self.poller.register(source, zmq.POLLIN)

    def wait(self, timeout: float | None = None) -> dict[Any, int]:
        """Wait for something to happen, `timeout` seconds at most; what is ready."""
        if self.monitor.retry_at is not None:
            self.monitor.retry()
            timeout = rest([self.monitor], timeout)
        ready = dict(self.poller.poll(None if timeout is None else max(0, int(timeout * 1000) + 1)))
        if self.wakeup.fileno() in ready:
            self.wakeup.clear()
        return ready

    def events(self, ready: Container[Any]) -> list[Event]:
        """What has happened, of the sources that are ready: one message at most, for each costs
        less than finding out that there is no more.
        """
        events: list[Event] = []
        if self.monitor in ready:
            while (change := sockets.monitor_event(self.monitor)) is not None:
                if isinstance(change, sockets.Up):
                    events.append(Opened(self.name))
                elif isinstance(change, sockets.Down):
                    events.append(Closed(self.name))
                elif isinstance(change, sockets.Failed):
                    self.failed = change.reason
        if self.socket in ready and (frames := sockets.recv_frames(self.socket)) is not None:
            memory = self.memory
            try:
                messages = codec.decode(frames, borrow=memory.borrow if memory else None)
            except ProtocolError:
                self.nonsense += 1
            else:
                if memory is not None:
                    for message in messages:
                        memory.meet(message)
                events += [Received(self.name, "controller", message) for message in messages]
        return events

    def send(self, messages: Sequence[m.Message]) -> bool:
        """Send as one batch; False when there is no connection, and nothing is kept."""
        by_reference = self.memory is not None and self.memory.controller > 0
        return sockets.send(self.socket, codec.encode(messages, by_reference))

    def post(self, message: m.Message) -> None:
        """Have the owner of this lane send a message; for other threads."""
        self._posted.append(message)
        self.wakeup.set()

    def wake(self) -> None:
        """Make `wait` return; for other threads."""
        self.wakeup.set()

    def send_posted(self) -> None:
        """Send what other threads have posted."""
        if self._posted:
            posted = [self._posted.popleft() for _ in range(len(self._posted))]
            self.send(posted)

    def close(self, linger: float = 0.0) -> None:
        """Close the connection; what is not sent yet has `linger` seconds to leave."""
        for source in self._sources:
            self.poller.unregister(source)
        self.monitor.close()
        self.socket.close(linger=int(linger * 1000))
        self.wakeup.close()
