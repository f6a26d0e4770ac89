"""Real sockets on loopback: who has no key of this port gets nowhere, and who leaves is told."""

from __future__ import annotations

import contextlib
import os
import socket as plain
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import zmq
from zmq.utils.garbage import gc as zero_copy_thread

from enginery.net import monitors, sockets
from enginery.net.auth import Authenticator
from enginery.net.keys import ConnectionFile, KeyPair, Keys
from enginery.net.reception import Reception
from enginery.wire.pieces import PIECE
from tests.testbeds.proxy import Faults, Proxy

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which something that must happen has not happened."""


HERE = ("127.0.0.1", "")
"""What is told of a peer's address, or nothing when it hung up before it was looked at."""


@dataclass
class Server:
    """A controller's sockets: two ports, two domains, and perhaps somebody who checks keys."""

    context: sockets.Context
    keys: Keys
    auth: Authenticator | None
    engines: sockets.Peer
    clients: sockets.Peer
    ports: dict[str, int]
    monitors: dict[str, sockets.Monitor]
    refused: list[tuple[str, str]] = field(default_factory=list)
    told: list[sockets.Event] = field(default_factory=list)
    messages: list[tuple[bytes, str, int, list[Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.read = [self.engines, self.clients]

    def turn(self) -> None:
        """What a controller's loop does in one turn."""
        if self.auth is not None:
            self.refused += self.auth.handle()
        for monitor in self.monitors.values():
            while (event := sockets.monitor_event(monitor)) is not None:
                self.told.append(event)
        for socket in self.read:
            while (arrived := sockets.recv(socket)) is not None:
                self.messages.append(arrived)

    def wait(self, look: Callable[[], T], extra: Any = ()) -> T:
        """Serve until `look` gives something true, and give that."""
        poller = zmq.Poller()
        for socket in (self.engines, self.clients, *self.monitors.values(), *extra):
            poller.register(socket, zmq.POLLIN)
        if self.auth is not None:
            poller.register(self.auth.socket, zmq.POLLIN)
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            left = deadline - time.monotonic()
            assert left > 0, f"nothing within {PATIENCE} s; told {self.told}"
            poller.poll(left * 1000)
            self.turn()
        return found

    def heard(self, text: bytes) -> tuple[bytes, str, int, list[Any]]:
        """The message with this first frame, once it is there."""
        return self.wait(lambda: next((m for m in self.messages if m[3][0] == text), None))

    def hears(self, kind: type[T], fd: int | None = None) -> T:
        """The first event of this kind (about this descriptor), once it is there."""

        def look() -> Any:
            of_kind = (e for e in self.told if isinstance(e, kind))
            return next((e for e in of_kind if fd is None or getattr(e, "fd", fd) == fd), None)

        return self.wait(look)

    def file(self, role: Any, **changed: Any) -> ConnectionFile:
        """A connection file of a role, with some of it changed."""
        port = self.ports["engines" if role == "engine" else "clients"]
        pair = self.keys.pair(role)
        fields = {
            "role": role,
            "url": f"tcp://127.0.0.1:{port}",
            "server_key": self.keys.server.public.decode(),
            "public_key": pair.public.decode(),
            "secret_key": pair.secret.decode(),
        }
        return ConnectionFile(**(fields | changed))


@dataclass
class Guest:
    """A peer that uses the same sockets as engines and clients do, and notes what it is told."""

    socket: sockets.Peer
    monitor: sockets.Monitor
    told: list[sockets.Event] = field(default_factory=list)

    def hears(self, server: Server, kind: type[T], times: int = 1) -> T:
        """The last of so many events of this kind, once they are there; the server serves."""

        def look() -> Any:
            while (event := sockets.monitor_event(self.monitor)) is not None:
                self.told.append(event)
            found = [event for event in self.told if isinstance(event, kind)]
            return found[times - 1] if len(found) >= times else None

        return server.wait(look, [self.monitor])

    def receives(self, server: Server) -> list[Any]:
        """The next message, once it is there."""
        return server.wait(lambda: sockets.recv_frames(self.socket), [self.socket])


@contextlib.contextmanager
def serving(checked: bool = True) -> Iterator[Server]:
    """A server on loopback; without `checked` nobody checks keys."""
    context, keys = sockets.new_context(), Keys.create()
    clients = {keys.public("client"): "client", keys.public("task"): "task"}
    allowed = {"engines": {keys.public("engine"): "engine"}, "clients": clients}
    auth = Authenticator(context, allowed) if checked else None
    engines, engine_port = sockets.router(context, keys.server, "engines", "127.0.0.1")
    clients_socket, client_port = sockets.router(context, keys.server, "clients", "127.0.0.1")
    ports = {"engines": engine_port, "clients": client_port}
    monitors = {"engines": sockets.monitor(engines), "clients": sockets.monitor(clients_socket)}
    try:
        yield Server(context, keys, auth, engines, clients_socket, ports, monitors)
    finally:
        context.destroy(linger=0)
        zero_copy_thread.stop()  # pyzmq starts it for the first frame that is not copied


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def guest() -> Iterator[Callable[[ConnectionFile], Guest]]:
    context = sockets.new_context()

    def connect(file: ConnectionFile) -> Guest:
        return Guest(*sockets.dealer(context, file))

    yield connect
    context.destroy(linger=0)


def strange(server: Server, guest: Any) -> Guest:
    """A guest with the key of some other cluster."""
    pair = KeyPair.create()
    keys = {"public_key": pair.public.decode(), "secret_key": pair.secret.decode()}
    return guest(server.file("engine", **keys))  # type: ignore[no-any-return]


# --- who gets in ------------------------------------------------------------------------------


def test_a_key_gives_its_role_to_every_message(server, guest):
    engine, task = guest(server.file("engine")), guest(server.file("task"))
    for one, name in ((engine, b"engine"), (task, b"task")):
        one.hears(server, sockets.Up)
        assert sockets.send(one.socket, [name])
        assert sockets.send(one.socket, [name + b" again", b"x"])
    for domain, role in (("engines", "engine"), ("clients", "task")):
        for text in (role.encode(), role.encode() + b" again"):
            _conn, user, _fd, _frames = server.heard(text)
            assert user == server.keys.public(role).decode()
            assert server.auth.role(domain, user) == role
    assert server.auth.role("engines", server.keys.public("task").decode()) is None
    assert server.auth.role("elsewhere", server.keys.public("task").decode()) is None
    assert server.auth.role("engines", "") is None
    assert server.refused == []


def test_an_unknown_key_is_refused(server, guest):
    stranger = strange(server, guest)
    assert stranger.hears(server, sockets.Failed).kind == "refused"
    assert server.refused == [("127.0.0.1", "a key that this cluster does not know")]
    assert server.hears(sockets.Refused).address in HERE
    assert not sockets.send(stranger.socket, [b"let me in"])
    assert server.messages == []


def test_a_key_of_the_other_port_is_refused(server, guest):
    url = f"tcp://127.0.0.1:{server.ports['clients']}"
    intruder = guest(server.file("engine", url=url))
    assert intruder.hears(server, sockets.Failed).kind == "refused"
    assert server.refused == [
        ("127.0.0.1", "a key of role 'engine', which is for the engines port")
    ]
    other = guest(server.file("client", url=f"tcp://127.0.0.1:{server.ports['engines']}"))
    assert other.hears(server, sockets.Failed).kind == "refused"
    assert not any(isinstance(e, sockets.Up) for e in intruder.told + other.told)


def test_a_controller_with_another_key_is_refused(server, guest):
    misled = guest(server.file("engine", server_key=KeyPair.create().public.decode()))
    assert misled.hears(server, sockets.Failed).kind == "wrong-server"
    left = server.hears(sockets.Left)
    assert (left.refused, left.address in HERE) == (False, True)  # libzmq is not asked why
    assert server.refused == []  # it never comes to the question whether its key is good
    assert not sockets.send(misled.socket, [b"let me in"])


def test_a_peer_without_curve_is_refused(server, guest):
    context = sockets.new_context()
    try:
        peer = context.socket(zmq.DEALER, socket_class=sockets.Peer)
        visitor = Guest(peer, sockets.monitor(peer))
        peer.connect(f"tcp://127.0.0.1:{server.ports['engines']}")
        visitor.hears(server, sockets.Failed)
        assert server.hears(sockets.Left).address in HERE
        assert server.messages == []
    finally:
        context.destroy(linger=0)


def test_a_controller_without_curve_is_refused(server, guest):
    context = sockets.new_context()
    try:
        plain_router = context.socket(zmq.ROUTER)
        port = plain_router.bind_to_random_port("tcp://127.0.0.1")
        visitor = guest(server.file("engine", url=f"tcp://127.0.0.1:{port}"))
        assert visitor.hears(server, sockets.Failed).kind in ("no-curve", "wrong-server")
        assert not sockets.send(visitor.socket, [b"my secrets"])
    finally:
        context.destroy(linger=0)


def test_who_was_answered_nonsense_tries_again(server, guest):
    """libzmq would not, and a network that flips one bit has said nonsense."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as strange:
        port = strange.bind_to_random_port("tcp://127.0.0.1")
        engine = guest(server.file("engine", url=f"tcp://127.0.0.1:{port}"))
        engine.hears(server, sockets.Failed)
    late, _ = sockets.router(server.context, server.keys.server, "engines", "127.0.0.1", port)
    try:

        def up() -> bool:
            engine.monitor.retry()
            while (event := sockets.monitor_event(engine.monitor)) is not None:
                engine.told.append(event)
            return isinstance(engine.told[-1], sockets.Up)

        deadline = time.monotonic() + PATIENCE
        poller = zmq.Poller()
        for source in (engine.monitor, server.auth.socket):
            poller.register(source, zmq.POLLIN)
        while not up():
            assert time.monotonic() < deadline
            rest = monitors.rest([engine.monitor], 1.0)
            poller.poll(rest * 1000)
            server.auth.handle()
    finally:
        late.close()


def test_a_broken_message_costs_one_connection(server, guest):
    with closing(Proxy(server.ports["engines"])) as proxy:
        engine = guest(server.file("engine", url=f"tcp://127.0.0.1:{proxy.port}"))
        engine.hears(server, sockets.Up)
        assert sockets.send(engine.socket, [b"hello"])
        conn = server.heard(b"hello")[0]
        proxy.faults = Faults(flips=1.0)
        assert sockets.send(server.engines, [b"to be broken"], conn)
        engine.hears(server, sockets.Down)
        proxy.faults = Faults()
        while engine.monitor.retry_at is not None:
            # A bit in the head of its frame says nothing; then a heartbeat was the broken one.
            assert sockets.recv_frames(engine.socket) in (None, [b"to be broken"])
            engine.monitor.retry()
        engine.hears(server, sockets.Up, times=2)
        assert sockets.recv_frames(engine.socket) is None


class Twice(Proxy):
    """Once it is `on`, all that comes is passed on, and passed on again."""

    on = False

    def _flip(self, data: bytes) -> bytes:
        return data * 2 if self.on else data


def test_who_says_again_what_was_said_is_cut_off_at_once(server, guest):
    """And not merely not read any more: libzmq 4.3.5 does that when it also reports the mistake.

    Then it needs no more than that the connection breaks, and it ends this process.
    """
    with closing(Twice(server.ports["engines"])) as proxy:
        engine = guest(server.file("engine", url=f"tcp://127.0.0.1:{proxy.port}"))
        engine.hears(server, sockets.Up)
        assert sockets.send(engine.socket, [b"hello"])
        server.heard(b"hello")
        proxy.on = True
        began = time.monotonic()
        assert sockets.send(engine.socket, [b"hello again"])
        server.hears(sockets.Left)
        assert time.monotonic() - began < sockets.SILENCE / 2000
        assert len(server.messages) <= 2


def test_garbage_does_not_disturb_others(server, guest):
    engine = guest(server.file("engine"))
    engine.hears(server, sockets.Up)
    address = ("127.0.0.1", server.ports["engines"])
    rubbish = [b"GET / HTTP/1.0\r\n\r\n" * 20, b"\xff" + bytes(8) + b"\x7f\x03", os.urandom(4000)]
    for bytes_ in rubbish:
        before = len([e for e in server.told if isinstance(e, sockets.Left)])
        with plain.create_connection(address) as raw:
            raw.sendall(bytes_)
            with contextlib.suppress(OSError):  # it has been hung up on already
                raw.shutdown(plain.SHUT_WR)
            server.wait(
                lambda n=before: len([e for e in server.told if isinstance(e, sockets.Left)]) > n
            )
    assert sockets.send(engine.socket, [b"still here"])
    server.heard(b"still here")
    assert [m[3] for m in server.messages] == [[b"still here"]]
    assert not any(isinstance(event, sockets.Down) for event in engine.told)


def test_nobody_gets_in_when_nobody_checks_keys(guest):
    with serving(checked=False) as server:
        engine = guest(server.file("engine"))
        assert server.hears(sockets.Refused).reason == "nobody here checks keys"
        assert not sockets.send(engine.socket, [b"let me in"])
        assert not isinstance(sockets.monitor_event(engine.monitor), sockets.Up)
        assert server.messages == []


def test_nobody_gets_in_when_who_checks_keys_has_ended(server, guest):
    first = guest(server.file("engine"))
    first.hears(server, sockets.Up)
    server.auth.close()
    server.auth = None
    second = guest(server.file("engine"))
    assert server.hears(sockets.Refused).reason == "nobody here checks keys"
    assert not isinstance(sockets.monitor_event(second.monitor), sockets.Up)
    assert sockets.send(first.socket, [b"I was here before"])
    server.heard(b"I was here before")


def test_nothing_listens(guest, server):
    with plain.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    lost = guest(server.file("engine", url=f"tcp://127.0.0.1:{port}"))
    assert lost.hears(server, sockets.Failed).kind == "unreachable"


# --- who is who -------------------------------------------------------------------------------


def test_a_chosen_routing_id_takes_nothing_from_others(server, guest):
    first = guest(server.file("engine"))
    first.hears(server, sockets.Up)
    sockets.send(first.socket, [b"first"])
    conn = server.heard(b"first")[0]
    assert len(conn) == 5
    assert conn[0] == 0  # made by the router; no program can choose one that begins so
    context = sockets.new_context()
    try:
        owner = _with_routing_id(context, server.file("engine"), b"chosen")
        owner.hears(server, sockets.Up)
        assert sockets.send(owner.socket, [b"mine"])
        assert server.heard(b"mine")[0] == b"chosen"
        thief = _with_routing_id(context, server.file("engine"), b"chosen")
        thief.hears(server, sockets.Up)
        assert sockets.send(thief.socket, [b"no, mine"])
        assert sockets.send(server.engines, [b"for its owner"], b"chosen")
        assert sockets.send(server.engines, [b"for first"], conn)
        assert owner.receives(server) == [b"for its owner"]
        assert first.receives(server) == [b"for first"]
        assert sockets.recv_frames(thief.socket) is None
        assert [m[3] for m in server.messages] == [[b"first"], [b"mine"]]
    finally:
        context.destroy(linger=0)


def _with_routing_id(context: sockets.Context, file: ConnectionFile, name: bytes) -> Guest:
    socket = context.socket(zmq.DEALER, socket_class=sockets.Peer)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.ROUTING_ID, name)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.CURVE_SERVERKEY, file.server_key.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, file.public_key.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, file.secret_key.encode())
    monitor = sockets.monitor(socket)
    socket.connect(file.url)
    return Guest(socket, monitor)


def test_a_dropped_peer_is_told_and_comes_back_as_another(server, guest):
    engine = guest(server.file("engine"))
    engine.hears(server, sockets.Up)
    sockets.send(engine.socket, [b"hello"])
    conn, _, fd, _ = server.heard(b"hello")
    assert server.hears(sockets.Joined) == sockets.Joined(fd, "127.0.0.1")
    assert sockets.send(server.engines, [b"welcome"], conn)
    assert engine.receives(server) == [b"welcome"]
    assert sockets.drop(fd)
    assert server.hears(sockets.Left, fd) == sockets.Left(fd, "127.0.0.1")
    engine.hears(server, sockets.Down)
    engine.hears(server, sockets.Up, times=2)
    assert sockets.send(engine.socket, [b"hello again"])
    again, *_ = server.heard(b"hello again")
    assert again != conn
    assert not sockets.send(server.engines, [b"are you there?"], conn)
    assert sockets.send(server.engines, [b"welcome back"], again)
    assert engine.receives(server) == [b"welcome back"]


@pytest.fixture
def reception(server: Server) -> Iterator[Reception]:
    """That of the engines' port, which nobody else reads."""
    server.monitors.pop("engines").close()
    server.read = [server.clients]
    reception = Reception(server.engines)
    yield reception
    reception.close()


@pytest.mark.parametrize("late", [True, False], ids=["reports late", "at once"])
def test_each_connection_is_told_to_be_gone_once_and_never_too_early(
    server, guest, reception, late
):
    """Descriptors are used again at once, by peers and by strangers."""
    peers = [guest(server.file("engine")) for _ in range(3)]
    address = ("127.0.0.1", server.ports["engines"])
    present: set[bytes] = set()
    gone: list[bytes] = []

    def look(there: int, told: int) -> bool:
        reception.guard()
        while (arrived := reception.recv()) is not None:
            assert arrived[0] not in present.union(gone)
            present.add(arrived[0])
        for conn in reception.left():
            present.remove(conn)
            gone.append(conn)
        return len(present) == there and len(gone) == told

    for n in range(1, 21):
        for peer in peers:
            peer.hears(server, sockets.Up, times=n)
            assert sockets.send(peer.socket, [b"hello"])
            if late:  # new connections are heard before the reports about the old ones are read
                assert server.engines.poll(PATIENCE * 1000)
        server.wait(lambda n=n: look(there=3, told=3 * (n - 1)), [reception.monitor])
        for conn in present:
            assert sockets.send(server.engines, [b"you are there"], conn)
            assert reception.drop(conn)
            plain.create_connection(address).close()
        if not late:
            server.wait(lambda n=n: look(there=0, told=3 * n), [reception.monitor])
    assert len(set(gone)) == len(gone)
    assert not reception.drop(gone[0])


def test_who_spoke_and_left_before_it_was_heard_is_told_to_be_gone(server, guest, reception):
    peer = guest(server.file("engine"))
    peer.hears(server, sockets.Up)
    assert sockets.send(peer.socket, [b"hello"])
    assert server.engines.poll(PATIENCE * 1000)
    reception.look()  # while it is there: of who comes and goes at one look no refusal is told
    peer.monitor.close()
    peer.socket.close()

    def reported() -> bool:
        reception.look()
        return bool(reception.refused)  # as somebody who has not said a word

    server.wait(reported, [reception.monitor])
    conn, *_ = reception.recv()
    assert reception.recv() is None
    assert reception.left() == [conn]
    assert reception.gone(conn)


def test_it_is_known_that_somebody_is_still_to_be_told_to_be_gone(server, guest, reception):
    """Where reading stops after a message with which somebody else was heard first."""
    peer = guest(server.file("engine"))
    peer.hears(server, sockets.Up)
    assert sockets.send(peer.socket, [b"hello"])
    server.wait(lambda: server.engines.poll(0))
    before, *_ = reception.recv()
    assert not reception.unsettled
    assert reception.drop(before)
    peer.hears(server, sockets.Up, times=2)
    assert sockets.send(peer.socket, [b"hello again"])
    server.wait(lambda: server.engines.poll(0))
    assert reception.recv()[3] == [b"hello again"]
    assert reception.unsettled
    assert reception.left() == []
    assert reception.recv() is None
    assert reception.left() == [before]
    assert not reception.unsettled


def test_dropping_what_is_no_connection_does_nothing():
    read, write = os.pipe()
    assert not sockets.drop(read)
    os.close(read)
    os.close(write)
    assert not sockets.drop(read)


def test_who_is_not_there_cannot_be_reached(server, guest):
    assert not sockets.send(server.engines, [b"anyone?"], b"\0abcd")
    engine = guest(server.file("engine"))
    assert not sockets.send(engine.socket, [b"too early"])  # it is not queued until there is one
    engine.hears(server, sockets.Up)
    assert sockets.send(engine.socket, [b"now"])
    server.heard(b"now")
    assert [m[3] for m in server.messages] == [[b"now"]]


# --- bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, sockets.LARGE - 1, sockets.LARGE, PIECE])
def test_frames_arrive_as_they_were_sent(server, guest, size):
    engine = guest(server.file("engine"))
    engine.hears(server, sockets.Up)
    data = os.urandom(size)
    assert sockets.send(engine.socket, [b"batch", memoryview(data), bytearray(data), b""])
    conn, _, _, frames = server.heard(b"batch")
    assert [bytes(frame) for frame in frames] == [b"batch", data, data, b""]
    assert [type(frame) for frame in frames[1:3]] == [
        bytes if size < sockets.LARGE else memoryview
    ] * 2
    assert all(f.readonly for f in frames if isinstance(f, memoryview))
    trackers: list[zmq.MessageTracker] = []
    assert sockets.send(server.engines, [data], conn, trackers)
    assert engine.receives(server) == [data]
    assert len(trackers) == (size >= sockets.LARGE)
    for tracker in trackers:
        tracker.wait(PATIENCE)


def test_a_frame_that_is_too_large_ends_its_connection(guest):
    context, keys = sockets.new_context(), Keys.create()
    auth = Authenticator(context, {"engines": {keys.public("engine"): "engine"}})
    socket, port = sockets.router(context, keys.server, "engines", "127.0.0.1", max_frame=1000)
    monitors = {"engines": sockets.monitor(socket)}
    other = context.socket(zmq.ROUTER, socket_class=sockets.Peer)
    server = Server(context, keys, auth, socket, other, {"engines": port}, monitors)
    try:
        engine = guest(server.file("engine"))
        engine.hears(server, sockets.Up)
        sockets.send(engine.socket, [bytes(5000)])
        engine.hears(server, sockets.Down)
        assert server.messages == []
    finally:
        context.destroy(linger=0)


def test_a_taken_port_is_told(server):
    with pytest.raises(zmq.ZMQError, match="in use"):
        sockets.router(
            server.context, server.keys.server, "engines", "127.0.0.1", server.ports["engines"]
        )


# --- monitors ---------------------------------------------------------------------------------


def test_strangers_cannot_stop_a_controller_that_does_not_look(server, guest):
    """libzmq's thread waits while a monitor is full: it must never be."""
    engine = guest(server.file("engine"))
    engine.hears(server, sockets.Up)
    for _ in range(1500):  # four reports each; two thousand fill a monitor with default marks
        plain.create_connection(("127.0.0.1", server.ports["engines"])).close()
    assert sockets.send(engine.socket, [b"still here"])
    assert server.engines.poll(PATIENCE * 1000)
    server.heard(b"still here")


def _until_asked(server: Server, monitor: sockets.Monitor) -> None:
    """Until the socket of this monitor has asked in vain whether a key is good."""

    def look() -> bool:
        return isinstance(sockets.monitor_event(monitor), sockets.Refused)

    server.wait(look, [monitor])


@pytest.mark.parametrize("first", ["socket", "monitor", "context"])
def test_closing_in_any_order_leaves_others_alone(server, guest, first):
    """libzmq's thread would wait for ever for a monitor that was closed under it."""
    context = sockets.new_context()
    try:
        for _ in range(5):
            listening, port = sockets.router(context, server.keys.server, "engines", "127.0.0.1")
            pairs = [
                sockets.dealer(context, server.file("engine")),
                (listening, sockets.monitor(listening)),
            ]
            Guest(*pairs[0]).hears(server, sockets.Up)
            url = f"tcp://127.0.0.1:{port}"
            guest(server.file("engine", url=url))  # nobody answers, and its handshake stays open
            _until_asked(server, pairs[1][1])
            if first == "context":
                context.destroy(linger=100)
                context = sockets.new_context()
            for pair in pairs:
                for one in pair if first == "socket" else reversed(pair):
                    one.close()
        Guest(*sockets.dealer(context, server.file("engine"))).hears(server, sockets.Up)
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("kind", ["eventfd", "pipe"])
def test_a_wakeup_wakes_until_it_is_cleared(kind, monkeypatch):
    if kind == "pipe":
        monkeypatch.delattr(os, "eventfd", raising=False)
    wakeup, poller = sockets.Wakeup(), zmq.Poller()
    poller.register(wakeup.fileno(), zmq.POLLIN)
    assert not poller.poll(0)
    wakeup.clear()
    for _ in range(3):
        wakeup.set()
    assert dict(poller.poll(1000)) == {wakeup.fileno(): zmq.POLLIN}
    wakeup.clear()
    assert not poller.poll(0)
    wakeup.close()
    wakeup.close()
    wakeup.set()
    assert wakeup.fileno() == -1
