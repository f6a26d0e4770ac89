"""The controller process: it carries out what `core.controller` decides, and decides nothing.

One loop: read all that has arrived, feed the core, write what it said, one message per peer and
turn. Two ROUTERs (clients', engines'), each with a monitor that tells who left, a ZAP handler that
tells whose key is good. A message is bytes from start to end: nothing here can unpickle, and an
audit hook makes sure of it.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import zmq

from .. import log
from ..core import messages as m
from ..core.ahead import meant
from ..core.controller import Controller, Farm, Limits
from ..core.events import (
    Append,
    Closed,
    Conn,
    Consult,
    Drop,
    Effect,
    Log,
    Measured,
    Received,
    Send,
    Stop,
    Trim,
)
from ..core.journal import Journal as Notes
from ..core.laws import BrokenLaw
from ..core.replay import Replay
from ..core.roles import MOST
from ..error import ClusterError, MemoryUnavailable, ProtocolError, VersionMismatch
from ..net import sockets
from ..net.auth import Authenticator
from ..net.bell import Bell, heeded
from ..net.farm import Farm as NetFarm
from ..net.keys import ConnectionFile, Keys
from ..net.owner import Owner
from ..net.reception import Reception
from ..net.usage import usage
from ..schemes import LeastLoad, Scheme
from ..version import __version__
from ..wire import codec
from ..wire.memory.keeper import Keeper
from .catalogue import PURE, known, make
from .config import ControllerConfig
from .journal import Found, Journal
from .scale import Scale
from .store.child import Child

TURN = 1000
"""Messages read from one socket before the others have their turn."""

TURN_BYTES = 8 << 20
"""The same in bytes: what follows from a message may be larger than it is."""

QUESTIONS = 8
"""Questions that are answered in one turn; the answers, which may be large, leave before others."""

COMPLAINTS = 60.0
"""Seconds between two log lines about the same peer's nonsense."""

CLIENTS, ENGINES = "clients", "engines"


class Port(Reception):
    """One listening socket: connections of all ports are told apart by a prefix."""

    def __init__(self, name: str, socket: sockets.Peer, number: int) -> None:
        super().__init__(socket)
        self.name = name
        self.number = number
        self.prefix = name[:1].encode()
        self.backlog: deque[tuple[bytes, str, m.Message]] = deque()  # read, for the next turns


class Service:
    """The sockets and the loop round one `Controller`."""

    def __init__(self, config: ControllerConfig) -> None:
        self.config = config
        self.logger = logging.getLogger("enginery.controller")
        self.started = time.time()
        self.now = steady_clock(self.started)
        limits = Limits(
            hwm=meant(config.hwm),
            crash_limit=config.crash_limit,
            record_limit=config.record_limit,
            record_bytes=config.record_bytes,
            budget=config.queue_bytes,
            queue=config.queue_limit,
            memory=config.memory_limit,
            results=config.result_bytes,
        )
        name = os.urandom(8).hex()
        self.schemes, chosen = known(
            config.scheme, config.schemes, config.profile_dir, config.sys_path
        )
        makers = {each: partial(self.scheme, each) for each in self.schemes}
        self.journal = None if chosen == PURE or config.journal == "none" else self._open_journal()
        found = self.journal.find() if self.journal is not None else None
        self.keys = self._keys()
        self.farm = NetFarm(self.keys, config.ip, meant(config.hwm)) if chosen == PURE else None
        farm = Farm(self.farm.front_port, self.farm.back_port) if self.farm else Farm()
        scheme = LeastLoad() if chosen == PURE else self.scheme(chosen)
        self.core = Controller(
            name,
            __version__,
            scheme,
            limits,
            schemes=makers,
            farm=farm,
            journal=self._notes(found),
        )
        self.scale = Scale()
        self.store: Child | None = None
        self.keeper = Keeper(config.shared_memory)
        self.core.memory = self.keeper.probe.name
        self.core.usage = usage
        self.core.hosts.host_to_host = config.host_to_host
        self.effects: list[Effect] = []  # of this turn, not carried out yet
        self.questions = 0  # that were answered in this turn
        self.outbox: dict[bytes, list[m.Message]] = {}
        self.complained: dict[bytes | str, float] = {}
        self.exit_code: int | None = None
        self.context = sockets.new_context()
        roles = {
            CLIENTS: {self.keys.public(role): role for role in ("client", "task", "monitor")},
            ENGINES: {self.keys.public("engine"): "engine"},
        }
        self.auth = Authenticator(self.context, roles)
        ports = found.head.ports if found is not None else (0, 0)
        self.clients = self._listen(CLIENTS, config.client_port or ports[0])
        self.engines = self._listen(ENGINES, config.engine_port or ports[1])
        self.ports = {port.prefix: port for port in (self.clients, self.engines)}
        if self.journal is not None:
            self._begin(self.journal, found)
            self.store = self._open_store(self.journal)
        self.files = self._write_files()

    # --- opening and closing ----------------------------------------------------------------------

    def scheme(self, name: str) -> Scheme:
        """A new scheme of this name, one of `schemes`; ClusterError when it cannot be made."""
        return make(self.schemes[name], partial(self._wrong_scheme, name))

    @property
    def lasting(self) -> bool:
        """Whether keys and files stay valid over restarts (A4: giving the ports is enough)."""
        config = self.config
        return config.reuse or bool(config.client_port and config.engine_port)

    def _open_journal(self) -> Journal:
        config = self.config
        journal = Journal(config.profile_dir / "journal" / (config.cluster_id or "default"))
        if config.fresh:
            journal.forget()
        return journal

    def _notes(self, found: Found | None) -> Notes:
        """What the core notes, for this journal."""
        if self.journal is None:
            return Notes()
        return Notes(self.journal.head.name if found is None else found.head.name)

    def _begin(self, journal: Journal, found: Found | None) -> None:
        """Write the journal; first take up what stands in it."""
        notes = self.core.journal
        journal.start(notes.name, (self.clients.number, self.engines.number))
        if found is None:
            notes.begin_anew()
            return
        replay = Replay()
        replay.follow(found.turns)
        notes.resume(found.last)
        self._carry_out(self.core.restore(replay, found.complete, self.now()))
        journal.wake()

    def _open_store(self, journal: Journal) -> Child | None:
        if self.config.database == "none":
            return None
        store = Child(self.config, journal.directory, self.core.journal.name, self._log)
        self._hear(store)
        return store

    def _keys(self) -> Keys:
        """Those that whoever is still out there knows, if there may be somebody."""
        if self.lasting or self.journal is not None:
            return Keys.load_or_create(self._key_path)
        return Keys.create()

    @property
    def _key_path(self) -> Path:
        """Where the keys are, for the next controller; until the cluster has ended, or for good."""
        infix = f"-{self.config.cluster_id}" if self.config.cluster_id else ""
        name = "keys" if self.lasting else "keys-until-stopped"
        return self.config.profile_dir / "security" / f"ipcontroller{infix}-{name}.json"

    def _listen(self, name: str, port: int) -> Port:
        try:
            socket, number = sockets.router(
                self.context, self.keys.server, name, self.config.ip, port
            )
        except zmq.ZMQError as error:
            self.context.destroy(linger=0)
            option = "--client-port" if name == CLIENTS else "--engine-port"
            why = zmq.strerror(error.errno or 0)
            raise ClusterError(
                f"cannot listen for {name} at {self.config.ip}:{port}: {why}\n"
                f"  Another controller may be running there: ipcluster list\n"
                f"  Choose another port with {option}, or none for any free one."
            ) from error
        return Port(name, socket, number)

    def _write_files(self) -> dict[str, Path]:
        files, farm = {}, self.core.farm
        for role in ("engine", "client", "task", "monitor"):
            port = self.engines if role == "engine" else self.clients
            address = self.config.location or self.config.ip
            pair = self.keys.pair(role)
            file = ConnectionFile(
                role=role,
                cluster_id=self.config.cluster_id,
                url=f"tcp://{address}:{port.number}",
                server_key=self.keys.server.public.decode(),
                public_key=pair.public.decode(),
                secret_key=pair.secret.decode(),
                pid=os.getpid(),
                host=sockets.hostname(),
                started=self.started,
                version=__version__,
                location=self.config.location,
                farm_port=farm.back if role == "engine" else farm.front,
            )
            path = self.config.profile_dir / "security" / file.name
            file.write(path)
            files[role] = path
        return files

    def announce(self) -> None:
        """Say that the controller listens, to who waits for it and in the log."""
        urls = {port.name: f"tcp://{self.config.ip}:{port.number}" for port in self.ports.values()}
        log.event(self.logger, "info", "controller.started", pid=os.getpid(), **urls)
        if self.config.ready_fd >= 0:
            files = {role: str(path) for role, path in self.files.items()}
            line = json.dumps({"pid": os.getpid(), "files": files, **urls}) + "\n"
            os.write(self.config.ready_fd, line.encode())
            os.close(self.config.ready_fd)

    def close(self) -> None:
        """Leave nothing behind, but what a controller needs that goes on where this one failed."""
        orderly = self.exit_code == 0
        if not self.lasting and (orderly or self.journal is None):
            for path in (*self.files.values(), self._key_path):
                path.unlink(missing_ok=True)
        self.context.destroy(linger=200)  # goodbyes to who has not left may still go out
        for port in self.ports.values():
            port.close()
        if self.farm is not None:
            self.farm.close()
        self.keeper.probe.close()
        self.scale.close()
        if self.store is not None:  # it reads what is in the journal
            self.store.close(over=orderly)
        if self.journal is not None:
            self.journal.close(remove=orderly)

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to stop; gives the exit code."""
        bell = Bell(heeded((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)))
        owner = Owner(self.config.owner_pid) if self.config.owner_pid else None
        # What happens rarely is waited for as one thing, so that looking at it costs little.
        rare = select.epoll()
        see_to: dict[int, Callable[[], None]] = {bell.fileno(): lambda: self._signalled(bell)}
        if owner is not None:
            see_to[owner.fileno()] = lambda: self._abandoned(owner, rare)
        for authenticator in (self.auth, *([self.farm.auth] if self.farm is not None else [])):
            see_to[int(authenticator.socket.getsockopt(zmq.FD))] = self._meet
        for port in self.ports.values():
            see_to[int(port.monitor.getsockopt(zmq.FD))] = self._meet
            see_to[port.strangers.fileno()] = self._meet
        if self.journal is not None:
            see_to[self.journal.fileno()] = partial(self._hear, self.journal)
        if self.store is not None:
            see_to[self.store.fileno()] = partial(self._hear, self.store)
        for fd in see_to:
            rare.register(fd, select.EPOLLIN)
        poller = zmq.Poller()
        for port in self.ports.values():
            poller.register(port.socket, zmq.POLLIN)
        poller.register(rare.fileno(), zmq.POLLIN)
        self.announce()
        self._meet()  # who came before it was watched
        while self.exit_code is None:
            ready = dict(poller.poll(self._timeout()))
            if rare.fileno() in ready:
                for action in {see_to[fd]: None for fd, _ in rare.poll(0)}:
                    action()
            if self.store is not None and self.store.late:
                self._hear(self.store)
            for port in self.ports.values():
                if port.socket in ready or port.backlog or port.unsettled:
                    self._read(port)
            if self.scale.due <= self.now():
                self._weigh()
            self._settle()
            self._flush()
            if self.journal is not None:
                self.journal.wake()
            self.core.tidy()
        rare.close()
        bell.close()
        if owner is not None:
            owner.close()
        return self.exit_code

    def _timeout(self) -> int:
        """Milliseconds until the core has something to do by itself."""
        for port in self.ports.values():
            if port.backlog or port.unsettled:
                return 0
        deadline = self.core.deadline()
        due = self.scale.due if deadline is None else min(deadline, self.scale.due)
        if self.store is not None and self.store.start_at is not None:
            due = min(due, self.now() + self.store.start_at - time.monotonic())
        left = due - self.now()
        return ceil(left * 1000) if left > 0 else 0

    def _weigh(self) -> None:
        """See how much memory there is, and who has it when that is too much."""
        now, watchdog = self.now(), self.core.watchdog
        held: dict[Conn, int] = {}
        resident = self.scale.resident()
        if watchdog.heavy(resident):
            self.scale.trim()
            resident = self.scale.resident()
        if watchdog.heavy(resident):
            for port in self.ports.values():
                held |= {port.prefix + conn: size for conn, size in port.held().items()}
        self.core.feed(Measured(resident, held), now, self.effects)
        self.scale.due = now + watchdog.pause(resident)

    def _signalled(self, bell: Bell) -> None:
        """End, if a signal says so."""
        if bell.heard():
            self.core.close("signalled", self.now(), self.effects)

    def _abandoned(self, owner: Owner, watched: select.epoll) -> None:
        """End as well: nobody is left who would say so."""
        watched.unregister(owner.fileno())  # it would be ready until then
        self.core.close("its owner has ended", self.now(), self.effects)

    def _hear(self, source: Journal | Child) -> None:
        """Feed the core with what its journal, or its database, says."""
        for event in source.events():
            self.core.feed(event, self.now(), self.effects)

    def _meet(self) -> None:
        """See to handshakes, and to who has come and gone.

        The descriptors of these sockets tell of a change once: all is read, until nothing is left.
        """
        for address, reason in self.auth.handle():
            self._rejected(address, reason)
        if self.farm is not None:
            for address, reason in self.farm.auth.handle():
                self._rejected(address, reason)
        for port in self.ports.values():
            port.guard()
            self._read(port)

    def _settle(self) -> None:
        """Let the core decide on all that it was fed, and carry that out."""
        self.questions = 0
        effects, self.effects = self.effects, []
        self.core.settle(self.now(), effects)
        self._carry_out(effects)

    def _read(self, port: Port) -> None:
        """Feed the core with what has arrived, and then with who has left."""
        now = self.now()
        enough = port.taken + TURN_BYTES
        if port.backlog:
            port.look()
            self._feed(port, now)
        for _ in range(TURN):
            arrived = port.recv() if port.taken < enough and not port.backlog else None
            if arrived is None:
                break
            id, user, _fd, frames = arrived
            role = self.auth.role(port.name, user)
            if role is not None:  # the handshake has let nobody else in
                self._decode(port, port.prefix + id, role, frames)
                self._feed(port, now)
        if port.backlog:
            return
        for id in port.left():
            self.core.feed(Closed(port.prefix + id), now, self.effects)
        for refused in port.refused:
            self._rejected(refused.address, refused.reason)
        port.refused.clear()

    def _feed(self, port: Port, now: float) -> None:
        """Feed the core with what was read, but for questions beyond those of a turn."""
        while port.backlog:
            conn, role, message = port.backlog[0]
            if type(message) is m.Query:
                if port.gone(conn[1:]):  # nobody waits for the answer
                    port.backlog.popleft()
                    continue
                if self.questions == QUESTIONS:
                    break
                self.questions += 1
            port.backlog.popleft()
            self.core.feed(Received(conn, role, message), now, self.effects)

    def _decode(self, port: Port, conn: bytes, role: str, frames: Sequence[Any]) -> None:
        most = MOST.get(role)
        if most is not None and sum(map(len, frames)) > most:
            self._complain(conn, f"a message of more than {most >> 20} MB")
            return
        pid = self.core.lender(conn)
        borrow = self.keeper.borrowing(pid) if pid else None
        try:
            messages = codec.decode(frames, whole=False, borrow=borrow)
        except VersionMismatch as error:
            self._complain(conn, str(error))
            reason = f"{error}; this controller is enginery {__version__}"
            self.effects.append(Send(conn, m.Refused(reason, "VersionMismatch")))
        except ProtocolError as error:
            self._complain(conn, str(error))
            if isinstance(error, MemoryUnavailable):  # maybe in good faith, to wait for an answer
                self.effects.append(self.core.unreadable(conn, str(error)))
        else:
            for message in messages:
                if type(message) is m.Hello:
                    self.keeper.meet(message)
                port.backlog.append((conn, role, message))

    def _complain(self, conn: bytes, what: str) -> None:
        """A peer with a key says what is not in the protocol."""
        self._once(conn, "peer.nonsense", peer=conn[1:].hex(), what=what)

    def _rejected(self, address: str, reason: str) -> None:
        """Somebody was not let in; those of whom no address is known are told by the reason."""
        self._once(address or reason, "peer.rejected", address=address, reason=reason)

    def _wrong_scheme(self, name: str, what: str) -> None:
        """A user's scheme has made a mistake."""
        self._once(f"scheme {name}", "scheme.wrong", scheme=name, what=what)

    def _once(self, who: bytes | str, event: str, **fields: Any) -> None:
        """Warn about someone at most once a minute."""
        now = self.now()
        if now - self.complained.get(who, 0.0) < COMPLAINTS:
            return
        if len(self.complained) > 10_000:
            self.complained.clear()
        self.complained[who] = now
        self._log("warning", event, fields)

    # --- effects --------------------------------------------------------------------------------

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                conn: bytes = effect.conn  # type: ignore[assignment]
                self.outbox.setdefault(conn, []).append(effect.message)
            elif isinstance(effect, Append):
                assert self.journal is not None
                self.journal.append(effect)  # now, before anything is sent
                if self.store is not None:
                    self.store.news(self.journal.weight)
            elif isinstance(effect, Trim):
                assert self.journal is not None
                self.journal.trim(effect)
            elif isinstance(effect, Consult):
                assert self.store is not None
                self.store.ask(effect)
            elif isinstance(effect, Log):
                self._log(effect.level, effect.event, effect.fields)
            elif isinstance(effect, Drop):
                self._drop(effect)
            elif isinstance(effect, Stop):
                self.exit_code = effect.code

    def _drop(self, effect: Drop) -> None:
        conn: bytes = effect.conn  # type: ignore[assignment]
        if self.ports[conn[:1]].drop(conn[1:]):
            fields = {"peer": conn[1:].hex(), "why": effect.why}
            self._log("warning", "peer.dropped", fields)

    def _log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Write a line into the log; what is a warning can be asked for, too."""
        fields = log.bounded(fields)
        log.event(self.logger, level, event, **fields)
        self.core.notices.add(level, event, fields, self.now())

    def _flush(self) -> None:
        """One message to each peer that something is to be said to."""
        outbox, self.outbox = self.outbox, {}
        core = self.core
        if core.hosts.idle:
            for conn, messages in outbox.items():
                self._send(conn, messages, {})
        else:
            for parcel in core.hosts.route(outbox, self.now()):
                self._send(parcel.conn, parcel.messages, parcel.lying)  # type: ignore[arg-type]

    def _send(
        self, conn: bytes, messages: Sequence[m.Message], lying: Mapping[int, m.Reference]
    ) -> None:
        # Who cannot be reached is leaving: the port tells as soon as all it said is read.
        frames = codec.encode(messages, self.core.shares(conn), lying)
        self.ports[conn[:1]].send(conn[1:], frames)


def steady_clock(started: float) -> Callable[[], float]:
    """Seconds since the epoch that no jump of the system's clock disturbs."""
    offset = started - time.monotonic()
    return lambda: time.monotonic() + offset


def forbid_pickle() -> None:
    """From now on, no pickle can be loaded in this process (S4)."""

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            raise RuntimeError(f"the controller never unpickles: {args!r}")

    sys.addaudithook(refuse)


def run(config: ControllerConfig) -> int:
    """Be a controller until told to stop; gives the exit code."""
    infix = f"-{config.cluster_id}" if config.cluster_id else ""
    file = config.profile_dir / "log" / f"ipcontroller{infix}.log" if config.log_to_file else None
    log.setup("controller", file=file, level=config.log_level, format=config.log_format)
    service = Service(config)
    forbid_pickle()
    # What lives long is no garbage, and tasks form no cycles: look for some rarely.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    try:
        return service.run()
    except Exception as error:  # what nobody has foreseen is a state that cannot be, too
        law = str(error) if isinstance(error, BrokenLaw) else repr(error)
        log.event(service.logger, "error", "controller.broken_law", law=law)
        traceback.print_exc()
        dump(service.core)
        return 70
    finally:
        service.close()


def dump(core: Controller) -> None:
    """Print the state that broke a law, for a bug report."""
    lines = [repr(core), *map(repr, core.work.places.values()), *map(repr, core.sessions.values())]
    lines += [repr(r) for r in core.work.tasks.look() if r.state != "done"][:1000]
    print("\n".join(lines), file=sys.stderr)
