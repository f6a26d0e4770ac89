"""H2, H3: who sends without end, never reads or keeps no order harms itself and costs little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from enginery import Client, EngineError
from enginery.core import laws
from enginery.core import messages as m
from enginery.core.engines import AHEAD, AHEAD_BYTES
from enginery.core.quota import LEAST_CREDIT
from enginery.core.sessions import HELD, WINDOW
from enginery.net import sockets
from enginery.net.keys import ConnectionFile
from enginery.wire import payload
from enginery.wire.functions import FunctionCache

from .controllers import controller
from .peer import Peer, Peers, hello
from .small_cluster import BLOB, FUNCTION, SmallCluster, drops, sent

MEGABYTE = 1 << 20
BUDGET = 8
"""Megabytes of tasks that a small controller holds."""


def task(id: str, size: int = 0, **fields: object) -> m.Task:
    """A task of about this size."""
    return m.Task(id, FUNCTION, bytes(size), **fields)  # type: ignore[arg-type]


# --- a controller with little memory ----------------------------------------------------------


@dataclass
class Small:
    """A controller process with a small budget."""

    process: psutil.Process
    files: dict[str, ConnectionFile]

    def megabytes(self) -> float:
        return float(self.process.memory_info().rss) / MEGABYTE


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    profile = tmp_path / "profile_small"
    with controller(profile, queue_bytes=BUDGET * MEGABYTE) as (process, files):
        yield Small(process, files)


@pytest.mark.parametrize("defined", [True, False], ids=["over budget", "without its function"])
def test_a_client_that_sends_beyond_its_credit_is_dropped(small: Small, defined: bool) -> None:
    before = small.megabytes()
    context = sockets.new_context()
    try:
        engine, flood = Peer(context, small.files["engine"]), Peer(context, small.files["task"])
        engine.say(hello("engine"))
        engine.hear(m.Welcome)
        flood.say(hello("client"))
        welcome = flood.hear(m.Welcome)
        assert welcome.credit == LEAST_CREDIT
        if defined:
            flood.say(m.Define(FUNCTION, BLOB))
        for seq in range(1, 200):
            flood.say(m.Submit(seq, [task(f"{welcome.id}-{seq}", 4 * MEGABYTE)]))
            if flood.has(sockets.Down):
                break
        flood.event(sockets.Down)
        assert small.megabytes() - before <= BUDGET + 64
        served_by(engine, Peer(context, small.files["client"]))  # others do not notice
    finally:
        context.destroy(linger=0)


def served_by(engine: Peer, client: Peer) -> None:
    """A direct request of this client is done by this engine."""
    client.say(hello("client"))
    id = f"{client.hear(m.Welcome).id}-1"
    client.say(m.Define(FUNCTION, BLOB), m.Submit(1, [task(id, engine=0)]))
    while (attempt := engine.hear(m.Run).attempts[0]).id != id:
        pass
    engine.say(m.Results(1, [m.Result(id, attempt.attempt, "ok", b"done")]))
    while not (outcomes := client.hear(m.Deliver).outcomes):
        pass
    assert [(outcome.id, outcome.value) for outcome in outcomes] == [(id, b"done")]


def test_a_monitor_is_not_heard_when_it_asks_at_length(small: Small) -> None:
    context = sockets.new_context()
    try:
        monitor = Peer(context, small.files["monitor"])
        monitor.say(hello("client"))
        monitor.hear(m.Welcome)
        for number, megabytes in ((1, 5), (2, 3)):
            where = {"name": {"$in": [""] * (megabytes * MEGABYTE)}}
            monitor.say(m.Query(number, "database", where=where))
        assert monitor.hear(m.Reply).number == 2
    finally:
        context.destroy(linger=0)


# --- who does not read ------------------------------------------------------------------------


def test_a_client_that_confirms_nothing_is_sent_a_window_full(peers: Peers, honest: Client) -> None:
    size, count = 8 * MEGABYTE, 14
    peer = peers("client")
    peer.say(hello("client"))
    name = peer.hear(m.Welcome).id
    hash, blob = FunctionCache(MEGABYTE).serialize(bytes)
    arguments = payload.dumps(((size,), {}))[0]
    tasks = [m.Task(f"{name}-{n}", hash, arguments, targets=(0, 1)) for n in range(count)]
    peer.say(m.Define(hash, blob), m.Submit(1, tasks))
    arrived: list[m.Deliver] = []
    while sum(len(deliver.outcomes) for deliver in arrived) < WINDOW // size:
        arrived.append(peer.hear(m.Deliver))
    results = [honest[:].apply_sync(abs, -n) for n in range(20)]  # the engines are done by now
    assert results == [[n, n] for n in range(20)]
    control = peers("client")
    control.say(hello("client", "control"))
    control.hear(m.Welcome)
    control.say(m.Query(1, "states", [task.id for task in tasks]))
    assert control.hear(m.Reply).value == {"done": count}
    peer.say(m.Query(1, "status"))
    peer.hear(m.Reply)  # and nothing else has been said before
    got = sum(len(deliver.outcomes) for deliver in arrived)
    assert WINDOW // size <= got <= WINDOW // size + 1
    peer.say(m.Got(arrived[-1].seq))
    while got < count:
        got += len(peer.hear(m.Deliver).outcomes)
    assert got == count


def test_an_engine_that_does_nothing_is_sent_a_bounded_part(peers: Peers, honest: Client) -> None:
    peer, said = peers.known("engine")
    engine = max(info["id"] for info in honest.link.ask(m.Query(0, "engines")))
    assert honest.link.wait(lambda: engine in honest.link.engines, 10)
    results = [honest[engine].apply_async(abs, -n) for n in range(AHEAD + 100)]
    given = 0
    while given < AHEAD:
        given += len(peer.hear(m.Run).attempts)
    assert honest[0].apply_sync(abs, -1) == 1
    extra = peer.answers(m.Reply(0), said)
    assert given == AHEAD
    assert not any(isinstance(answer, m.Run) for answer in extra)
    peer.say(m.Goodbye("it has done nothing"))
    for result in results:
        with pytest.raises(EngineError):
            result.get(timeout=10)


# --- order ------------------------------------------------------------------------------------


def test_submissions_count_in_their_order_and_once(peers: Peers, honest: Client) -> None:
    peer = peers("client")
    peer.say(hello("client"))
    name = peer.hear(m.Welcome).id
    hash, blob = FunctionCache(MEGABYTE).serialize(abs)
    submits = [
        m.Submit(n, [m.Task(f"{name}-{n}", hash, payload.dumps(((-n,), {}))[0], targets=(0, 1))])
        for n in (1, 2, 3)
    ]
    peer.say(m.Define(hash, blob), submits[2], submits[1], submits[0], submits[0], submits[2])
    peer.say(submits[1], submits[1], submits[2], *submits)
    seen: dict[str, list[object]] = {}
    while len(seen) < 3:
        deliver = peer.hear(m.Deliver)
        for outcome in deliver.outcomes:
            value = payload.loads(outcome.value, outcome.buffers).value
            seen.setdefault(outcome.id, []).append(value)
        peer.say(m.Got(deliver.seq), m.Got(10**6), m.Got(-1))
    assert seen == {f"{name}-{n}": [n] for n in (1, 2, 3)}
    assert honest[0].apply_sync(abs, -1) == 1


def test_results_count_in_their_order(peers: Peers, honest: Client) -> None:
    peer, said = peers.known("engine")
    engine = max(info["id"] for info in honest.link.ask(m.Query(0, "engines")))
    assert honest.link.wait(lambda: engine in honest.link.engines, 10)
    results = [honest[engine].apply_async(abs, -n) for n in range(3)]
    attempts: list[m.Attempt] = []
    while len(attempts) < 3:
        attempts += peer.hear(m.Run).attempts
    messages = [
        m.Results(n, [m.Result(a.id, a.attempt, "ok", payload.dumps(n)[0])])
        for n, a in enumerate(attempts, 1)
    ]
    peer.say(messages[2], messages[1])
    peer.answers(m.Results(-1, []), said)
    assert not any(result.ready() for result in results)
    peer.say(messages[0], messages[0], *messages)
    assert [result.get(timeout=10) for result in results] == [1, 2, 3]
    peer.say(m.Goodbye("done"))


# --- the same, without sockets ----------------------------------------------------------------


@pytest.fixture
def cluster() -> SmallCluster:
    return SmallCluster(budget=MEGABYTE)


def test_nothing_is_accepted_over_the_budget_and_the_honest_are_served(
    cluster: SmallCluster,
) -> None:
    conn = cluster.come("task", "client")
    effects = cluster.hear(conn, "task", m.Define(FUNCTION, BLOB))
    lazy = cluster.come("engine", "engine")
    idle = cluster.party(lazy).id
    seq = 0
    while not drops(effects):
        seq += 1
        cluster.now += 0.1
        never = task(f"x-{seq}", MEGABYTE, targets=(idle,))
        effects = cluster.hear(conn, "task", m.Submit(seq, [never]))
        cluster.submit(1)
        cluster.work()
    assert drops(effects) == [conn]
    assert LEAST_CREDIT <= seq * MEGABYTE <= LEAST_CREDIT + 4 * MEGABYTE
    cluster.closed(conn)
    cluster.finish()


def test_empty_submissions_are_bounded_too(cluster: SmallCluster) -> None:
    conn = cluster.come("task", "client")
    cluster.hear(conn, "task", m.Submit(1, [m.Task("x-1", b"unknown", b"")]))
    session = cluster.party(conn)
    cluster.hear(conn, "task", *(m.Submit(seq, []) for seq in range(2, 1001)))
    assert session.unaccepted_bytes >= 1000 * 300


def test_aborts_of_what_never_comes_are_bounded(cluster: SmallCluster) -> None:
    conn = cluster.come("task", "client")
    abort = m.Abort(["x-1"] * 999, after=10**9)
    for _ in range(HELD // 1000):
        assert not drops(cluster.hear(conn, "task", abort))
    assert drops(cluster.hear(conn, "task", abort)) == [conn]


def test_hello_again_and_again_sends_nothing_twice(cluster: SmallCluster) -> None:
    client = cluster.come("client", "client")
    session = cluster.party(client)
    cluster.hear(client, "client", m.Define(FUNCTION, BLOB))
    engine = cluster.come("engine", "engine")
    id = cluster.party(engine).id
    effects = cluster.hear(client, "client", m.Submit(1, [task("x-1", 1000, engine=id)]))
    assert len(sent(effects, m.Run)) == 1
    place = cluster.controller.work.places[id]
    again = cluster.hello("engine", identity=place.identity, incarnation=place.incarnation)
    effects = cluster.hear(engine, "engine", *[again] * 100)
    assert len(sent(effects, m.Welcome)) == 100
    assert sent(effects, m.Run) == []
    lie = m.Result("x-1", 1, "ok", b"large")
    [deliver] = sent(cluster.hear(engine, "engine", m.Results(1, [lie])), m.Deliver)
    again = cluster.hello("client", identity=session.identity)
    assert sent(cluster.hear(client, "client", *[again] * 100), m.Deliver) == []
    new = ("another connection", "tasks")
    assert sent(cluster.hear(new, "client", again), m.Deliver) == [deliver]


def test_what_is_under_way_to_one_engine_is_bounded_in_bytes(cluster: SmallCluster) -> None:
    cluster.controller.limits = cluster.controller.limits.__class__(budget=1 << 40)
    client = cluster.come("client", "client")
    cluster.hear(client, "client", m.Define(FUNCTION, BLOB))
    engine = cluster.come("engine", "engine")
    place = cluster.party(engine)
    tasks = [task(f"x-{n}", 5 * MEGABYTE, engine=place.id) for n in range(30)]
    runs = sent(cluster.hear(client, "client", m.Submit(1, tasks)), m.Run)
    size = sum(len(attempt.arguments) for run in runs for attempt in run.attempts)
    assert AHEAD_BYTES - 6 * MEGABYTE < size <= AHEAD_BYTES
    laws.check(cluster.controller)
    cluster.finish()
