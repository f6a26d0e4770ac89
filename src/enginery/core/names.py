"""Short public names: who holds that of a 128-bit secret cannot act as its owner."""

from __future__ import annotations

from hashlib import blake2b, sha256

from .messages import Code, fields_of


def public_name(secret: bytes, size: int = 3) -> str:
    """The first `size` bytes of the secret's hash, in hex."""
    return blake2b(secret, digest_size=max(size, 1)).hexdigest()


def life_name(incarnation: bytes) -> str:
    """What a life of an engine is called."""
    return public_name(incarnation, 4)


def content_hash(code: Code) -> bytes:
    """The name of a function: 16 bytes. In the blob stands what names its large data."""
    blob, _ = fields_of(code)
    return sha256(blob).digest()[:16]  # for which processors have instructions


def session_name(controller: str, number: int) -> str:
    """What tells this session of a client from those before, and at other controllers."""
    return f"{controller}/{number}"
