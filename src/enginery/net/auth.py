"""Who may connect: the answer to libzmq's question about each key (ZAP, RFC 27).

It fails closed. A port whose authenticator is not there, is closed, or does not answer lets nobody
in, because every ROUTER enforces its domain (`sockets.router`).
"""

from __future__ import annotations

from collections.abc import Mapping

import zmq
from zmq.utils import z85

from . import sockets

VERSION = b"1.0"


class Authenticator:
    """Answers for all ports of one context; `allowed` gives the role of each key in each domain.

    Poll `socket` and call `handle` in the loop that owns it: while that is busy, peers wait.
    """

    def __init__(
        self, context: sockets.Context, allowed: Mapping[str, Mapping[bytes, str]]
    ) -> None:
        self._roles = {
            domain: {public.decode(): role for public, role in keys.items()}
            for domain, keys in allowed.items()
        }
        self.socket = sockets.authenticator(context)

    def role(self, domain: str, user_id: str) -> str | None:
        """The role of the peer whose messages have this User-Id; None when it may not be there."""
        return self._roles.get(domain, {}).get(user_id)

    def handle(self) -> list[tuple[str, str]]:
        """Answer all that is asked; the (address, reason) of each peer that was refused."""
        refused: list[tuple[str, str]] = []
        while True:
            try:
                request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return refused
            user, reason = self._judge(request)
            number = request[1] if len(request) > 1 else b""
            status = (b"200", b"OK") if user else (b"400", b"key not allowed")
            self.socket.send_multipart([VERSION, number, *status, user.encode(), b""])
            if not user:
                address = request[3] if len(request) > 3 else b""
                refused.append((address.decode(errors="replace"), reason))

    def _judge(self, request: list[bytes]) -> tuple[str, str]:
        """The User-Id of who may come in, or "" and why not."""
        if len(request) != 7 or request[0] != VERSION or len(request[6]) != 32:
            return "", "no key"
        domain = request[2].decode(errors="replace")
        if request[5] != b"CURVE" or domain not in self._roles:
            return "", "no key"
        user = z85.encode(request[6]).decode()
        if self.role(domain, user):
            return user, ""
        for other, roles in self._roles.items():
            if user in roles:
                return "", f"a key of role {roles[user]!r}, which is for the {other} port"
        return "", "a key that this cluster does not know"

    def close(self) -> None:
        """Let nobody in any more."""
        self.socket.unbind(sockets.ZAP)  # now; closing it takes effect some time later
        self.socket.close()
