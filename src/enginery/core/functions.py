"""The functions that the controller holds for engines: blobs it never looks into, by hash.

What unfinished tasks need stays; the rest is kept as long as it fits, the least recently used
going first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ..error import MemoryUnavailable
from .messages import Code, fields_of
from .names import content_hash


class Functions:
    """Blobs by content hash, with the number of unfinished tasks that need each."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.blobs: OrderedDict[bytes, Code] = OrderedDict()
        self.bytes = 0
        self.needed: dict[bytes, int] = {}
        self._hashes: dict[bytes, bytes] = {}

    def __contains__(self, hash: bytes) -> bool:
        return hash in self.blobs

    def __getitem__(self, hash: bytes) -> Code:
        return self.blobs[hash]

    @property
    def excess(self) -> int:
        """Bytes over the limit, of functions that are needed."""
        return max(0, self.bytes - self.limit)

    def add(self, hash: bytes, blob: Code) -> None:
        """Keep a function that has arrived; ValueError when it does not have the name it was given.

        MemoryUnavailable when large data of it cannot be had.
        """
        if content_hash(blob) != hash:
            raise ValueError("a function does not match its hash")
        if not all(buffer.there for buffer in fields_of(blob)[1]):
            raise MemoryUnavailable("a function holds data that cannot be had")
        self.keep(hash, blob)

    def keep(self, hash: bytes, blob: Code) -> None:
        """Keep a function of this name."""
        if hash in self.blobs:
            self.blobs.move_to_end(hash)
            return
        self.blobs[hash] = blob
        self._hashes[hash] = hash
        self.bytes += len(blob)
        if self.bytes > self.limit:
            self._shrink()

    def need(self, hash: bytes, tasks: int = 1) -> bytes:
        """So many more unfinished tasks need it; gives the one object that all shall use for it."""
        self.needed[hash] = self.needed.get(hash, 0) + tasks
        return self._hashes.get(hash, hash)

    def release(self, hash: bytes, tasks: int = 1) -> None:
        """So many tasks less need it."""
        left = self.needed[hash] - tasks
        if left:
            self.needed[hash] = left
        else:
            del self.needed[hash]
            if self.bytes > self.limit:
                self._shrink()

    def _shrink(self) -> None:
        sizes = ((h, len(blob)) for h, blob in self.blobs.items() if h not in self.needed)
        for hash in oldest(sizes, self.bytes - self.limit):
            self.bytes -= len(self.blobs.pop(hash))
            del self._hashes[hash]


def oldest(sizes: Iterable[tuple[bytes, int]], excess: int) -> list[bytes]:
    """So many of these, from the first on, that they take `excess` bytes together."""
    found: list[bytes] = []
    for hash, size in sizes:
        if excess <= 0:
            break
        found.append(hash)
        excess -= size
    return found
