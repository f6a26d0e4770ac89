"""The controller's machine: who is connected, what each may say, and who is told what.

Everything about tasks is decided in `work`; this is the reception. A connection is nobody until
its `Hello`; what it may say follows from its role (`roles`). A connection that breaks leaves its
engine or client in place for a while: the same secret on a new connection takes up where the old
one ended. An engine that stays away is given up, and its work goes on elsewhere; if that life of
it comes back after all, it is told so and begins anew.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..schemes import SCHEMES, Scheme
from ..version import PROTOCOL
from . import entries, laws, queries, roles
from . import messages as m
from .account import Account, came_of, life_of
from .bundles import Bundle
from .delivery import Delivery
from .dispatch import aborts_at, attempt_of
from .engines import AHEAD_BYTES, AWAY, EARLY, Death, Place, Settling, patience
from .events import (
    Closed,
    Conn,
    Consulted,
    DatabaseClosed,
    DatabaseOpened,
    Drop,
    Effect,
    Event,
    JournalFailed,
    Log,
    Measured,
    Received,
    Send,
    Synced,
)
from .farewell import Farewell
from .hosts import Hosts
from .inquiries import ANSWERS, Inquiries, Usage
from .intake import Intake
from .journal import Journal
from .names import public_name, session_name
from .notices import Notices, Rate
from .past import FINDING, Past
from .quota import CREDIT, Quota
from .recovery import Recovery
from .replay import Replay
from .sessions import Session
from .watchdog import CUTS, REFUSAL, Watchdog, why
from .work import Work

FEW = 100
"""Clients, ever, that have short names. Names stand in the ids of tasks, which are remembered for
longer than clients; among many, two short ones would be the same some day.
"""

FORGET_CLIENT = 600.0
"""Seconds that undelivered outcomes are held ready for a client that has vanished."""

AWAY_CLIENTS = 1000
"""Clients without a connection that are remembered although nothing is owed to them."""

TELL_ENGINES = 0.05
"""Seconds between two announcements of the engines at least."""

LOST = "its connection was lost"
"""Why an engine was given up, if there is nothing more to say."""

LIVES = 10_000
"""Lives of engines remembered as over."""

FAR = 1 << 53
"""More than anybody counts up to; all numbers below stay in the range of the wire."""


@dataclass(frozen=True)
class Limits:
    """What the controller's machine is configured with."""

    hwm: int = 1
    crash_limit: int = 3
    record_limit: int = 100_000
    record_bytes: int = 256 << 20
    function_bytes: int = 256 << 20
    budget: int = 1 << 30  # bytes of unfinished tasks (see `quota`)
    queue: int = 0  # how many unfinished tasks; 0: any number
    credit: int = CREDIT
    memory: int = 1 << 40  # bytes that the process may have resident
    results: int = 1 << 30  # bytes of outcomes that wait for clients which take none


@dataclass(frozen=True)
class Farm:
    """Where the queue of the `pure` scheme listens, if that is in use."""

    front: int = 0  # for clients
    back: int = 0  # for engines


@dataclass
class Peer:
    """A connection that has said who it is."""

    role: str
    lane: str
    party: Place | Session | Supervisor
    pid: int = 0  # of the process, where the controller can open its memory
    shares: bool = False  # it can open the controller's, too
    keeps: bool = False  # an engine that can open what its supervisor keeps

    def says(self, hello: m.Hello) -> bool:
        """Whether this hello comes from the party that is known to be here."""
        kinds = {"engine": Place, "supervisor": Supervisor, "client": Session}
        same_kind = isinstance(self.party, kinds[hello.kind])
        return same_kind and (self.party.identity, self.lane) == (hello.identity, hello.lane)


@dataclass
class Supervisor:
    """Who forks engines on a host, and their places."""

    identity: bytes
    host: str
    places: tuple[bytes, ...]
    patience: float = AWAY
    lanes: dict[str, Conn] = field(default_factory=dict)
    away_since: float | None = None
    cuts: int = 0


class Controller:
    """The state of a cluster. See the module's theory."""

    def __init__(
        self,
        name: str,
        version: str,
        scheme: Scheme,
        limits: Limits,
        *,
        schemes: Mapping[str, Callable[[], Scheme]] = SCHEMES,
        farm: Farm = Farm(),
        journal: Journal | None = None,
    ) -> None:
        self.name = name  # of this life of the controller
        self.version = version
        self.scheme = scheme
        self.chosen = ""  # the scheme that a client has chosen
        self.schemes = schemes  # those that a client may choose
        self.farm = farm
        self.limits = limits
        self.memory: m.Segment | None = None  # what peers open to show that they share the host
        self.journal = journal or Journal()
        self.journal.room = limits.results // 4
        self.work = Work(
            scheme,
            hwm=limits.hwm,
            crash_limit=limits.crash_limit,
            record_limit=limits.record_limit,
            record_bytes=limits.record_bytes,
            function_bytes=limits.function_bytes,
            journal=self.journal,
            quota=Quota(limits.budget, limits.queue, limits.credit),
        )
        self.watchdog = Watchdog(limits.memory, self.work.quota)
        self.journal.account = Account(self)
        self.recovery = Recovery(self)
        self.delivery = Delivery(limits.results)
        self.intake = Intake(self.work, self.delivery, self.recovery.repeated)
        self.peers: dict[Conn, Peer] = {}
        self.sessions = self.delivery.sessions
        self.supervisors: dict[bytes, Supervisor] = {}
        self.keepers: dict[bytes, Supervisor] = {}  # by place: of other hosts, who keep copies
        self.hosts = Hosts(self)
        self.by_identity: dict[bytes, Place] = {}
        self.over: OrderedDict[bytes, None] = OrderedDict()  # lives, and clients given up
        self.leaving: dict[int, Place] = {}  # engines that are given up at a time
        self.detached: dict[int, Place] = {}  # that work, and have no connection for tasks
        self.heirs: dict[Conn, tuple[str, m.Hello]] = {}  # new lives at places not yet given up
        self.stale = False  # the clients have not been told about the engines of now
        self.told = float("-inf")
        self.away: dict[bytes, Session | Supervisor] = {}  # those without any connection
        self.since: float | None = None
        self.inquiries = Inquiries()
        self.past = Past(self)
        self.notices = Notices()
        self.rate = Rate()  # of calls that end
        self.usage: Callable[[], Usage] = _unknown  # what this process uses of its host
        self.session_count = 0  # how many there ever were
        self.farewell: Farewell | None = None  # when it is to stop
        self._recording: deque[tuple[int, Place, bytes]] = deque()  # lives, by record

    # --- the machine ----------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What follows from this event."""
        out: list[Effect] = []
        self.feed(event, now, out)
        self.settle(now, out)
        self.tidy()
        return out

    def feed(self, event: Event, now: float, out: list[Effect]) -> None:
        """Take one of several events of a turn; `settle` has to follow the last."""
        if self.since is None:
            self.since = now
        if self.farewell is not None:
            self.farewell.feed(event, out)
            return
        match event:
            case Received(conn=conn, role=role, message=message):
                self._received(conn, role, message, now, out)
            case Measured():
                self._measured(event, now, out)
            case Closed(conn=conn):
                self._closed(conn, now, out)
            case Synced():
                if self.journal.synced(event, out):
                    self._synced(now, out)
            case JournalFailed(reason=reason):
                self.journal.failed(reason, now, out)
            case Consulted(number=number, value=value, reason=reason):
                self.past.answered(number, value, reason, out)
            case DatabaseOpened(older=older):
                self.past.opened(older)
            case DatabaseClosed():
                self.past.closed(out)

    def restore(self, replay: Replay, complete: bool, now: float) -> list[Effect]:
        """Go on where the journal ends, before any other event; see `recovery`."""
        self.since = now
        out: list[Effect] = []
        self.recovery.restore(replay, complete, now, out)
        self.journal.begin_anew()
        self.settle(now, out)
        self.tidy()
        return out

    def deadline(self) -> float | None:
        """When a `Tick` is due, if nothing happens before; asked each turn, of little as a rule."""
        times = [self.work.deadline(), self.journal.deadline()]
        if self.leaving:
            times += [place.give_up_at for place in self.leaving.values()]
        if self.away:
            times += [(party.away_since or 0.0) + _patience(party) for party in self.away.values()]
        times += [part.deadline() for part in (self.inquiries, self.past) if part.open]
        if not self.hosts.idle:
            times.append(self.hosts.deadline())
        if self.intake.accepting:
            times.append(next(iter(self.intake.accepting.values()))[0])
        if self.stale:
            times.append(self.told + TELL_ENGINES)
        if self.farewell is not None:
            times.append(self.farewell.deadline)
        return min([each for each in times if each is not None], default=None)

    def settle(self, now: float, out: list[Effect]) -> None:
        """Give out what can run and tell what has ended, once for all that a turn brought."""
        intake, work = self.intake, self.work
        asked = self.inquiries.open or self.past.open
        if self.detached:
            self._look_after(now)
        if self.leaving or self.stale or self.away or intake.accepting or asked:
            self._timers(now, out)
        work.settle(now, out)
        if work.ended:
            self.rate.add(sum(unit.items for unit in work.ended), now)
            for unit in work.ended:
                self.delivery.ended(unit)
                if type(unit) is Bundle:
                    laws.check_bundle(work, unit)
                    continue
                if unit.owner not in self.sessions and unit.outcome is not None:
                    work.fetched(unit.owner, [unit.outcome])
                laws.check_record(work, unit)
            work.ended.clear()
            intake.grant_all(self.sessions.values(), now, out)
        for session in self.delivery.pump(out):
            intake.told(session, now, out)
        self.journal.settle(now, out)
        if self.farewell is not None:
            self.farewell.settle(now, out)

    def tidy(self) -> None:
        """Do what nobody waits for, once all that followed from a turn was sent."""
        self.work.pack()

    def _timers(self, now: float, out: list[Effect]) -> None:
        for place in list(self.leaving.values()):
            if place.give_up_at is not None and place.give_up_at <= now:
                heir = self._has_heir(place)
                reason = "a new life has taken its place" if heir else f"{LOST}{place.company}"
                if place.silent:
                    reason = "it has not come back to the controller, which was started again"
                self._lose(place, reason, now, out)
        for party in list(self.away.values()):
            if now < (party.away_since or 0.0) + _patience(party):
                continue
            if isinstance(party, Supervisor):
                self._supervisor_gone(party, now, out)
            else:
                self._session_gone(party)
                if self.recovery.doubt:  # else who has all of the journal knows it anyway
                    self.is_over(party.identity)
        self.intake.tick(now, out)
        self.inquiries.tick(now, out)
        self.past.tick(now, out)
        if self.stale and now >= self.told + TELL_ENGINES:
            self.stale = False
            self.told = now
            message = m.Engines([p.info() for p in self.work.places.values() if p.here])
            for session in self.sessions.values():
                if (conn := session.lanes.get("tasks")) is not None:
                    out.append(Send(conn, message))

    def _synced(self, now: float, out: list[Effect]) -> None:
        """More of the journal is on disk: others may forget, and new engines get work."""
        durable = self.journal.durable
        self.intake.grant_all(self.sessions.values(), now, out)
        self.intake.answer_all(out)
        for place in list(self.work.unsettled.values()):
            if place.settle(durable):
                self.work.dispatch.touch(place)
            if not place.ended:
                del self.work.unsettled[place.id]
        self._record_lives()

    def _record_lives(self) -> None:
        while self._recording and self._recording[0][0] <= self.journal.durable:
            _, place, incarnation = self._recording.popleft()
            if place.here and place.incarnation == incarnation:
                place.recorded = True
                self.work.joined(place)

    def _measured(self, measured: Measured, now: float, out: list[Effect]) -> None:
        """The process was weighed: cut off who fills it, and take more only while there is room."""
        before = self.work.quota.strained
        for conn, size in self.watchdog.weigh(measured, now).items():
            peer = self.peers.get(conn)
            if peer is not None:
                peer.party.cuts += 1
            out.append(Drop(conn, why(size)))
        strained = self.work.quota.strained
        if strained and not before:
            bytes = {"queue": self.work.quota.bytes, "history": self.work.history.bytes}
            fields = {"resident": measured.resident, "limit": self.watchdog.limit, **bytes}
            out.append(Log("error", "controller.memory", fields))
        elif before and not strained:
            self.intake.grant_all(self.sessions.values(), now, out)

    # --- shared memory --------------------------------------------------------------------------

    def lender(self, conn: Conn) -> int:
        """The process whose memory messages on this connection may refer to; 0: of none."""
        peer = self.peers.get(conn)
        return 0 if peer is None else peer.pid

    def shares(self, conn: Conn) -> bool:
        """Whether what is sent on this connection may refer to the controller's memory."""
        peer = self.peers.get(conn)
        return peer is not None and peer.shares

    def unreadable(self, conn: Conn, reason: str) -> Send:
        """What to answer to a message whose memory cannot be opened.

        Who is not known (any more) says hello again first, as after any message.
        """
        if conn not in self.peers:
            return Send(conn, m.Again())
        return Send(conn, m.Refused(reason, "ProtocolError"))

    def _offer(self, conn: Conn, hello: m.Hello) -> m.Segment | None:
        """What to open in return; the service has struck out of a hello what it could not open."""
        if hello.memory is None or self.memory is None:
            return None
        self.peers[conn].pid = hello.memory.pid
        return self.memory

    # --- who is there ---------------------------------------------------------------------------

    def _received(
        self, conn: Conn, role: str, message: m.Message, now: float, out: list[Effect]
    ) -> None:
        if not roles.may_send(role, message):
            what = type(message).__name__
            out.append(Log("warning", "peer.refused", {"role": role, "what": what}))
            number = getattr(message, "number", 0)
            out.append(Send(conn, m.Refused(f"a {role} key may not send {what}", number=number)))
            return
        if isinstance(message, m.Hello):
            self._hello(conn, role, message, now, out)
            return
        peer = self.peers.get(conn)
        if peer is None:
            out.append(Send(conn, m.Again()))
        elif peer.role != role:
            out.append(Drop(conn, "its key has changed"))
        elif isinstance(message, m.Goodbye):
            self._goodbye(conn, peer, message, now, out)
        elif isinstance(message, m.Shares):
            peer.shares = peer.pid > 0
        elif isinstance(peer.party, Session):
            self._from_client(conn, peer.party, message, now, out)
        elif isinstance(peer.party, Place):
            self._from_engine(conn, peer.party, message, now, out)
        else:
            self._from_supervisor(peer.party, message, now, out)

    def _hello(self, conn: Conn, role: str, hello: m.Hello, now: float, out: list[Effect]) -> None:
        known = self.peers.get(conn)
        _, heir = self.heirs.get(conn, ("", hello))
        if (known is not None and not known.says(hello)) or _party(heir) != _party(hello):
            out.append(Drop(conn, "it says that it is somebody else now"))
        elif hello.protocol != PROTOCOL:
            reason = f"protocol {hello.protocol} is spoken here by nobody; this is {PROTOCOL}"
            out.append(Send(conn, m.Refused(reason, "VersionMismatch")))
        elif len(hello.identity) != 16 or (hello.kind == "engine" and len(hello.incarnation) != 16):
            out.append(Send(conn, m.Refused("an identity has 16 bytes", "ProtocolError")))
        elif not 0 <= hello.seen < FAR:
            reason = f"nobody can have seen {hello.seen} messages"
            out.append(Send(conn, m.Refused(reason, "ProtocolError")))
        elif (hello.kind in {"engine", "supervisor"}) != (role == "engine"):
            out.append(Log("warning", "peer.refused", {"role": role, "what": hello.kind}))
            out.append(Send(conn, m.Refused(f"a {role} key cannot be a {hello.kind}'s")))
        elif self._cut_too_often(hello):
            out.append(Send(conn, m.Refused(REFUSAL, "QueueFull")))
        elif hello.kind == "engine":
            self._engine_hello(conn, role, hello, now, out)
        elif hello.kind == "supervisor":
            self._supervisor_hello(conn, role, hello, out)
        else:
            self._client_hello(conn, role, hello, out)

    def _cut_too_often(self, hello: m.Hello) -> bool:
        """Whether this party only ever fills the memory."""
        party = self.sessions.get(hello.identity) or self.by_identity.get(hello.identity)
        if isinstance(party, Place) and party.incarnation != hello.incarnation:
            return False  # it is another one's life
        return party is not None and party.cuts >= CUTS

    def _enter(
        self, conn: Conn, role: str, lane: str, party: Place | Session | Supervisor,
        out: list[Effect],
    ) -> bool:  # fmt: skip
        """Register a connection, in the stead of an older one of the same party and lane.

        False when it is registered already: then nothing that was sent on it has been lost.
        """
        old = party.lanes.get(lane)
        if old is not None and old != conn:
            self.peers.pop(old, None)
            out.append(Drop(old, "replaced by a newer connection"))
        party.lanes[lane] = conn
        self.peers[conn] = Peer(role, lane, party)
        return old != conn

    def place_of(self, identity: bytes) -> Place:
        """The place of this identity, which it gets now if it has none."""
        place = self.by_identity.get(identity)
        if place is None:
            place = self.new_place(identity)
            self.journal.note(life_of(place))
        return place

    def new_place(self, identity: bytes) -> Place:
        """One more place."""
        place = self.by_identity[identity] = Place(len(self.by_identity), identity)
        self.work.places[place.id] = place
        return place

    def _engine_hello(
        self, conn: Conn, role: str, hello: m.Hello, now: float, out: list[Effect]
    ) -> None:
        if hello.incarnation in self.over or hello.incarnation[:12] in self.over:
            out.append(Send(conn, m.Again(given_up=hello.incarnation)))
            return
        place = self.place_of(hello.identity)
        if place.here and place.incarnation != hello.incarnation:
            # What the former one has said, and what its supervisor says of its end, comes first.
            self.heirs[conn] = role, hello
            place.give_up_at = min(place.give_up_at or FAR, now + AWAY)
            self.leaving[place.id] = place
            return
        if not place.here:
            place.begin(hello, now)
            self.work.here[place.id] = place
            self.journal.note(life_of(place), urgent=True)
            self._recording.append((self.journal.mark, place, place.incarnation))
            self.stale = True
            fields = {"engine": place.id, "host": place.host, "pid": place.pid}
            out.append(Log("info", "engine.joined", fields))
        new = self._enter(conn, role, hello.lane, place, out)
        self.peers[conn].keeps = hello.keeps and hello.lane == "tasks"
        life = place.incarnation
        out.append(
            Send(
                conn,
                m.Welcome(
                    self.name, place.id, version=self.version, incarnation=life,
                    farm_port=self.farm.back, memory=self._offer(conn, hello),
                    journal=self.journal.name, asks=place.silent,
                    after=place.n if place.silent else place.first, since=self.since or 0.0,
                ),
            )
        )  # fmt: skip
        if hello.lane == "control":
            if not place.silent:  # else it says first what it has
                out.extend(Send(conn, abort) for abort in aborts_at(place))
            if place.stale:
                out.append(Send(conn, place.abort_stale()))
            if place.clears:
                out.append(Send(conn, m.Clear(count=place.clears, life=place.name)))
            if place.occupied and "tasks" not in place.lanes and not self._is_over(place):
                self._detach(place)
            return
        if place.silent:
            return
        self._back(place)
        place.n = max(place.n, hello.seen)
        rest = [attempt_of(r, place) for r in place.sent.values() if r.n > hello.seen]
        if rest and new:
            out.append(Send(conn, m.Run(rest)))
        self._record_lives()
        self.work.joined(place)

    def _is_over(self, place: Place) -> bool:
        """Whether somebody has told that this life has ended, or is about to."""
        return self._has_heir(place) or place.silent or place.death is not None

    def _has_heir(self, place: Place) -> bool:
        """Whether another life waits for its place."""
        return any(hello.identity == place.identity for _, hello in self.heirs.values())

    def _back(self, place: Place) -> None:
        """It need not be given up."""
        self.leaving.pop(place.id, None)
        place.give_up_at = None

    def _detach(self, place: Place) -> None:
        """Nor need one without a connection for tasks, as long as it is at work."""
        self._back(place)
        self.detached[place.id] = place

    def _supervisor_hello(self, conn: Conn, role: str, hello: m.Hello, out: list[Effect]) -> None:
        known = self.supervisors.get(hello.identity)
        if known is None:
            known = Supervisor(hello.identity, hello.host, hello.places)
            self.supervisors[hello.identity] = known
            fields = {"host": hello.host, "pid": hello.pid, "engines": len(hello.places)}
            out.append(Log("info", "supervisor.joined", fields))
            for place in self.by_identity.values():
                if not place.watched:  # others come in the stead of those that could not start
                    place.failed = ""
        known.places = hello.places
        known.patience = patience(hello)
        known.away_since = None
        self.away.pop(hello.identity, None)
        # On this host its memory could be opened, unless nobody's is to be.
        elsewhere = hello.keeps and hello.memory is None and self.memory is not None
        if elsewhere:
            self.hosts.met(known)
        for identity in hello.places:
            place = self.place_of(identity)
            place.watched, place.supervisor = True, hello.pid
            place.host = place.host or hello.host
            self.keepers.pop(identity, None)
            if elsewhere:
                self.keepers[identity] = known
        self._enter(conn, role, hello.lane, known, out)
        out.append(Send(conn, m.Welcome(self.name, 0, version=self.version)))

    def _client_hello(self, conn: Conn, role: str, hello: m.Hello, out: list[Effect]) -> None:
        session = self.sessions.get(hello.identity)
        if session is None:
            taken = {s.id for s in self.sessions.values()}
            size = 3 if self.session_count < FEW else 6  # bytes
            while (id := public_name(hello.identity, size)) in taken:
                size += 1
            self.session_count += 1
            session = Session(self.session_count, hello.identity, id, role)
            self.journal.note(came_of(session))
            session.farming = bool(self.farm.front)
            self.sessions[hello.identity] = session
            fields = {"client": id, "role": role, "host": hello.host, "pid": hello.pid}
            out.append(Log(_worth(session), "client.joined", fields))
        elif session.role != role:
            out.append(Send(conn, m.Refused("this client has come with another key before")))
            return
        session.host, session.pid = hello.host, hello.pid
        session.away_since = None
        self.away.pop(hello.identity, None)
        new = self._enter(conn, role, hello.lane, session, out)
        if hello.lane == "tasks":
            self.intake.welcome(session)
        welcome = m.Welcome(
            self.name, session.id, session.accepted, self.work.quota.credit,
            self.work.quota.credit_tasks, self.version,
            "pure" if self.farm.front else self.scheme.name, self.limits.hwm, role=role,
            farm_port=0 if role == "monitor" else self.farm.front, session=session.number,
            memory=self._offer(conn, hello), journal=self.journal.name, asks=session.silent,
            since=self.since or 0.0, torn=self.recovery.doubt and hello.identity not in self.over,
        )  # fmt: skip
        out.append(Send(conn, welcome))
        if hello.lane == "tasks":
            session.told = session.accepted
            engines = [p.info() for p in self.work.places.values() if p.here]
            out.append(Send(conn, m.Engines(engines)))
            self._got(session, hello.seen, hello.session)
            if new:
                session.resume(out)
            self.delivery.touch(session)
            self.intake.ask(session, out)

    def _closed(self, conn: Conn, now: float, out: list[Effect]) -> None:
        self.hosts.closed(conn)
        _, heir = self.heirs.pop(conn, ("", None))
        if heir is not None:
            self._no_heir(heir.identity)
        peer = self.peers.pop(conn, None)
        if peer is None:
            return
        party = peer.party
        if party.lanes.get(peer.lane) == conn:
            del party.lanes[peer.lane]
        if not isinstance(party, Place):
            if not party.lanes:
                party.away_since = now
                self.away[party.identity] = party
                if len(self.away) > AWAY_CLIENTS:
                    self._forget_idle()
        elif party.here and "tasks" not in party.lanes:
            self.work.placement.changed(party)
            if party.death is not None:
                self._lose(party, party.death.reason, now, out)
            else:
                self._await(party, now)

    def _await(self, place: Place, now: float) -> None:
        """An engine has no connection for tasks: soon it has, or it is given up.

        One that runs something makes the next one when that is done, and may take its time.
        """
        if place.occupied:
            if place.id not in self.detached:
                self.detached[place.id], place.detached_at = place, now
        elif place.give_up_at is None:
            since = now
            if now - place.detached_at < place.patience:  # both broke, one a little later
                since = max(place.detached_at, now - place.patience / 2)
            place.give_up_at = since + place.patience
            self.leaving[place.id] = place

    def _look_after(self, now: float) -> None:
        """See to the engines that had no connection for tasks, but something to run."""
        for place in list(self.detached.values()):
            if not place.here or "tasks" in place.lanes or not place.occupied:
                del self.detached[place.id]
                if place.here and "tasks" not in place.lanes:
                    self._await(place, now)

    def _forget_idle(self) -> None:
        """Forget those first that have been away for longest and are owed nothing."""
        for party in tuple(self.away.values()):
            if len(self.away) <= AWAY_CLIENTS:
                return
            if not isinstance(party, Session) or party.identity in self.work.quota.shares:
                continue
            unclear = party.silent or party.repeats
            if not (party.due or party.under_way or party.fetching or unclear):
                self._session_gone(party)

    def _goodbye(
        self, conn: Conn, peer: Peer, message: m.Goodbye, now: float, out: list[Effect]
    ) -> None:
        party = peer.party
        if isinstance(party, Session):
            self._session_gone(party)
            out.append(Log(_worth(party), "client.left", {"client": party.id}))
        elif isinstance(party, Place):
            if party.here:
                self._forget_lanes(party)
                self._lose(party, message.reason or "stopped", now, out)
        else:
            self._supervisor_gone(party, now, out)

    def _session_gone(self, session: Session) -> None:
        """Nothing is owed to this client any more; its tasks go on."""
        self._forget_lanes(session)
        self.journal.note(entries.Left(session.identity))
        self.away.pop(session.identity, None)
        self.intake.forget(session)
        self.work.fetched(session.identity, session.owed())
        self.delivery.forget(session)

    def _lose(self, place: Place, reason: str, now: float, out: list[Effect]) -> None:
        """This life of an engine is over; should it be there all the same, it is told."""
        silent = place.silent
        self.is_over(place.incarnation[:12] if place.death is not None else place.incarnation)
        self.leaving.pop(place.id, None)
        out.extend(Send(conn, m.Again(place.incarnation)) for conn in place.lanes.values())
        self._forget_lanes(place)
        out.extend(self.work.lose(place, reason, now))
        self.inquiries.lost(place, out)
        if silent:
            self.recovery.lost(place, now, out)
        self.stale = True
        for conn, (role, hello) in list(self.heirs.items()):
            if hello.identity == place.identity:
                del self.heirs[conn]
                self._engine_hello(conn, role, hello, now, out)

    def _forget_lanes(self, party: Place | Session | Supervisor) -> None:
        for conn in party.lanes.values():
            self.peers.pop(conn, None)
        party.lanes = {}

    def is_over(self, incarnation: bytes) -> None:
        """This life will not be taken back; of 12 bytes: nor any by which that process goes on.

        A client that was given up is told so; not that it was never heard of.
        """
        self.over[incarnation] = None
        self.journal.note(entries.Over(incarnation))
        while len(self.over) > LIVES:
            self.over.popitem(last=False)

    def _supervisor_gone(self, supervisor: Supervisor, now: float, out: list[Effect]) -> None:
        self.supervisors.pop(supervisor.identity, None)
        self.away.pop(supervisor.identity, None)
        self.hosts.left(supervisor)
        self._forget_lanes(supervisor)
        for identity in supervisor.places:
            place = self.by_identity[identity]
            place.watched = False
            self.keepers.pop(identity, None)
            if place.awaited:
                self.work.fail_awaiting(place, "its supervisor has ended", now)
        out.append(Log("info", "supervisor.left", {"host": supervisor.host}))

    # --- from engines and supervisors -------------------------------------------------------------

    def _from_engine(
        self, conn: Conn, place: Place, message: m.Message, now: float, out: list[Effect]
    ) -> None:
        match message:
            case m.Results() if place.silent:
                pass  # it comes again, after what it belongs to
            case m.Results():
                place.cuts = 0
                self._results(conn, place, message, now, out)
            case m.Holds():
                if place.silent:
                    self.recovery.holds(place, message, now, out)
                    if "tasks" in place.lanes:
                        self._back(place)
                    elif place.occupied:
                        self._detach(place)
                    self.work.joined(place)
            case m.Output(stream=stream) if stream != "dropped":  # that is the controller's word
                self.delivery.output(place, self.work.chunks.speaker(message.id), message)
            case m.Dropped(ids=ids, numbers=numbers):
                # From the last to the first, so that those put back stand in their old order.
                for id, n in reversed(list(zip(ids, numbers, strict=False))):
                    self.work.dropped(place, id, n, now)
            case m.Need(hashes=hashes, n=n):
                # What it has of before a restart is not in `known`.
                its = place.known | {record.spec.function for record in place.sent.values()}
                for hash in hashes:
                    if hash in its and hash in self.work.functions:
                        place.known.add(hash)
                        out.append(Send(conn, m.definition(hash, self.work.functions[hash])))
                    elif (record := place.sent.get(n)) is not None and not record.spec.function:
                        self.recovery.lacks(place, record, now, out)
            case m.Changed(count=count):
                self.work.properties_changed(place, count)
            case m.Reply():
                self.inquiries.answered(place, message, out)
            case _:
                self._misplaced("engine", message, out)

    def _results(
        self, conn: Conn, place: Place, message: m.Results, now: float, out: list[Effect]
    ) -> None:
        """Results count in their order; they come on two lanes, and again when one was lost."""
        if message.seq > place.results + 1:
            place.early[message.seq] = message
            place.early_bytes += message.size()
            number = len(place.early)
            if number > EARLY or (number > 1 and place.early_bytes > AHEAD_BYTES):
                place.early.clear()
                place.early_bytes = 0
                out.append(Drop(conn, "too much came before something earlier"))
            return
        if message.seq <= place.results:
            place.acked = min(place.acked, message.seq - 1)  # what was said of it has been lost
        place.settling = Settling(0, now)
        following: m.Results | None = message
        while following is not None and following.seq == place.results + 1:
            place.results = following.seq
            place.unacked_bytes += following.size()
            if self.work.had:
                for result in following.one_by_one():
                    if not self.recovery.declined(place, result, now):
                        self.work.result(place, result, now)
            else:
                self.work.results(place, following, now)
            following = place.early.pop(place.results + 1, None)
        if not place.early:
            place.early_bytes = 0
        place.settling.seq, place.settling.record = place.results, self.journal.mark
        place.ended.append(place.settling)
        for id in list(place.held_up(now)):
            self.work.write_down(id)
        if not place.settle(self.journal.durable):
            self.work.unsettled[place.id] = place
        self.work.dispatch.touch(place)

    def _from_supervisor(
        self, supervisor: Supervisor, message: m.Message, now: float, out: list[Effect]
    ) -> None:
        if isinstance(message, m.Kept):
            self.hosts.answered(supervisor, message)
            return
        if not isinstance(message, m.Exited):
            self._misplaced("supervisor", message, out)
            return
        place = self.by_identity.get(message.place)
        if place is None or message.place not in supervisor.places:
            return
        if (lives := message.facts.get("short_lives")) and not place.failed:
            place.failed = f"it ended {lives} times in a row as it began: {message.reason}"
            fields = {"engine": place.id, "host": supervisor.host, "reason": place.failed}
            out.append(Log("error", "engine.cannot_start", fields))
        death = Death(
            message.started, message.finished, message.reason, message.replaced, message.facts,
            message.item,
        )  # fmt: skip
        if place.here and place.incarnation[:12] == message.incarnation[:12]:
            place.death = death
            if "tasks" in place.lanes:  # what it still said is read first
                place.give_up_at = min(place.give_up_at or FAR, now + AWAY)
                self.leaving[place.id] = place
            else:
                self._lose(place, death.reason, now, out)
            return
        self.is_over(message.incarnation[:12])
        for conn, (_, heir) in list(self.heirs.items()):
            if heir.incarnation[:12] == message.incarnation[:12]:
                del self.heirs[conn]
                self._no_heir(heir.identity)
        if place.here:
            if place.death is not None:  # its next life was short
                place.death.replaced = message.replaced
        elif message.replaced:
            place.awaited = True
        else:
            self.work.fail_awaiting(place, message.reason, now)

    def _no_heir(self, identity: bytes) -> None:
        """Who wanted to take a place does not; if nobody else wants it, its life goes on."""
        place = self.by_identity[identity]
        if (place.open or place.occupied) and not self._is_over(place):
            self._detach(place)

    # --- from clients -----------------------------------------------------------------------------

    def _from_client(
        self, conn: Conn, session: Session, message: m.Message, now: float, out: list[Effect]
    ) -> None:
        match message:
            case m.Submit():
                session.cuts = 0
                self.intake.submit(conn, session, message, now, out)
            case m.Define(hash=hash, blob=blob, buffers=buffers):
                self.intake.define(conn, hash, m.code_of(blob, buffers), now, out)
            case m.Got(seq=seq, session=name):
                self._got(session, seq, name)
                self.delivery.touch(session)
            case m.Claim():
                self.recovery.claim(session, message, now, out)
            case m.Abort():
                self.intake.abort(conn, session, message, now, out)
            case (
                m.Query()
                | m.Resubmit()
                | m.Purge()
                | m.Choose()
                | m.Signal()
                | m.Clear()
                | m.Shutdown()
            ) if message.number in session.answers:
                out.append(Send(conn, session.answers[message.number]))
            case m.Resubmit() | m.Purge() if message.number in session.answering:
                pass  # it comes again; the answer is on its way
            case m.Resubmit():
                self.intake.answer(session, self.intake.resubmit(session, message, now), out, conn)
            case m.Purge():
                if not self.past.purge(session, message, now, out):
                    self.intake.answer(session, self.intake.purge(session, message), out, conn)
            case m.Choose(scheme=scheme):
                out.append(Send(conn, session.answered(self._choose(scheme, message.number))))
            case m.Query():
                self._query(conn, session, message, now, out)
            case m.Signal() | m.Clear() | m.Shutdown():
                self._command(conn, session, message, now, out)
            case _:
                self._misplaced("client", message, out)

    def _got(self, session: Session, seq: int, name: str) -> None:
        if name and name != session_name(self.name, session.number):
            return  # it was in another one, and does not know of this yet
        for deliver in session.got(seq):
            if self.work.unfetched:
                self.work.fetched(session.identity, deliver.outcomes)

    def _choose(self, name: str, number: int) -> m.Reply | m.Refused:
        """Balance by another scheme; none that the controller was not started with."""
        if self.farm.front:
            reason = "the scheme is pure, which is chosen when the controller starts, and for good"
            return m.Refused(reason, "ClusterError", number)
        if name not in self.schemes:
            known = ", ".join(self.schemes)
            reason = f"there is no scheme {name!r} here; the controller was started with {known}"
            return m.Refused(reason, "ClusterError", number)
        try:
            self.choose(name)
        except Exception as error:  # a user's own class; told to who chose it
            return m.Refused(f"scheme {name!r} cannot be used: {error}", "ClusterError", number)
        return m.Reply(number)

    def choose(self, name: str) -> None:
        """Balance by this one of the schemes; raises whatever making it raises."""
        self.scheme = self.schemes[name]()
        self.chosen = name
        self.journal.note(entries.Chosen(name))
        self.work.placement.use(self.scheme)

    def _query(
        self, conn: Conn, session: Session, message: m.Query, now: float, out: list[Effect]
    ) -> None:
        if self.past.ask(session, message, now, out):
            return
        if message.what == "fetch":
            seen: list[str] = []
            unknown: list[str] = []
            for id in message.ids:
                (seen if self.fetch(session, id) else unknown).append(id)
            found: dict[str, Any] = {"unknown": unknown}
            if items := self.work.chunks.items(seen):
                found["items"] = items
            answer = session.answered(m.Reply(message.number, found))
            out.append(Send(conn, answer))
            return
        if message.what in ANSWERS:
            self._inquire(conn, session, message, now, out)
            return
        try:
            value = queries.answer(self, session, message, now)
        except LookupError as error:
            reason = str(error.args[0]) if error.args else "unknown"
            kind = "QueryError" if message.what in FINDING else "UnknownTask"
            out.append(Send(conn, m.Refused(reason, kind, message.number)))
        except (TypeError, ValueError, RecursionError) as error:  # no question must end us
            reason = f"that cannot be answered: {error}"
            out.append(Send(conn, m.Refused(reason, "QueryError", message.number)))
        else:
            out.append(Send(conn, m.Reply(message.number, value)))

    def _inquire(
        self, conn: Conn, session: Session, query: m.Query, now: float, out: list[Effect]
    ) -> None:
        """Put a question to engines: to those that it names, or to all."""
        here = {p.id: p for p in self.work.places.values() if p.here}
        absent = [id for id in query.engines if id not in here]
        if session.role not in roles.MAY_ASK_ENGINES[query.what]:
            reason = f"a {session.role} key may not ask engines for their {query.what}"
            out.append(Send(conn, m.Refused(reason, number=query.number)))
        elif absent:
            out.append(Send(conn, _not_registered(absent[0], here, query.number)))
        else:
            places = [here[id] for id in query.engines] if query.engines else here.values()
            self.inquiries.ask(session, query, places, now, out)

    def fetch(self, session: Session, id: str) -> bool:
        """Deliver a task's outcome to this client too; False for one that it may not see."""
        record = queries.visible(self.work, session, id)
        if record is None or session.role not in roles.SEES_CODE:
            return False
        self.delivery.fetch(session, record)
        return True

    def _command(
        self, conn: Conn, session: Session, message: m.Signal | m.Clear | m.Shutdown, now: float,
        out: list[Effect],
    ) -> None:  # fmt: skip
        """Pass a command on to the engines it names; control does not wait in their queues."""
        everyone = isinstance(message, m.Shutdown) and message.controller
        ids = [p.id for p in self.work.places.values() if p.here] if everyone else message.engines
        here = {p.id for p in self.work.places.values() if p.here}
        absent = [id for id in ids if id not in here]
        if absent:
            out.append(Send(conn, _not_registered(absent[0], here, message.number)))
            return
        for place in (self.work.places[id] for id in ids if not everyone):
            told: m.Message = message
            if isinstance(message, m.Clear):
                place.clears += 1
                told = m.Clear(count=place.clears, life=place.name)
            if (lane := place.lanes.get("control")) is not None:
                out.append(Send(lane, told))
        out.append(Send(conn, session.answered(m.Reply(message.number))))
        if everyone:
            self.close("shut down by a client", now, out)

    def close(self, why: str, now: float, out: list[Effect]) -> None:
        """Say goodbye to all, and stop; `settle` has to follow. Asked again, go on with that."""
        if self.farewell is None:
            self.farewell = Farewell(why, now)
            self.farewell.tell([*self.peers, *self.heirs], out)

    def _misplaced(self, kind: str, message: m.Message, out: list[Effect]) -> None:
        fields: dict[str, Any] = {"kind": kind, "what": type(message).__name__}
        out.append(Log("warning", "peer.misplaced", fields))

    def __repr__(self) -> str:
        work = self.work
        return (
            f"<Controller {sum(p.here for p in work.places.values())} engines, "
            f"{len(self.sessions)} clients, {work.placement.waiting} waiting, "
            f"{work.unfinished} unfinished>"
        )


def _patience(party: Session | Supervisor) -> float:
    """Seconds that this party may be without any connection."""
    return party.patience if isinstance(party, Supervisor) else FORGET_CLIENT


def _not_registered(id: int, here: Iterable[int], number: int) -> m.Refused:
    reason = f"no engine {id} is registered; there are {sorted(here)}"
    return m.Refused(reason, "NoEnginesRegistered", number)


def _worth(session: Session) -> Literal["debug", "info"]:
    """The level at which to log of a client: monitors come and go with each look at the cluster."""
    return "debug" if session.role == "monitor" else "info"


def _unknown() -> Usage:
    return {"memory": 0, "memory_limit": 0}


def _party(hello: m.Hello) -> tuple[object, ...]:
    """Who it is that says hello, and on which lane."""
    return hello.kind, hello.lane, hello.identity, hello.incarnation
