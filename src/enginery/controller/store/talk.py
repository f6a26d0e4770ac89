"""What the controller and its database's process say to each other, over a pair of sockets.

Each message is its length (4 bytes), then msgpack. The controller says what there is, that the
journal has grown, what it wants to know; the process answers, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct as Layout
from typing import Any

import msgspec
from msgspec import msgpack

from ...core import messages as m
from ...core.events import Question

LENGTH = Layout(">I")
INSIDE = 3
"""The extension code of a buffer that stands in a message, as in the journal."""


class Setup(msgspec.Struct, tag="setup"):
    """The first message: which database, and of which journal."""

    url: str
    file: str  # in place of it: of SQLite
    cluster: str  # whose tasks the rows are
    directory: str  # of the journal
    journal: str  # its name
    limit_bytes: int  # 0: none; of everything
    limit_age: float  # 0: none; seconds
    value_bytes: int  # of the outcome of one task


class News(msgspec.Struct, tag="news"):
    """The journal has grown."""


class Asked(msgspec.Struct, tag="asked"):
    """A question, to be answered by an `Answer` of this number."""

    number: int
    question: Question


class Finish(msgspec.Struct, tag="finish"):
    """Write what is left, and end; `over`: nobody will go on with this journal."""

    over: bool


class Opened(msgspec.Struct, tag="opened"):
    """The database is there; `older`: it knows of tasks of this cluster already."""

    older: bool


class Answer(msgspec.Struct, tag="answer"):
    """What came of a question; with a `reason`, nothing."""

    number: int
    value: msgspec.Raw
    reason: str = ""


class Wrong(msgspec.Struct, tag="wrong"):
    """Something that whoever reads the log should know."""

    what: str


ToStore = Setup | News | Asked | Finish
FromStore = Opened | Answer | Wrong


def framed(message: ToStore | FromStore) -> bytes:
    """A message as bytes."""
    content = msgpack.encode(message)
    return LENGTH.pack(len(content)) + content


class Inbox:
    """Bytes as they come, cut into messages of this kind."""

    def __init__(self, kind: Any) -> None:
        self._decode = msgpack.Decoder(kind).decode
        self._bytes = bytearray()

    def add(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete now."""
        self._bytes += data
        while len(self._bytes) >= LENGTH.size:
            [length] = LENGTH.unpack_from(self._bytes)
            end = LENGTH.size + length
            if len(self._bytes) < end:
                return
            content = bytes(self._bytes[LENGTH.size : end])
            del self._bytes[:end]
            yield self._decode(content)


# --- outcomes -------------------------------------------------------------------------------------


def packed(outcome: m.Outcome) -> bytes:
    """An outcome with its buffers."""
    return msgpack.encode(outcome, enc_hook=_pack)


def _pack(value: Any) -> msgpack.Ext:
    if type(value) is not m.Buffer:
        raise TypeError(f"a {type(value).__name__} cannot stand in an outcome")
    return msgpack.Ext(INSIDE, bytes(value))


def _unpack(code: int, data: memoryview) -> m.Buffer:
    return m.Buffer(bytes(data))


unpacked = msgpack.Decoder(m.Outcome, ext_hook=_unpack).decode
"""What `packed` has made."""
