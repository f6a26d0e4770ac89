"""A network as bad as one likes, between two processes of this host: a proxy for TCP.

It delays, it is slow, it cuts connections, it flips bits; all of it in both directions.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

CHUNK = 4096
"""Bytes that are passed on together."""

UNDER_WAY = 64
"""Chunks at most that are under way in one direction; who sends more has to wait."""


@dataclass(frozen=True)
class Faults:
    """What the network does: seconds of delay, bytes per second (0: any number), seconds from one
    cut of all connections to the next (0: none), the share of chunks in which a bit is flipped.
    """

    delay: float = 0.0
    rate: float = 0.0
    cut_every: float = 0.0
    flips: float = 0.0


class Proxy:
    """Listens at `port` for what is to go to `target`, until it is closed; `faults` may change."""

    def __init__(self, target: int, seed: int = 1) -> None:
        self.target, self.faults = target, Faults()
        self.connections = 0  # that there were
        self.flipped = 0
        self._chance = random.Random(seed)
        self._there: set[asyncio.StreamWriter] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        _little_room(self._listener)
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="proxy")
        self._thread.start()

    def close(self) -> None:
        """End it, and every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(asyncio.start_server(self._pass, sock=self._listener))
        cutter = loop.create_task(self._cut())
        loop.run_forever()
        server.close()
        for writer in list(self._there):
            writer.transport.abort()
        cutter.cancel()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    async def _cut(self) -> None:
        while True:
            await asyncio.sleep(self.faults.cut_every or 0.1)
            for writer in list(self._there) if self.faults.cut_every else ():
                reset = struct.pack("ii", 1, 0)  # so that the other end gets a RST
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, reset
                )
                writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        onward = socket.socket()
        _little_room(onward)
        onward.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(onward, ("127.0.0.1", self.target))
        except OSError:
            onward.close()
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(sock=onward)
        self._there |= {writer, far_writer}
        ways = [self._way(reader, far_writer), self._way(far_reader, writer)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for each in (writer, far_writer):
                self._there.discard(each)
                each.transport.abort()

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction of one connection."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)
        deliver = asyncio.ensure_future(self._deliver(under_way, writer))
        try:
            with suppress(OSError):
                while data := await reader.read(CHUNK):
                    due = self._loop.time() + self.faults.delay
                    await under_way.put((due, self._flip(data)))
                await under_way.put((0.0, b""))
                await deliver
        finally:
            deliver.cancel()

    async def _deliver(
        self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while True:
                due, data = await under_way.get()
                if not data:
                    return
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if self.faults.rate:
                    await asyncio.sleep(len(data) / self.faults.rate)
                writer.write(data)
                await writer.drain()

    def _flip(self, data: bytes) -> bytes:
        if self._chance.random() >= self.faults.flips:
            return data
        self.flipped += 1
        broken = bytearray(data)
        broken[self._chance.randrange(len(broken))] ^= 1 << self._chance.randrange(8)
        return bytes(broken)


def _little_room(end: socket.socket) -> None:
    """What waits, waits at the sender, as in a network that is slow."""
    for way in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        end.setsockopt(socket.SOL_SOCKET, way, 16 * CHUNK)
