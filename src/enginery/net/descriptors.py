"""Connections by the descriptors under which libzmq reports them.

A descriptor is used again as soon as its connection is gone, and then may not even be a socket.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator


def drop(fd: int) -> bool:
    """Cut the connection of this descriptor; False when it is none (any more)."""
    with contextlib.suppress(OSError), _connection(fd) as connection:
        connection.shutdown(socket.SHUT_RDWR)
        return True
    return False


def address(fd: int) -> str:
    """Where its other end is: "127.0.0.1"; "" when that has left already."""
    with contextlib.suppress(OSError, IndexError), _connection(fd) as connection:
        return str(connection.getpeername()[0])  # a local one has no address
    return ""


def received(fd: int) -> int:
    """Bytes that have come over it, whether or not anybody has read them; 0 when nobody can tell.

    Fewer questions than for the others, for this is asked often.
    """
    return traffic(fd)[1]


def traffic(fd: int) -> tuple[int, int]:
    """Bytes that the other end has from here, and those that have come from it; as `received`."""
    if sys.platform != "linux":
        return 0, 0
    try:
        with socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM) as connection:
            about = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED + 16)
    except OSError:  # it is no connection (any more)
        return 0, 0
    if len(about) < _ACKED + 16:
        return 0, 0
    acked, received = struct.unpack_from("=QQ", about, _ACKED)
    return int(acked), int(received)


_ACKED = 120  # where tcpi_bytes_acked is in Linux's struct tcp_info; tcpi_bytes_received follows


@contextlib.contextmanager
def _connection(fd: int) -> Iterator[socket.socket]:
    copy = os.dup(fd)  # libzmq keeps, and closes, its own
    try:
        if not stat.S_ISSOCK(os.fstat(copy).st_mode):
            raise OSError("this is no connection")
        with socket.fromfd(copy, socket.AF_INET, socket.SOCK_STREAM) as connection:
            yield connection
    finally:
        os.close(copy)
