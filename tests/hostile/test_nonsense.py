"""H4: whatever the holder of a key says, the controller goes on and nobody else is disturbed."""

from __future__ import annotations

import math
import time
from copy import deepcopy
from random import Random
from typing import Any

import msgspec
import pytest

from enginery.core import events as e
from enginery.core import laws
from enginery.core import messages as m
from enginery.core.engines import Place
from enginery.core.sessions import Session
from enginery.error import ProtocolError
from enginery.wire import codec

from .small_cluster import BLOB, FUNCTION, SmallCluster, drops, sent

ALL = ("engine", "engine", "client", "task", "monitor")
MUTANTS = 30_000
"""In one test."""

LIFE = 3_000
"""Mutants that one cluster hears."""

PATIENCE = 30.0
"""Seconds that all mutants of one test may take together."""

NASTY: list[Any] = [
    math.nan, math.inf, -math.inf, -1, 0, 1, 2, 255, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1,
    -(2**63), "", "x", "\0\n\x1b[2J", "tasks", "control", "engine", "client", "ok", b"", b"\0" * 15,
    b"\0" * 16, b"\0" * 17, None, True, False, [], {}, {"uptime": "long"}, {"reason": None}, [-1],
    [0, 1], ["x"], [[]], {"msg_id": None}, {"msg_id": ["x"]},
    {"msg_id": {"$in": [[], None]}}, 1e308, "status", "tasks", "fetch", "story", "queues", "states",
]  # fmt: skip


class Stranger:
    """Somebody with a key of one role, and a connection on which it says what it likes.

    All strangers of a cluster tell each other their secrets: `secrets`.
    """

    def __init__(self, cluster: SmallCluster, role: str, secrets: list[bytes]) -> None:
        self.cluster, self.role, self.secrets = cluster, role, secrets
        self.random = cluster.random
        self.number = 0
        self.own = len(secrets)  # which of the secrets it mostly uses
        secrets.append(cluster.secret())
        self.come()

    def come(self) -> None:
        """A new connection, on which it may or may not have said who it is."""
        self.number += 1
        self.id = ""
        self.ids: list[str] = []
        self.lane = self.random.choice(("tasks", "tasks", "control"))
        self.conn = (f"{self.role} {self.number}", self.lane, id(self))
        if self.random.random() < 0.1:
            self.secrets[self.own] = self.cluster.secret()
        if self.random.random() < 0.9:
            self.say(self.hello())

    def hello(self) -> m.Hello:
        """One that is nearly always in order."""
        random = self.random
        kind = random.choice(("engine", "supervisor")) if self.role == "engine" else "client"
        if random.random() < 0.02:
            kind = random.choice(("engine", "supervisor", "client"))
        own = self.secrets[self.own]
        return self.cluster.hello(
            kind, self.lane, host="h", pid=3, places=tuple(self.secrets),
            identity=own if random.random() < 0.95 else random.choice(self.secrets),
            incarnation=own if random.random() < 0.7 else self.cluster.secret(),
            seen=random.choice((0, 0, 0, 1, 2, 2**64 - 1)),
        )  # fmt: skip

    def say(self, message: m.Message) -> list[e.Effect]:
        """Say this; gives what the controller does about it."""
        effects = self.cluster.hear(self.conn, self.role, message)
        for effect in effects:
            match effect:
                case e.Send(conn=conn, message=m.Welcome(id=id)) if conn == self.conn:
                    self.id = str(id)
        return effects

    def go_on(self, effects: list[e.Effect]) -> None:
        """Do what follows for the connection, or perhaps not."""
        dropped = any(isinstance(x, e.Drop) and x.conn == self.conn for x in effects)
        if self.random.random() < (0.7 if dropped else 0.02):
            self.cluster.closed(self.conn)
            self.come()
        elif self.party is None and self.random.random() < 0.5:
            self.say(self.hello())

    @property
    def party(self) -> Any:
        """Whom the controller takes it for."""
        return self.cluster.party(self.conn)

    def seq(self) -> int:
        """Mostly the number that its next message has to have."""
        match self.party:
            case Session(submitted=last) | Place(results=last) if self.random.random() < 0.9:
                return int(last) + 1
        return self.random.randrange(5)

    def result(self) -> m.Result:
        """Half of them of an attempt that is its own."""
        random, party = self.random, self.party
        status = random.choice(("ok", "error", "aborted"))
        if isinstance(party, Place) and party.sent and random.random() < 0.5:
            record = random.choice(list(party.sent.values()))
            return m.Result(record.spec.id, record.attempt, status, b"lie")
        id = random.choice([*list(self.cluster.wanted)[-8:], *self.ids, "x-1"])
        return m.Result(id, random.randrange(4), status, b"lie", (m.Buffer(b"z"),), outputs=1)

    def alike(self, id: str) -> m.Alike:
        """Perhaps with names that are there already, or with no names of tasks."""
        between = self.random.choice(("", ".", "1"))
        ids = [f"{id}{between}{i}" for i in range(self.random.randrange(1, 6))]
        ids += [id] * (between != ".")
        return m.Alike(FUNCTION, "f", "l", 0, ids, [b"a"] * len(ids), [1.0] * len(ids))

    def ran(self) -> m.Ran:
        """Of some tasks, perhaps of one twice."""
        ids = [self.result().id for _ in range(self.random.randrange(5))]
        times = [self.random.choice((1.0, math.nan, math.inf))] * len(ids)
        return m.Ran(ids, [b"lie"] * len(ids), [1.0] * len(ids), times, [0] * len(ids))

    def exited(self, reason: str) -> m.Exited:
        """Mostly of an engine that is a stranger's, often of its life of now."""
        random = self.random
        place, incarnation = random.choices([*self.secrets, self.cluster.secret()], k=2)
        life = self.cluster.controller.by_identity.get(place)
        if life is not None and random.random() < 0.5:
            incarnation = life.incarnation
        started, finished = random.randrange(5), random.randrange(5)
        facts = random.choice(({}, {"uptime": 1.0}, {"uptime": "long", "reason": ["why"]}))
        replaced = random.random() < 0.5
        return m.Exited(place, incarnation, started, finished, reason, replaced, facts)

    def sensible(self) -> m.Message:
        """A message that is valid, and often in place."""
        random, cluster = self.random, self.cluster
        others = list(cluster.wanted)[-8:]
        mine = f"{self.id}-{random.randrange(20)}"
        self.ids = [mine, *self.ids[:5]]
        ids = random.choices([*others, *self.ids, "x-1"], k=2)
        seq, number = self.seq(), random.randrange(5)
        engine = random.choice((-1, -1, -1, 0, 1, 2, 3))
        task = m.Task(
            random.choice((ids[0], mine)), FUNCTION, b"a", name="f", engine=engine,
            targets=tuple(random.choices(range(2, 6), k=random.randrange(3))),
            retries=random.randrange(3), submitted=1.0, label="l",
        )  # fmt: skip
        alike = self.alike(mine)  # refused, or accepted, as a whole
        result = self.result()
        choices: list[m.Message] = [
            self.hello(),
            m.Submit(seq, [task, task]),
            m.Submit(seq, [task]),
            m.Define(FUNCTION, BLOB),
            m.Got(seq),
            m.Abort(ids, random.random() < 0.5, random.randrange(3), number),
            m.Query(number, random.choice(("status", "engines", "queues", "tasks", "states",
                    "story", "fetch")), ids, [0, engine], random.random() < 0.5),
            m.Results(seq, [result]),
            m.Results(seq, [self.result(), self.result()]),
            m.Submit(seq, [task] * (engine < 0 and "." not in alike.ids[0]), [alike, alike]),
            m.Results(seq, [result], self.ran()),
            m.Output(result.id, result.attempt, 0, "stdout", "lie"),
            m.Dropped([result.id, "x-1"], [number, number]),
            self.exited("why"),
            m.Need((FUNCTION, cluster.secret())),
            m.Reply(number, {"a": [1]}),
            m.Goodbye("bye"),
        ]  # fmt: skip
        if self.role == "client":  # the others may not, and the honest would notice
            choices += [m.Signal(2, [engine], number), m.Clear([engine], number)]
        else:
            choices += [m.Shutdown([0], True, True, number), m.Signal(9, [0], 1), m.Clear([0])]
        rare = (m.Hello, m.Goodbye)
        return random.choices(choices, [1 if isinstance(c, rare) else 5 for c in choices])[0]


def mutate(random: Random, frames: list[bytes]) -> list[bytes]:
    """The same batch with something in it changed: a value, or just bytes."""
    if random.random() < 0.7:
        return [_other_values(random, frames[0]), *frames[1:]]
    batch = bytearray(frames[0])
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(batch))
        match random.randrange(4):
            case 0:
                batch[at] = random.randrange(256)
            case 1:
                batch[at] ^= 1 << random.randrange(8)
            case 2:
                del batch[at : at + random.randrange(1, 5)]
                batch += b"\0" * (not batch)
            case 3:
                batch[at:at] = random.randbytes(random.randrange(1, 5))
    return [bytes(batch), *frames[1:]]


def _other_values(random: Random, batch: bytes) -> bytes:
    content = msgspec.msgpack.decode(batch)
    for _ in range(random.choice((0, 0, 1, 1, 1, 2))):
        place = random.choice(content)
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = random.choice(keys)
            inner = place[key]
            if not isinstance(inner, list | dict) or not inner or random.random() < 0.3:
                tag = place is not inner and key == 0 and isinstance(inner, str)
                if not tag or random.random() < 0.1:
                    place[key] = deepcopy(random.choice(NASTY))
                break
            place = inner
    return msgspec.msgpack.encode(content)


def is_refusal(effects: list[e.Effect]) -> bool:
    """Whether nothing was done but to refuse."""
    kinds = {type(x.message) if isinstance(x, e.Send) else type(x) for x in effects}
    logged = {x.event for x in effects if isinstance(x, e.Log)}
    refusals = {"peer.refused", "peer.misplaced", "client.flood"}
    return bool(kinds) and kinds <= {m.Refused, m.Again, e.Drop, e.Log} and logged <= refusals


def batch(stranger: Stranger) -> list[m.Message]:
    """A mutant; nothing, if it cannot be decoded."""
    random = stranger.random
    frames = codec.encode([stranger.sensible() for _ in range(random.choice((1, 1, 2)))])
    try:
        return codec.decode(mutate(random, [bytes(frame) for frame in frames]))
    except ProtocolError:
        return []


def say_and_compare(stranger: Stranger, message: m.Message) -> bool:
    """Whether it was refused; then nothing may have changed for the honest."""
    before = stranger.cluster.story()
    effects = stranger.say(message)
    refused = is_refusal(effects)
    if refused:
        assert stranger.cluster.story() == before, (message, effects)
    codec.encode([x.message for x in effects if isinstance(x, e.Send)])  # all of it can be sent
    stranger.go_on(effects)
    return refused


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("roles", [("engine", "engine", "task", "monitor"), ALL], ids=" ".join)
def test_no_mutant_stops_the_controller_or_disturbs_others(
    roles: tuple[str, ...], seed: int
) -> None:
    began, understood, refused = time.monotonic(), 0, 0
    for life in range(MUTANTS // LIFE):
        limits = {"record_limit": 40, "crash_limit": 1} if life % 2 else {}
        cluster = SmallCluster(seed * 1000 + life, **limits)
        secrets: list[bytes] = []
        strangers = [Stranger(cluster, role, secrets) for role in roles]
        cluster.submit(4)
        for number in range(LIFE):
            stranger = cluster.random.choice(strangers)
            messages = batch(stranger)
            understood += bool(messages)
            for message in messages:
                refused += say_and_compare(stranger, message)
            cluster.now += 0.001
            cluster.controller.deadline()
            if number % 100 == 0:
                cluster.work()
                cluster.submit(2, engine=number // 100 % 2)
                cluster.submit(2)
            if number % 1000 == 0:
                cluster.now += cluster.random.choice((2.0, 700.0))
                cluster.tick()
                laws.check(cluster.controller)
        if "client" in roles:  # which may abort whatever it likes
            laws.check(cluster.controller)
        else:
            cluster.finish()
    assert understood > MUTANTS // 5
    assert refused > MUTANTS // 100
    assert time.monotonic() - began < PATIENCE


# --- what mutants have found, and what they may not find every time ---------------------------


@pytest.fixture
def cluster() -> SmallCluster:
    return SmallCluster()


def task(id: str, **fields: Any) -> m.Task:
    return m.Task(id, FUNCTION, b"a", **fields)


@pytest.mark.parametrize("seen", [-1, 2**53, 2**64 - 1])
@pytest.mark.parametrize(("role", "kind"), [("engine", "engine"), ("client", "client")])
def test_nobody_has_seen_more_than_there_can_be(
    cluster: SmallCluster, role: str, kind: str, seen: int
) -> None:
    """The next number after it could not be encoded, and the controller would end."""
    effects = cluster.hear("x", role, cluster.hello(kind, seen=seen))
    assert [refused.error for refused in sent(effects, m.Refused)] == ["ProtocolError"]
    assert cluster.party("x") is None


@pytest.mark.parametrize("kind", ["engine", "supervisor", "client"])
@pytest.mark.parametrize("size", [0, 15, 17, 10_000])
def test_identities_have_sixteen_bytes(cluster: SmallCluster, kind: str, size: int) -> None:
    role = "client" if kind == "client" else "engine"
    effects = cluster.hear("x", role, cluster.hello(kind, identity=bytes(size)))
    assert [refused.error for refused in sent(effects, m.Refused)] == ["ProtocolError"]
    assert cluster.party("x") is None


def test_a_supervisor_may_tell_any_facts_of_its_own_engines(cluster: SmallCluster) -> None:
    """They are passed on, and do not stand in the place of what the controller knows."""
    engine = cluster.come("engine", "engine")
    place = cluster.party(engine)
    client = cluster.come("client", "client")
    cluster.hear(client, "client", m.Define(FUNCTION, BLOB))
    cluster.hear(client, "client", m.Submit(1, [task("x-1", engine=place.id)]))
    facts = {"uptime": "long", "reason": ["why"], "pid": None, "replaced": 7, "more": {"a": [1]}}
    exited = m.Exited(place.identity, place.incarnation, 1, 0, "because", False, facts)
    supervisor = cluster.come("engine", "supervisor", places=(place.identity,))
    cluster.hear(supervisor, "engine", exited)
    [deliver] = sent(cluster.closed(engine), m.Deliver)
    [outcome] = deliver.outcomes
    told = {name: outcome.facts[name] for name in ("reason", "pid", "replaced", "more")}
    assert told == {"reason": "because", "pid": 0, "replaced": False, "more": {"a": [1]}}
    cluster.finish()


@pytest.mark.parametrize(("first", "then"), [("engine", "supervisor"), ("supervisor", "engine")])
def test_nobody_becomes_somebody_else_on_a_connection(
    cluster: SmallCluster, first: str, then: str
) -> None:
    """An engine that did would never be given up, nor what it was given to do."""
    conn = cluster.come("engine", first)
    party = cluster.party(conn)
    effects = cluster.hear(conn, "engine", cluster.hello(then, identity=party.identity))
    assert drops(effects) == [conn]
    assert cluster.party(conn) is party
    cluster.closed(conn)
    cluster.now += 10
    cluster.tick()
    assert not any(p.here and p.id > 1 for p in cluster.controller.work.places.values())


def test_ids_of_the_tasks_of_others_change_nothing_for_them(cluster: SmallCluster) -> None:
    ids = cluster.submit(5)
    stranger = cluster.come("task", "client")
    cluster.hear(stranger, "task", m.Define(FUNCTION, BLOB))
    again = [task(id) for id in (*ids, *ids, "x-1", "x-1")]
    effects = cluster.hear(stranger, "task", m.Submit(1, again))
    told = [outcome for deliver in sent(effects, m.Deliver) for outcome in deliver.outcomes]
    assert [(outcome.id, outcome.status) for outcome in told] == [(id, "lost") for id in ids * 2]
    assert all("another client" in outcome.facts["reason"] for outcome in told)
    aborts = [m.Abort([*ids, "x-9", ""], running, number=n) for n, running in enumerate((0, 1))]
    effects = cluster.hear(stranger, "task", *aborts)
    assert [reply.number for reply in sent(effects, m.Reply)] == [0, 1]
    cluster.finish()


@pytest.mark.parametrize(
    "where",
    [
        {"engine": 99},
        {"engine": 2**40},
        {"targets": (99,)},
        {"targets": (-1,)},
        {"targets": (0, -7)},
    ],
    ids=repr,
)
def test_engines_that_cannot_be_are_told_at_once(
    cluster: SmallCluster, where: dict[str, Any]
) -> None:
    conn = cluster.come("client", "client")
    cluster.hear(conn, "client", m.Define(FUNCTION, BLOB))
    effects = cluster.hear(conn, "client", m.Submit(1, [task("x-1", retries=-3, **where)]))
    [deliver] = sent(effects, m.Deliver)
    assert [outcome.status for outcome in deliver.outcomes] == ["lost"]
    for command in (m.Signal(2, [99], 1), m.Clear([-1], 2), m.Shutdown([2**63], number=3)):
        [refused] = sent(cluster.hear(conn, "client", command), m.Refused)
        assert refused.number == command.number
    laws.check(cluster.controller)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1e308])
def test_times_may_be_anything(cluster: SmallCluster, number: float) -> None:
    conn = cluster.come("client", "client")
    cluster.hear(conn, "client", m.Define(FUNCTION, BLOB))
    cluster.hear(conn, "client", m.Submit(1, [task("x-1", submitted=number, retries=-1)]))
    effects = cluster.hear(conn, "client", m.Query(1, "tasks", ["x-1"]))
    codec.encode(sent(effects, m.Message))
    laws.check(cluster.controller)
    cluster.finish()
