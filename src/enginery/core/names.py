"""Short public names: who holds that of a 128-bit secret cannot act as its owner."""

from __future__ import annotations

from hashlib import blake2b


def public_name(secret: bytes, size: int = 3) -> str:
    """The first `size` bytes of the secret's hash, in hex."""
    return blake2b(secret, digest_size=max(size, 1)).hexdigest()


def life_name(incarnation: bytes) -> str:
    """What a life of an engine is called."""
    return public_name(incarnation, 4)


def content_hash(*pieces: bytes) -> bytes:
    """The name of a function that consists of these: 16 bytes."""
    hash = blake2b(digest_size=16)
    for piece in pieces:
        hash.update(piece)
    return hash.digest()


def session_name(controller: str, number: int) -> str:
    """What tells this session of a client from those before, and at other controllers."""
    return f"{controller}/{number}"
