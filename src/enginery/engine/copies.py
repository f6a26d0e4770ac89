"""What a supervisor keeps for its engines: large buffers that came once from another host."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import zmq

from ..core import messages as m
from ..net import sockets
from ..net.keys import ConnectionFile
from ..wire.memory.arena import Arena
from ..wire.memory.probe import Probe
from .door import Fetch, Lender, pause


class Copies:
    """The copies that are kept, by number, and those that are fetched from other hosts."""

    def __init__(self, context: sockets.Context, poller: zmq.Poller) -> None:
        self.probe = Probe()  # by which a controller sees that it is on another host
        self._context, self._poller = context, poller
        self._arena = Arena()
        self._kept: dict[int, memoryview] = {}
        self._fetches: dict[int, Fetch] = {}
        self._file: ConnectionFile | None = None
        self._lender: Lender | None = None

    def meet(self, file: ConnectionFile) -> None:
        """Keep nothing so far: the controller is another one, that of this file."""
        self.clear()
        self._file, self._lender = file, Lender(self._context, file, self._poller)

    def keep(self, message: m.Keep) -> m.Kept | None:
        """Keep what this brings, and nothing that is not needed any more; what to answer now."""
        self._forget_all_but(message.live, message.lent)
        if not message.number:
            return None
        if message.door is None or self._file is None:
            return self._keep(message, message.buffers)
        try:
            fetch = Fetch(self._context, message, self._file, self._poller)
        except (ValueError, zmq.ZMQError):  # there is no such address
            return m.Kept(message.number, None, [], message.door)
        except MemoryError:
            return m.Kept(message.number, None, [])
        self._fetches[message.number] = fetch
        return None

    def _keep(self, message: m.Keep, buffers: tuple[m.Buffer, ...]) -> m.Kept:
        number = message.number
        views = [memoryview(buffer.data).cast("B") for buffer in buffers]
        lent = self._arena.lend(views)
        if lent is None:
            return m.Kept(number, None, [])
        segment, self._kept[number] = lent
        places = segment.places[: len(views)]
        kept = m.Kept(number, segment.name, places)
        if number in message.lent and self._lender is not None:
            there = zip(places, views, strict=True)
            parts = [self._kept[number][at : at + view.nbytes] for at, view in there]
            kept.door = self._lender.lend(number, parts)
        return kept

    def serve(self, ready: Container[Any]) -> list[m.Kept]:
        """Let others have what is lent, and take what is fetched; what to tell the controller."""
        if self._lender is not None:
            self._lender.serve(ready)
        told = []
        for number, fetch in list(self._fetches.items()):
            fetch.take(ready)
            if fetch.complete:
                told.append(self._keep(fetch.message, fetch.buffers))
            elif fetch.over:
                told.append(m.Kept(number, None, [], fetch.message.door))
            else:
                continue
            del self._fetches[number]
            fetch.close()
        return told

    def _forget_all_but(self, numbers: Container[int], lent: Container[int]) -> None:
        self._kept = {n: view for n, view in self._kept.items() if n in numbers}
        for number in [number for number in self._fetches if number not in numbers]:
            self._fetches.pop(number).close()
        if self._lender is not None:
            self._lender.keep(lent)

    def look(self) -> float | None:
        """Give back memory that has been idle for long; seconds until to look again, if at all."""
        pauses = (self._arena.look(), pause(self._fetches.values()))
        return min((each for each in pauses if each is not None), default=None)

    def clear(self) -> None:
        """Keep nothing any more."""
        self._forget_all_but((), ())

    def close(self) -> None:
        """Give everything back."""
        self.clear()
        self.probe.close()
        self._arena.close()
