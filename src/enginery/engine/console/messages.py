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

DELIMITER = b"<IDS|MSG>"


@dataclass(slots=True, eq=False)
class Message:
    """A message that has arrived; `idents` leads back to who sent it."""

    idents: list[bytes]
    header: dict[str, Any]
    content: dict[str, Any] = field(default_factory=dict)

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
        header, _, _, content = map(json.loads, parts)
        if not isinstance(header, dict) or not isinstance(content, dict):
            raise ValueError("its parts are no objects")
        if "msg_type" not in header:
            raise ValueError("it has no type")
        return Message(list(frames[:at]), header, content)

    def write(
        self, kind: str, content: dict[str, Any], parent: Message | None, first: Sequence[bytes]
    ) -> list[bytes]:
        """Frames of a message about `parent`, behind those that say where it goes."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self.session,
            "username": "engine",
            "date": datetime.now(UTC).isoformat(),
            "version": VERSION,
        }
        told: list[dict[str, Any]] = [header, parent.header if parent else {}, {}, content]
        parts = [json.dumps(each, default=_plain).encode() for each in told]
        return [*first, DELIMITER, self._signature(parts), *parts]

    def _signature(self, parts: Sequence[bytes]) -> bytes:
        return hmac.new(self.key.encode(), b"".join(parts), hashlib.sha256).hexdigest().encode()


def _plain(value: Any) -> str:
    """What JSON cannot say: bytes (of an image) as base64, anything else as it prints itself."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else repr(value)
