"""Keys, and the files that carry them to engines and clients.

A controller has one key pair, by which it is known, and one for each role. Who holds a role's file
has that role: every engine has the same pair, and so on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from ..core.messages import Role
from ..error import ConnectionFileError
from . import private

ROLES: tuple[Role, ...] = get_args(Role)

T = TypeVar("T")


def file_name(role: str, cluster_id: str = "") -> str:
    """The name of the key file of a role: "ipcontroller-engine.json", "ipcontroller-ID-…"."""
    return f"ipcontroller-{cluster_id}-{role}.json" if cluster_id else f"ipcontroller-{role}.json"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, both halves in Z85 (40 bytes)."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def create(cls) -> KeyPair:
        """A new pair."""
        import zmq

        return cls(*zmq.curve_keypair())

    @classmethod
    def of(cls, public: str, secret: str) -> KeyPair:
        """The pair of these two texts; ValueError when they are no pair."""
        import zmq

        try:
            if zmq.curve_public(secret.encode()) == public.encode():
                return cls(public.encode(), secret.encode())
        except (ValueError, KeyError, zmq.ZMQError):
            pass  # no key at all; told below
        raise ValueError("public and secret key do not belong together")


@dataclass(frozen=True)
class ConnectionFile:
    """All that an engine or a client needs to connect; keys are in Z85, `started` in epoch seconds.

    `pid`, `host` and `started` are the controller's; `location` is what its user called the host;
    `farm_port` is that of the queue of the pure scheme, if that is in use.
    """

    role: Role
    url: str
    server_key: str
    public_key: str
    secret_key: str = field(repr=False)
    cluster_id: str = ""
    pid: int = 0
    host: str = ""
    started: float = 0.0
    version: str = ""
    location: str = ""
    farm_port: int = 0

    patience = 0.0
    """Seconds that it may take to connect anew; 0: as many as usual."""

    def __post_init__(self) -> None:
        scheme, _, address = self.url.partition("://")
        if scheme != "tcp" or not address.rpartition(":")[2].isdigit():
            raise ValueError(f"url is {self.url!r}, not tcp://HOST:PORT")
        if len(self.server_key) != 40:
            raise ValueError("server_key is not a key")
        KeyPair.of(self.public_key, self.secret_key)

    @property
    def name(self) -> str:
        """The name that this file has in the security directory of a profile."""
        return file_name(self.role, self.cluster_id)

    def at_port(self, port: int) -> ConnectionFile:
        """The same for another port of this controller."""
        return replace(self, url=f"{self.url.rpartition(':')[0]}:{port}")

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it with mode 0600, as a whole or not at all."""
        private.write(Path(path), _json(self))

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], within: str | os.PathLike[str] | None = None
    ) -> ConnectionFile:
        """What the file says; it must lie in the directory `within`, if that is given.

        Raises ConnectionFileError when it is missing, broken, or open to others.
        """
        path = Path(path)
        content = private.read(path, Path(within) if within is not None else None)
        return _parse(path, content, cls)


@dataclass(frozen=True)
class Tunnelled(ConnectionFile):
    """A connection file as it is on this side of a tunnel: `ports` by those that they lead to."""

    ports: Mapping[int, int] = field(default_factory=dict)

    patience = 5.0  # ssh has to log in first

    @classmethod
    def of(cls, file: ConnectionFile, ports: Mapping[int, int]) -> Tunnelled:
        """This file, through a tunnel."""
        known = {each.name: getattr(file, each.name) for each in fields(ConnectionFile)}
        direct = file.url.rpartition(":")[2]
        return cls(**known | {"url": f"tcp://127.0.0.1:{ports[int(direct)]}"}, ports=ports)

    def at_port(self, port: int) -> ConnectionFile:
        """The same for another port of the controller, as far as the tunnel leads there."""
        return super().at_port(self.ports.get(port, port))


class _Stored(msgspec.Struct):
    """The controller's own key file: public and secret halves."""

    server: tuple[str, str]
    roles: dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Keys:
    """The key pairs of one controller: its own, and that of each role."""

    server: KeyPair
    roles: dict[Role, KeyPair]

    @classmethod
    def create(cls) -> Keys:
        """New keys."""
        return cls(KeyPair.create(), {role: KeyPair.create() for role in ROLES})

    @classmethod
    def load_or_create(cls, path: str | os.PathLike[str]) -> Keys:
        """The keys in this file, which is written with new ones when it is not there.

        Raises ConnectionFileError when it is broken, or open to others.
        """
        path = Path(path)
        if not os.path.lexists(path):
            keys = cls.create()
            private.write(path, _json(keys._stored()))
            return keys
        stored = _parse(path, private.read(path), _Stored)
        try:
            server = KeyPair.of(*stored.server)
            return cls(server, {role: KeyPair.of(*stored.roles[role]) for role in ROLES})
        except KeyError as error:
            raise _broken(path, f"the keys of role {error} are missing") from None
        except ValueError as error:
            raise _broken(path, str(error)) from None

    def pair(self, role: Role) -> KeyPair:
        """The key pair of a role."""
        return self.roles[role]

    def public(self, role: Role) -> bytes:
        """The public key of a role."""
        return self.roles[role].public

    def _stored(self) -> _Stored:
        def texts(pair: KeyPair) -> tuple[str, str]:
            return pair.public.decode(), pair.secret.decode()

        return _Stored(texts(self.server), {role: texts(p) for role, p in self.roles.items()})


def _json(content: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _parse(path: Path, content: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(path, str(error)) from None


def _broken(path: Path, what: str) -> ConnectionFileError:
    return ConnectionFileError(
        f"{path} is not a key file of enginery: {what}\n"
        "  Copy it again from the controller's host; there, remove it and start the controller."
    )
