"""The messages of the Jupyter protocol, 5.3: JSON in four frames, signed with a shared key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

VERSION = "5.3"

UNSAYABLE = "what is to be told here cannot be said in JSON"

DELIMITER = b"<IDS|MSG>"


@dataclass(slots=True, eq=False)
class Message:
    """A message that has arrived; `idents` leads back to who sent it."""

    idents: list[bytes]
    header: dict[str, Any]
    content: dict[str, Any] = field(default_factory=dict)
    raw_header: bytes = b"{}"
    """The header as it came: so it goes back with what is said about this."""

    @property
    def kind(self) -> str:
        """Its type, as "execute_request"."""
        return str(self.header["msg_type"])

    @property
    def session(self) -> str:
        """Which client has sent it."""
        return str(self.header.get("session", ""))


class Signer:
    """Writes and reads messages with the key of one connection file."""

    def __init__(self) -> None:
        self.key = os.urandom(32).hex()
        self.session = uuid.uuid4().hex

    def read(self, frames: Sequence[bytes]) -> Message:
        """The message in these frames; ValueError when it is none, or not from who has the key."""
        at = frames.index(DELIMITER)
        signature, *parts = frames[at + 1 : at + 6]
        if len(parts) != 4 or not hmac.compare_digest(self._signature(parts), signature):
            raise ValueError("the signature is wrong")
        try:
            header, _, _, content = map(json.loads, parts)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(header, dict) or not isinstance(content, dict):
            raise ValueError("its parts are no objects")
        if "msg_type" not in header:
            raise ValueError("it has no type")
        return Message(list(frames[:at]), header, content, parts[0])

    def write(
        self, kind: str, content: dict[str, Any], parent: Message | None, first: Sequence[bytes]
    ) -> list[bytes]:
        """Frames of a message about `parent`, behind those that say where it goes.

        The content should be `plain`; where it is not, the message says `UNSAYABLE` instead.
        """
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self.session,
            "username": "engine",
            "date": datetime.now(UTC).isoformat(),
            "version": VERSION,
        }
        about = parent.raw_header if parent is not None else b"{}"
        parts = [json.dumps(header).encode(), about, b"{}", _said(content)]
        return [*first, DELIMITER, self._signature(parts), *parts]

    def _signature(self, parts: Sequence[bytes]) -> bytes:
        return hmac.new(self.key.encode(), b"".join(parts), hashlib.sha256).hexdigest().encode()


def plain(value: Any) -> Any:
    """A copy of this made of nothing but what JSON knows.

    It may run user code (a `repr`), and so raise anything; by itself it raises TypeError for keys
    that are no texts, ValueError for what contains itself, RecursionError for what is too deep.
    """
    return json.loads(json.dumps(value, default=_text))


def _said(content: dict[str, Any]) -> bytes:
    """The content in JSON. In its place, what a reply, an error and a display are understood by."""
    try:
        return json.dumps(content).encode()
    except (TypeError, ValueError, RecursionError) as error:
        why = {"ename": type(error).__name__, "evalue": UNSAYABLE, "traceback": [UNSAYABLE]}
        shown = {"data": {"text/plain": UNSAYABLE}, "metadata": {}}
        return json.dumps({"status": "error", **why, **shown}).encode()


def _text(value: Any) -> str:
    """What JSON cannot say: bytes (of an image) as base64, anything else as it prints itself."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else repr(value)
