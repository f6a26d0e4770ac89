"""Every socket of the package is made here, with every option that matters set by hand.

What libzmq does by default is wrong for us in several places, each of them tried:

* a CURVE server without an authenticator lets every key in, unless its ZAP domain is enforced;
* a ROUTER drops messages in silence when a peer is slow or gone, unless routing is mandatory, and
  lets a stranger take over a peer's routing id, unless handover is off;
* a receive pipe that is full stops the answering of heartbeats, so that a busy peer looks dead:
  high-water marks are 0 here, and what is under way is bounded in the cores, by credit and hwm;
* a reconnect waits for the kernel's own patience, many seconds, unless connecting has a timeout;
* a monitor that is full, or closed too early, stops libzmq's thread for ever (`monitors`);
* a DEALER that queues nothing for who is not there also forgets, when a connection ends, what came
  on it and was not read yet: who has the last word leaves last (`core.farewell`).
"""

from __future__ import annotations

import errno
import socket as plain
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, TypeAlias

import zmq

from .descriptors import drop, received, traffic
from .keys import ConnectionFile, KeyPair
from .monitors import Down, Event, Failed, Joined, Left, Monitor, Peer, Refused, Up, monitor_event
from .wakeup import Wakeup

__all__ = [
    "Down", "Event", "Failed", "Joined", "Left", "Monitor", "Peer", "Refused", "Up", "Wakeup",
    "authenticator", "dealer", "drop", "hostname", "kept_port", "local_end",
    "monitor", "monitor_event", "new_context", "own_address",
    "queue_end", "received", "recv", "recv_frames", "router", "send", "traffic", "written",
]  # fmt: skip

Context: TypeAlias = "zmq.Context[Any]"

LARGE = 65536
"""Bytes from which a frame is handed over instead of being copied, both ways."""

MAX_FRAME = (1 << 17) + 4096
"""Bytes of the largest frame that is let in: a piece (`wire.pieces`) and what CURVE adds to it."""

HEARTBEAT = 600
"""Milliseconds between two heartbeats; libzmq's thread sends and answers them."""

SILENCE = 3600
"""Milliseconds from a heartbeat without a sign of life after which a connection is given up.

A network that was gone for 2 seconds must not cost a connection: TCP tries again after 0.2, 0.6,
1.4 and 3 seconds. And what is gone for longer is to be noticed within 5, so that an engine is given
up within 6 (`core.engines.AWAY`). Up to two heartbeats come on top of this: where it is cut off in
one direction only, a last one still comes from there, and then ours has to become due.
"""

ZAP = "inproc://zeromq.zap.01"
"""Where libzmq asks whether a key is good."""

# Plain numbers: arithmetic with zmq's own costs more than the calls that it is for.
_NOW = int(zmq.NOBLOCK)
_MORE_COMES = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_SRCFD = int(zmq.SRCFD)


def hostname() -> str:
    """What this host calls itself."""
    return plain.gethostname()


def new_context(io_threads: int = 1) -> Context:
    """A context whose sockets do not wait for unsent messages when they close."""
    context: Context = zmq.Context(io_threads)
    context.set(zmq.BLOCKY, 0)
    return context


# --- making them ------------------------------------------------------------------------------


def router(
    context: Context,
    keys: KeyPair,
    domain: str,
    ip: str,
    port: int = 0,
    *,
    max_frame: int = MAX_FRAME,
    ahead: int = 0,
) -> tuple[Peer, int]:
    """A listening ROUTER and its port; `port` 0 takes a free one.

    `ahead` messages at most (0: any number) wait for a peer that does not read; it gets no more.
    Nobody gets in whose key an `Authenticator` of this context does not allow in this `domain`.
    Raises zmq.ZMQError when the address cannot be had.
    """
    socket: Peer = context.socket(zmq.ROUTER, socket_class=Peer)
    try:
        _set_common(socket, max_frame)
        socket.setsockopt(zmq.SNDHWM, ahead)
        _serve_curve(socket, keys, domain)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # who is gone or slow is told, not forgotten
        socket.setsockopt(zmq.ROUTER_HANDOVER, 0)  # a routing id belongs to who had it first
        socket.setsockopt(zmq.BACKLOG, 1024)  # the engines of a batch job arrive all at once
        return socket, _bind(socket, ip, port)
    except zmq.ZMQError:
        socket.close()
        raise


def queue_end(
    context: Context, kind: int, keys: KeyPair, domain: str, *, ip: str, ahead: int = 0
) -> tuple[Peer, int]:
    """One end of a queue that libzmq itself serves (`farm`), and its port, any free one.

    `ahead` messages at most (0: any number) are on their way to one peer from here. There are no
    heartbeats: a pipe that is full would not answer them.
    """
    socket: Peer = context.socket(kind, socket_class=Peer)
    _set_common(socket, MAX_FRAME, heartbeats=False)
    socket.setsockopt(zmq.SNDHWM, ahead)
    _serve_curve(socket, keys, domain)
    return socket, _bind(socket, ip, 0)


def dealer(
    context: Context,
    file: ConnectionFile,
    max_frame: int = MAX_FRAME,
    *,
    ahead: int = 0,
    heartbeats: bool = True,
) -> tuple[Peer, Monitor]:
    """A DEALER that connects to the controller of this file, and again whenever it must.

    With its monitor, which is there before the first connection, so that it misses none.
    It has no routing id of its own: the ROUTER makes a new one for each connection.
    `ahead` messages at most (0: any number) wait here to be read.
    """
    socket: Peer = context.socket(zmq.DEALER, socket_class=Peer)
    _set_common(socket, max_frame, heartbeats)
    socket.setsockopt(zmq.RCVHWM, ahead)
    socket.setsockopt(zmq.CURVE_SERVERKEY, file.server_key.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, file.public_key.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, file.secret_key.encode())
    socket.setsockopt(zmq.CONNECT_TIMEOUT, Monitor.CONNECT_TIMEOUT)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    socket.setsockopt(zmq.IPV6, int("[" in file.url))
    watch = monitor(socket)
    watch.url = file.url
    socket.connect(file.url)
    return socket, watch


def written(ip: str) -> str:
    """How an address is written in a URL."""
    return f"[{ip}]" if ":" in ip else ip


def own_address(url: str) -> str:
    """By which address of this host a controller is reached; "" when that is loopback, or none."""
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    try:
        family, kind, _, _, address = plain.getaddrinfo(
            host.strip("[]"), int(port), type=plain.SOCK_DGRAM
        )[0]
        with plain.socket(family, kind) as asking:
            asking.connect(address)  # which sends nothing
            ours = str(asking.getsockname()[0])
    except (OSError, UnicodeError):
        return ""
    return "" if ip_address(ours.partition("%")[0]).is_loopback else ours


def local_end(context: Context, kind: int, path: str) -> Peer:
    """A listening socket in the file system, for who may enter the directory of `path`.

    Raises zmq.ZMQError when it cannot be had.
    """
    socket: Peer = context.socket(kind, socket_class=Peer)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.SNDHWM, 10_000)  # for a peer that does not read; the rest is dropped
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.bind(f"ipc://{path}")
    except zmq.ZMQError:
        socket.close()
        raise
    return socket


def _serve_curve(socket: Peer, keys: KeyPair, domain: str) -> None:
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def _bind(socket: Peer, ip: str, port: int) -> int:
    """Listen; gives the port."""
    socket.setsockopt(zmq.IPV6, int(":" in ip))
    socket.bind(f"tcp://{written(ip)}:{port or '*'}")
    return int(socket.get_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def _set_common(socket: Peer, max_frame: int, heartbeats: bool = True) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for who is not there
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, max_frame)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
    if heartbeats:
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE)


def monitor(socket: Peer) -> Monitor:
    """What tells who came and went at this socket: pollable, read with `monitor_event`."""
    pair: Monitor = socket.context.socket(zmq.PAIR, socket_class=Monitor)
    pair.setsockopt(zmq.LINGER, 0)
    pair.setsockopt(zmq.RCVHWM, 0)  # where it is full, libzmq's thread waits
    pair.watch(socket)
    return pair


def authenticator(context: Context) -> Peer:
    """The REP socket at which libzmq asks whether a key is good; there can be one per context."""
    socket: Peer = context.socket(zmq.REP, socket_class=Peer)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.bind(ZAP)
    return socket


def kept_port(ip: str) -> plain.socket:
    """A port that nobody else gets as long as this is open, but who listens there by SO_REUSEADDR.

    Raises OSError when there is none.
    """
    ours = plain.socket()
    ours.setsockopt(plain.SOL_SOCKET, plain.SO_REUSEADDR, 1)
    ours.bind((ip, 0))
    return ours


# --- using them -------------------------------------------------------------------------------


def recv(socket: Peer) -> tuple[bytes, str, int, list[Any]] | None:
    """What has arrived at a ROUTER: connection, public key, descriptor, frames; None for nothing.

    Frames are as in `recv_frames`.
    """
    try:
        head = socket.recv(_NOW, copy=False)
    except zmq.Again:
        return None
    try:
        user = str(head.get("User-Id"))
    except zmq.ZMQError:  # authenticated peers have one; this one gets the role of nobody
        user = ""
    return head.bytes, user, int(head.get(_SRCFD)), recv_frames(socket) or []


def readable(socket: Peer) -> bool:
    """Whether something has arrived; cheaper than to find out by `recv_frames`."""
    return bool(socket.getsockopt(_EVENTS) & _POLLIN)  # type: ignore[operator]


def recv_frames(socket: Peer) -> list[Any] | None:
    """What has arrived at a DEALER, or None.

    The first frame is bytes: it is decoded at once. Of the others, those from `LARGE` bytes up are
    read-only memoryviews of the memory into which they were received.
    """
    try:
        frame = socket.recv(_NOW, copy=False)  # which tells of more at less cost than the socket
    except zmq.Again:
        return None
    frames: list[Any] = [frame.bytes]
    while frame.more:
        frame = socket.recv(_NOW, copy=False)
        large = len(frame) >= LARGE
        frames.append(frame.buffer.toreadonly() if large else frame.bytes)
    return frames


def send(
    socket: Peer,
    frames: Sequence[Any],
    conn: bytes | None = None,
    trackers: list[zmq.MessageTracker] | None = None,
) -> bool:
    """Send one message, from a ROUTER to `conn`; False when that cannot be, and nothing is kept.

    Large frames are not copied: they must not change until they are sent, which `trackers` (one is
    added for each) tell. True promises nothing: a connection that breaks takes with it what is
    under way.
    """
    parts = frames if conn is None else (conn, *frames)
    last = len(parts) - 1
    reached = True
    for i, part in enumerate(parts):
        flags = _MORE_COMES if i < last else _NOW
        try:
            if type(part) is bytes and len(part) < LARGE:
                socket.send(part, flags)
            else:
                _send_large(socket, part, flags, trackers)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EAGAIN, errno.EHOSTUNREACH):
                raise
            if i == 0:
                # libzmq looks for a new connection only now and then, unless it is asked.
                can = conn is None and int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT
                return bool(can) and send(socket, frames, conn, trackers)
            # The connection broke between two frames. libzmq now swallows frames to the end of
            # this message: it must get that end, or it would swallow the next message instead.
            reached = False
    return reached


def _send_large(
    socket: Peer, part: Any, flags: int, trackers: list[zmq.MessageTracker] | None
) -> None:
    if memoryview(part).nbytes < LARGE:
        socket.send(part, flags)
    elif trackers is None:
        socket.send(part, flags, copy=False)
    else:
        tracker = socket.send(part, flags, copy=False, track=True)
        if tracker is not None:
            trackers.append(tracker)
