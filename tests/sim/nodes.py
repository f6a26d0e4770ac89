"""Processes and how they connect; the controller. Each drives one real machine (see `peers`)."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from math import isfinite
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from msgspec.structs import replace

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.controller import Controller
from enginery.core.journal import Journal
from enginery.core.replay import Replay

from .disk import Disk
from .network import Batch, Connection

if TYPE_CHECKING:
    from .cluster import Cluster

LANES = ("tasks", "control")


Outbox = dict[Any, list[m.Message]]
"""What is to be sent, by connection."""


def sort(effects: list[e.Effect], outbox: Outbox) -> list[e.Effect]:
    """Put what is said into the outbox, and give what is to be done."""
    others = []
    for effect in effects:
        if type(effect) is e.Send:
            batch = outbox.get(effect.conn)
            if batch is None:
                outbox[effect.conn] = [effect.message]
            else:
                batch.append(effect.message)
        else:
            others.append(effect)
    return others


class Process:
    """What the network and the operating system see of a process."""

    name: str

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.alive = True
        self.frozen = 0.0  # stopped until then
        self.core: Any = None

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so many seconds later."""
        self.frozen = max(self.frozen, self.cluster.clock.now + seconds)

    def hear(self, event: e.Event, outbox: Outbox) -> list[e.Effect]:
        """Hand an event to the machine; sort what it says from what it does."""
        self.cluster.events += 1
        return sort(self.core.handle(event, self.cluster.clock.now), outbox)


def fresh(message: m.Message) -> m.Message:
    """What arrives is a copy, with buffers of its own: the machine there may change it."""
    match message:
        case m.Abort():
            return copy(message)
        case m.Submit(seq=seq, tasks=tasks, alike=alike):
            tasks = [replace(task, buffers=copied(task.buffers)) for task in tasks]
            return m.Submit(seq, tasks, alike)
        case m.Results(seq=seq, results=results, ran=ran):
            each = [replace(result, buffers=copied(result.buffers)) for result in results]
            return m.Results(seq, each, ran)
    return message


def copied(buffers: tuple[m.Buffer, ...]) -> tuple[m.Buffer, ...]:
    """Other buffers of the same bytes."""
    return tuple(m.Buffer(bytes(buffer)) for buffer in buffers)


class ControllerNode(Process):
    """The controller: one, which goes on from its disk after it was killed."""

    name = "controller"

    def __init__(self, cluster: Cluster, journal: str) -> None:
        super().__init__(cluster)
        self.era = 0  # which life of it this is
        self.disk = Disk()
        self.core: Controller = self._new_core(Journal(journal))
        self.core.journal.begin_anew()
        self.tick_at: float | None = None
        self.inbox: list[tuple[Connection, Batch]] = []
        self.processes: dict[int, tuple[bytes, float]] = {}  # who is in a place, since when
        self.replaced = False  # the last loss was due to the life that joins now
        self.losses = 0  # lives of engines that it has seen end

    def _new_core(self, journal: Journal) -> Controller:
        self._buffers: WeakValueDictionary[bytes, m.Buffer] = WeakValueDictionary()
        cluster, name = self.cluster, f"controller {self.era}"
        scheme = type(cluster.scheme)()
        return Controller(name, "0", scheme, cluster.limits, journal=journal)

    # --- its lives ------------------------------------------------------------------------------

    def die(self) -> None:
        """SIGKILL: it hears nothing more, and nobody hears of it but by what breaks."""
        self.alive = False
        self.era += 1
        self.inbox.clear()
        self.tick_at = None

    def start(self) -> None:
        """Go on where the journal ends."""
        self.alive = True
        journal = Journal(self.core.journal.name)
        self.core = self._new_core(journal)
        replay = Replay()
        replay.follow(self.disk.turns())
        complete = not self.disk.torn
        journal.resume(self.disk.last)
        self.disk.synced = self.disk.last  # what it has read is there for good, it saw to that
        self.cluster.restarts_now(complete)
        effects = self.core.restore(replay, complete, self.cluster.clock.now)
        self.cluster.restarted(complete)
        self.act(effects)

    def append(self, effect: e.Append) -> None:
        """Write; what came of it is heard later."""
        size, clock = self.disk.append(effect), self.cluster.clock
        if size < 0:
            clock.after(0.0, self.hear_of, self.era, e.JournalFailed("No space left on device"))
        else:
            clock.after(self.cluster.sync(), self.synced, self.era, effect.number, size)

    def synced(self, era: int, number: int, size: int) -> None:
        """Something is there for good; what was written before it, too."""
        if era == self.era and self.disk.synced < number <= self.disk.last:
            self.disk.sync(number)
            self.hear_of(era, e.Synced(number, size, size))

    def hear_of(self, era: int, event: e.Event) -> None:
        """An event for this life of it."""
        if era != self.era:
            return
        if self.frozen > self.cluster.clock.now:
            self.cluster.clock.at(self.frozen, self.hear_of, era, event)
        else:
            self.handle(event)

    # --- what it does ---------------------------------------------------------------------------

    def arrived(self, connection: Connection, batch: Batch) -> None:
        """Something is there to be read; the loop reads all that is there in one turn."""
        if connection.era != self.era:
            return
        if not self.inbox:
            self.cluster.clock.after(self.cluster.turn(), self.turn)
        self.inbox.append((connection, batch))

    def turn(self) -> None:
        """As the loop of the real one: read everything, decide once, send one batch to each."""
        cluster = self.cluster
        if not self.inbox:
            return
        if self.frozen > cluster.clock.now:
            cluster.clock.at(self.frozen, self.turn)
            return
        inbox, self.inbox = self.inbox, []
        effects: list[e.Effect] = []
        now = cluster.clock.now
        for connection, batch in inbox:
            cluster.events += len(batch)
            for message in batch:
                if cluster.trace is not None:
                    cluster.tell(connection.peer.name, self.name, message)
                if isinstance(message, m.Submit):
                    self._keep(message)
                self.core.feed(e.Received(connection, connection.role, message), now, effects)
        self.core.settle(now, effects)
        self.act(effects)
        self.core.tidy()

    def _keep(self, submit: m.Submit) -> None:
        """What is there already is the same buffer when it comes again, as in shared memory."""
        known = self._buffers
        for task in submit.tasks:
            task.buffers = tuple(known.setdefault(bytes(each), each) for each in task.buffers)

    def ended(self, connection: Connection) -> None:
        """The monitor says that a peer has left; what it still had to say is read first."""
        if connection.era != self.era:
            return
        self.turn()
        self.cluster.note(f"controller: the connection {connection!r} has ended")
        self.handle(e.Closed(connection))

    def handle(self, event: e.Event) -> None:
        """One event, with all that follows."""
        self.cluster.events += 1
        self.act(self.core.handle(event, self.cluster.clock.now))

    def act(self, effects: list[e.Effect]) -> None:
        """Do what the machine wants done."""
        outbox: Outbox = {}
        self.carry_out(sort(effects, outbox))
        self.flush(outbox)

    def carry_out(self, effects: list[e.Effect]) -> None:
        """What is not to be sent: cut, count, log."""
        for effect in effects:
            if isinstance(effect, e.Drop):
                self.cluster.drops += 1
                self.cluster.note(f"controller cuts {effect.conn!r}: {effect.why}")
                assert isinstance(effect.conn, Connection)
                effect.conn.cut()
            elif isinstance(effect, e.Append):
                self.append(effect)
            elif isinstance(effect, e.Trim):
                self.disk.trim(effect)
            elif isinstance(effect, e.Log):
                self.cluster.note(f"controller logs {effect.event}: {effect.fields}")
                if effect.event == "engine.lost":
                    self.losses += 1
                    self.replaced = effect.fields["reason"] == "a new life has taken its place"
                elif effect.event == "engine.joined":
                    self.joined(effect.fields["engine"])

    def joined(self, id: int) -> None:
        """Only another process takes the place of a life that was not given up."""
        place = self.core.work.places[id]
        process = place.incarnation[:12]
        honest = any(e.place == place.identity and not e.byzantine for e in self.cluster.engines)
        now = self.cluster.clock.now
        before, since = self.processes.get(id, (b"", now))
        same = before == process and since < now  # of two in one turn, only the last is known
        if self.replaced and same and honest:
            raise AssertionError("a process is not taken for its own successor")
        self.replaced = False
        self.processes[id] = process, now

    def flush(self, outbox: Outbox) -> None:
        """Send; then see when the machine wants to be woken, and let the laws be checked."""
        for connection, batch in outbox.items():
            connection.down.send(batch)
            if connection.peer.byzantine:
                connection.peer.note_work(batch)
        deadline = self.core.deadline()
        assert deadline is None or isfinite(deadline), "nobody can wait until then"
        if deadline is not None and (self.tick_at is None or deadline < self.tick_at):
            self.tick_at = deadline
            self.cluster.clock.at(deadline, self.tick, deadline)
        self.cluster.examine()

    def tick(self, due: float) -> None:
        """The deadline has come."""
        clock = self.cluster.clock
        if not self.alive or self.tick_at != due:
            return
        if self.frozen > clock.now:
            clock.at(self.frozen, self.tick, due)
            return
        self.tick_at = None
        deadline = self.core.deadline()
        if deadline is None:
            return
        if deadline <= clock.now:
            self.cluster.events -= 1  # a timer alone does not count
            self.handle(e.Tick())
            deadline = self.core.deadline()
            if deadline is not None and deadline <= clock.now:
                self.handle(e.Tick())  # what was called back by the first has waited for too long
                deadline = self.core.deadline()
            assert deadline is None or deadline > clock.now, "a tick moves the deadline"
        elif self.tick_at is None:
            self.tick_at = deadline
            clock.at(deadline, self.tick, deadline)


class Peer(Process):
    """A process that connects to the controller, again and again."""

    role = "engine"
    lanes: tuple[str, ...] = LANES
    byzantine = False

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.wires: dict[str, list[Connection]] = {lane: [] for lane in self.lanes}
        self.dialing: set[str] = set()

    def begin(self) -> None:
        """Start to connect."""
        for lane in self.lanes:
            self.dial(lane, self.cluster.startup())

    def dial(self, lane: str, delay: float) -> None:
        """Connect (again) in so many seconds."""
        if lane not in self.dialing:
            self.dialing.add(lane)
            self.cluster.clock.after(delay, self.connect, lane)

    def connect(self, lane: str) -> None:
        """A connection is up; the machine is told when it has been told of the end of the last."""
        clock = self.cluster.clock
        hold = max(self.frozen, self.cluster.controller.frozen)
        if not self.alive:
            return
        if hold > clock.now:
            clock.at(hold, self.connect, lane)
            return
        if not self.cluster.controller.alive:
            clock.after(0.01 + self.cluster.backoff(), self.connect, lane)
            return
        self.dialing.discard(lane)
        self.wires[lane].append(self.cluster.connection(self, lane))
        self.tell_news(lane)

    def tell_news(self, lane: str) -> None:
        """Ends and beginnings of connections reach the machine in their order."""
        wires = self.wires[lane]
        while wires and wires[0].over:
            if wires.pop(0).announced:
                self.cluster.note(f"{self.name}: the {lane} connection has ended")
                self.handle(e.Closed(lane))
        if not wires:
            self.dial(lane, self.cluster.backoff())
        elif not wires[0].announced:
            wires[0].announced = True
            self.handle(e.Opened(lane))

    def break_off(self, lane: str, up: float, down: float, late: bool) -> bool:
        """Cut a connection. When `late`, the next one is up before the machine hears of it."""
        wires = self.wires[lane]
        if not self.alive or not wires or not wires[-1].whole:
            return False
        self.cluster.note(f"the {lane} connection of {self.name} breaks")
        wires[-1].cut(up, down)
        if late:
            self.dial(lane, self.cluster.backoff())
        return True

    def heal(self) -> None:
        """Its connections are as fast as new ones."""
        base, _ = self.cluster.delay
        for wires in self.wires.values():
            for wire in wires:
                wire.up.base = wire.down.base = base

    def ended(self, connection: Connection) -> None:
        """The end of a connection has been read."""
        connection.over = True
        if self.alive:
            self.tell_news(connection.lane)

    def arrived(self, connection: Connection, batch: Batch) -> None:
        """Each message to the machine, one batch back on each lane."""
        if not self.alive:
            return
        outbox: Outbox = {}
        effects = []
        lane = connection.lane
        for message in batch:
            if self.cluster.trace is not None:
                self.cluster.tell("controller", self.name, message)
            effects += self.hear(e.Received(lane, "controller", message), outbox)
        self.flush(outbox)
        self.carry_out(effects)

    def handle(self, event: e.Event) -> None:
        """One event, with all that follows."""
        outbox: Outbox = {}
        effects = self.hear(event, outbox)
        self.flush(outbox)
        self.carry_out(effects)

    def flush(self, outbox: Outbox) -> None:
        """Send on the newest connection of each lane, if there is one."""
        for lane, batch in outbox.items():
            if wires := self.wires[lane]:
                wires[-1].up.send([fresh(message) for message in batch])

    def carry_out(self, effects: Iterable[e.Effect]) -> None:
        """Do what the machine wants done; the subclass knows how."""

    def die(self) -> None:
        """The process ends; what the network still has of it arrives, or a part of that."""
        self.alive = False
        for wires in self.wires.values():
            for wire in wires:
                wire.cut(self.cluster.notice())
