"""Who may do what, cell by cell, over real sockets; and what is refused changes nothing."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from enginery import AsyncResult, Client, NotAllowedError, TaskAborted, UnknownTask
from enginery.core import messages as m
from enginery.core.messages import Query
from enginery.core.names import content_hash
from enginery.core.roles import MAY_SEND
from enginery.net import sockets
from enginery.wire import codec, payload
from enginery.wire.functions import FunctionCache

from .peer import Peer, Peers, foreign, hello, key_file

ROLES = ("engine", "task", "client", "monitor")
BLOB = FunctionCache(1 << 20).serialize(os.getpid)[1]
HASH = content_hash(BLOB)
SECRET = os.urandom(16)

EXAMPLES: list[m.Message] = [
    hello("client", "tasks"),
    m.Goodbye("bye"),
    m.Shares(),
    m.Need((SECRET,)),
    m.Results(1, [m.Result("x-1", 1, "ok", b"")]),
    m.Holds(0, 0, 0, [(1, "x-1", 1, "", 0)]),
    m.Output("x-1", 1, 0, "stdout", "text"),
    m.Dropped(["x-1"], [1]),
    m.Exited(SECRET, SECRET, 1, 1, "signal 9 (SIGKILL)", False),
    m.Kept(1, m.Segment(1, 3, 64, SECRET), [0]),
    m.Reply(1),
    m.Define(HASH, BLOB),
    m.Submit(1, []),
    m.Claim(["x-1"], 0, 0),
    m.Got(1),
    m.Abort(["x-1"], True, 0, 7),
    m.Query(7, "status"),
    m.Resubmit([], [], 7),
    m.Purge([], [], False, 7),
    m.Choose("leastload", 7),
    m.Changed(1),
    m.Signal(2, [], 7),
    m.Clear([], 7),
    m.Shutdown([], False, False, 7),
    m.Welcome("c", 1),
    m.Refused("no"),
    m.Again(),
    m.Accepted(1),
    m.Room(1),
    m.Run([]),
    m.Acked(1, "a life"),
    m.Keep(1, (), [1]),
    m.Deliver(1),
    m.Engines([]),
    m.Farmed(),
    m.Probed(1, "life"),
]
"""One of each message; where a role may send it, nothing comes of it."""

HARMFUL: list[m.Message] = [
    m.Signal(9, [0, 1], 7),
    m.Clear([0, 1], 7),
    m.Choose("lru", 7),
    m.Shutdown([0, 1], True, False, 7),
    m.Shutdown([], False, True, 7),
    m.Submit(1, [m.Task("x-1", HASH, payload.dumps(((), {}))[0], engine=0)]),
]
"""What only a client may do, and would be noticed."""


def name(message: Any) -> str:
    return type(message).__name__


@pytest.fixture(scope="module", autouse=True)
def job(honest: Client) -> Iterator[None]:
    """Something that the engines are doing all the time; in the end it must have come out right."""
    honest[0, 1].push({"mine": 1}, block=True)
    before = places(honest)
    stop = threading.Event()
    view = honest.load_balanced_view(targets=[0, 1])
    wrong: list[Any] = []

    def work() -> None:
        while not stop.is_set():
            got = view.map_sync(abs, range(-30, 0))
            if got != list(range(30, 0, -1)):
                wrong.append(got)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert wrong == []
    assert honest[0, 1]["mine"] == [1, 1]
    assert places(honest) == before


def places(client: Client) -> dict[int, Any]:
    """The lives of the engines of the cluster itself."""
    engines = client.link.ask(Query(0, "engines"))
    return {e["id"]: (e["incarnation"], e["pid"]) for e in engines if e["id"] in (0, 1)}


def test_there_is_an_example_of_each_message() -> None:
    assert {type(message) for message in EXAMPLES} == set(MAY_SEND)


# --- the table --------------------------------------------------------------------------------


@pytest.mark.parametrize("message", EXAMPLES, ids=name)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_send_what_the_table_says(peers: Peers, role: str, message: m.Message) -> None:
    peer, said = peers.known(role)
    fence = said
    if isinstance(message, m.Goodbye) and role == "engine":  # that life is over
        fence = replace(said, incarnation=os.urandom(16))
    answers = peer.answers(said if isinstance(message, m.Hello) else message, fence)
    refused = [answer for answer in answers if isinstance(answer, m.Refused)]
    if role in MAY_SEND[type(message)]:
        assert refused == []
        return
    [refusal] = refused
    assert refusal.error == "NotAllowedError"
    assert refusal.number == getattr(message, "number", 0)
    assert role in refusal.reason
    assert name(message) in refusal.reason


@pytest.mark.parametrize("message", EXAMPLES, ids=name)
@pytest.mark.parametrize("role", ROLES)
def test_who_has_not_said_hello_is_told_to(peers: Peers, role: str, message: m.Message) -> None:
    if isinstance(message, m.Hello):
        return
    peer = peers(role)
    answers = peer.answers(message, hello("engine" if role == "engine" else "client"))
    kinds = {type(answer) for answer in answers} - {m.Engines}
    assert kinds == {m.Again if role in MAY_SEND[type(message)] else m.Refused}


@pytest.mark.parametrize("port", ["engine", "client"])
@pytest.mark.parametrize("key", ["foreign", "of the other port"])
def test_with_a_wrong_key_nothing_can_be_said(peers: Peers, port: str, key: str) -> None:
    file = foreign(key_file(peers.cluster, port))
    if key != "foreign":
        other = key_file(peers.cluster, "client" if port == "engine" else "engine")
        file = dataclasses.replace(other, url=file.url)
    peer = peers(file)
    assert peer.event(sockets.Failed).kind == "refused"
    for message in EXAMPLES:
        assert not peer.throw(*codec.encode([message]))
    assert not any(isinstance(event, sockets.Up) for event in peer.events)


@pytest.mark.parametrize("message", HARMFUL, ids=name)
@pytest.mark.parametrize("role", ["engine", "task", "monitor"])
def test_only_a_client_may_command(peers: Peers, role: str, message: m.Message) -> None:
    peer, said = peers.known(role)
    if role == "task":
        peer.say(m.Define(HASH, BLOB))
    refused = [a for a in peer.answers(message, said) if isinstance(a, m.Refused)]
    assert [refusal.error for refusal in refused] == ["NotAllowedError"]


@pytest.mark.parametrize("role", ROLES)
def test_a_key_cannot_be_used_for_another_kind_of_peer(peers: Peers, role: str) -> None:
    for kind in ("client",) if role == "engine" else ("engine", "supervisor"):
        peer = peers(role)
        peer.say(hello(kind))
        assert peer.hear(m.Refused).error == "NotAllowedError"
        peer.close()


# --- engines ----------------------------------------------------------------------------------


class FakeEngine:
    """A registered engine that does only what a test says."""

    def __init__(self, peers: Peers, client: Client) -> None:
        self.peers, self.client = peers, client
        self.said = hello("engine", seen=0)
        self.peer = peers("engine")
        self.peer.say(self.said)
        self.id = int(self.peer.hear(m.Welcome).id)
        self.seq = 0
        assert client.link.wait(lambda: self.id in client.link.engines, 10)

    def given(self) -> tuple[AsyncResult, m.Attempt]:
        """A task of the client for this engine, and as it is told to it."""
        result = self.client[self.id].apply_async(os.getpid)
        return result, self.peer.hear(m.Run).attempts[0]

    def results(self, *results: m.Result) -> None:
        """Say that these have ended."""
        self.seq += 1
        self.peer.say(m.Results(self.seq, list(results)))

    def late(self) -> int:
        """How many results the controller did not want, ever."""
        self.peer.answers(m.Reply(0), self.said)  # it has read all that was said before
        return int(self.client.link.ask(Query(0, "status"))["late"])


@pytest.fixture
def fake(peers: Peers, honest: Client) -> Iterator[FakeEngine]:
    engine = FakeEngine(peers, honest)
    yield engine
    engine.peer.say(m.Goodbye("done"))
    assert honest.link.wait(lambda: engine.id not in honest.link.engines, 10)


LIE = payload.dumps("a lie")[0]


def test_an_engine_ends_its_own_attempts(fake: FakeEngine) -> None:
    result, attempt = fake.given()
    fake.results(m.Result(attempt.id, attempt.attempt, "ok", payload.dumps(42)[0]))
    assert result.get(timeout=10) == 42


def test_results_of_other_attempts_are_late(fake: FakeEngine) -> None:
    result, attempt = fake.given()
    before = fake.late()
    for number in (attempt.attempt - 1, attempt.attempt + 1, -1, 2**62):
        fake.results(m.Result(attempt.id, number, "ok", LIE))
    fake.results(m.Result("never-1", 1, "ok", LIE))
    assert fake.late() == before + 5
    assert not result.ready()
    fake.results(m.Result(attempt.id, attempt.attempt, "ok", payload.dumps(42)[0]))
    fake.results(m.Result(attempt.id, attempt.attempt, "ok", LIE))
    assert result.get(timeout=10) == 42
    assert fake.late() == before + 6


def test_an_engine_cannot_end_the_attempts_of_another(
    fake: FakeEngine, honest: Client, tmp_path: Any
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    result = honest[0].apply_async(open_and_read, str(gate))
    id = result.msg_ids[0]
    wait_for_state(honest, id, "sent")
    before = fake.late()
    for status in ("ok", "error", "aborted"):
        fake.results(m.Result(id, 1, status, LIE))
    fake.peer.say(
        m.Output(id, 1, 0, "stdout", "a lie"),
        m.Dropped([id] * 3, [0, 1, 2]),
        m.Exited(fake.said.identity, fake.said.incarnation, 9, 9, "a lie", False),
    )
    assert fake.late() == before + 3
    gate.write_text("the truth")
    assert result.get(timeout=10) == "the truth"
    assert result.stdout == ""


def open_and_read(path: str) -> str:
    with open(path) as file:
        return file.read()


def wait_for_state(client: Client, id: str, state: str) -> None:
    """Wait until a task is in this state."""

    def there() -> bool:
        return bool(client.link.ask(Query(0, "states", [id])).get(state))

    for _ in range(1000):
        if there():
            return
    raise AssertionError(f"{id} is not {state}")


def test_an_engine_sees_no_function_that_it_was_not_given(fake: FakeEngine) -> None:
    fake.client[0].apply_sync(os.getpid)
    _, attempt = fake.given()
    defined = fake.peer.answers(m.Need((attempt.function, HASH, SECRET)), fake.said)
    assert {d.hash for d in defined if isinstance(d, m.Define)} == {attempt.function}
    other, said = fake.peers.known("engine")
    assert other.answers(m.Need((attempt.function,)), said) == []
    other.say(m.Goodbye("done"))


# --- task-only clients and monitors -----------------------------------------------------------


@pytest.fixture
def running(honest: Client, tmp_path: Any) -> Iterator[AsyncResult]:
    """A task of the honest client that runs for as long as the test."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    result = honest[0].apply_async(open_and_read, str(gate))
    wait_for_state(honest, result.msg_ids[0], "sent")
    yield result
    gate.write_text("the truth")
    assert result.get(timeout=10) == "the truth"


def ask(peer: Peer, message: Any) -> m.Reply | m.Refused:
    """Ask the controller, and give its answer."""
    peer.say(message)
    while True:
        answer = peer.hear(m.Message)
        if isinstance(answer, m.Reply | m.Refused) and answer.number == message.number:
            return answer


def test_a_task_client_knows_nothing_of_the_tasks_of_others(
    peers: Peers, running: AsyncResult
) -> None:
    peer, _ = peers.known("task", "control")
    [id] = running.msg_ids
    for number, what in enumerate(("tasks", "story"), 1):
        answer = ask(peer, m.Query(number, what, [id]))
        assert isinstance(answer, m.Refused)
        assert answer.error == "UnknownTask"
    assert ask(peer, m.Query(3, "fetch", [id])) == m.Reply(3, {"unknown": [id]})
    assert ask(peer, m.Query(4, "states", [id])) == m.Reply(4, {"unknown": 1})
    assert isinstance(ask(peer, m.Abort([id], True, 0, 5)), m.Reply)
    for number, what in enumerate(("queues", "engines", "status"), 6):
        answer = ask(peer, m.Query(number, what, verbose=True))
        assert isinstance(answer, m.Reply)
        assert id not in repr(answer.value)
    assert not running.ready()


def test_a_task_client_can_do_nothing_with_the_tasks_of_others(
    peers: Peers, honest: Client, running: AsyncResult
) -> None:
    peer, _ = peers.known("task", "control")
    done = honest[1].apply_async(abs, -1)
    assert done.get(timeout=10) == 1
    [id] = done.msg_ids
    for message in (m.Resubmit([id], ["x-9"], 1), m.Purge([id], number=2)):
        answer = ask(peer, message)
        assert isinstance(answer, m.Refused)
        assert answer.error == "UnknownTask"
    assert isinstance(ask(peer, m.Purge(every=True, number=3)), m.Reply)
    assert honest.get_result(id).get(timeout=10) == 1
    for number, what in enumerate(("history", "database"), 4):
        assert ask(peer, m.Query(number, what)) == m.Reply(number, [])


def test_a_monitor_sees_no_code_in_the_history(peers: Peers, honest: Client) -> None:
    peer, _ = peers.known("monitor", "control")
    done = honest[1].apply_async(str, "an argument")
    assert done.get(timeout=10) == "an argument"
    [id] = done.msg_ids
    answer = ask(peer, m.Query(1, "history"))
    assert isinstance(answer, m.Reply)
    assert id in answer.value
    answer = ask(peer, m.Query(2, "database", where={"msg_id": id}))
    assert "argument" not in repr(answer)


def test_a_monitor_sees_ids_and_states_and_no_contents(
    peers: Peers, honest: Client, running: AsyncResult
) -> None:
    peer, _ = peers.known("monitor", "control")
    done = honest[1].apply_async(str, "an argument")
    assert done.get(timeout=10) == "an argument"
    ids = [*running.msg_ids, *done.msg_ids]
    answers = [
        ask(peer, m.Query(number, what, ids, verbose=True))
        for number, what in enumerate(("tasks", "story", "states", "queues", "engines"), 1)
    ]
    tasks = answers[0].value  # type: ignore[union-attr]
    assert [tasks[id]["state"] for id in ids] == ["sent", "done"]
    assert answers[2] == m.Reply(3, {"sent": 1, "done": 1})
    assert ids[0] in repr(answers[3])
    assert not any("argument" in repr(answer) or "gate" in repr(answer) for answer in answers)
    assert ask(peer, m.Query(9, "fetch", ids)) == m.Reply(9, {"unknown": ids})


def test_a_client_may_see_and_abort_everything(
    peers: Peers, honest: Client, running: AsyncResult
) -> None:
    peer, _ = peers.known("client", "control")
    behind = honest[0].apply_async(abs, -1)
    [id] = behind.msg_ids
    wait_for_state(honest, id, "sent")
    answer = ask(peer, m.Query(1, "tasks", [id]))
    assert isinstance(answer, m.Reply)
    assert answer.value[id]["state"] == "sent"
    assert isinstance(ask(peer, m.Abort([id], False, 0, 2)), m.Reply)
    with pytest.raises(TaskAborted):
        behind.get(timeout=10)
    assert not running.ready()


# --- the same through the public interface ----------------------------------------------------


DIRECT = {
    "apply": lambda c: c[0].apply_sync(os.getpid),
    "push": lambda c: c[:].push({"mine": 2}, block=True),
    "execute": lambda c: c[:].execute("mine = 2", block=True),
    "clear": lambda c: c.clear(),
    "signal": lambda c: c.send_signal(9),
    "shutdown": lambda c: c.shutdown(),
    "shutdown hub": lambda c: c.shutdown(hub=True),
}
CALLS = {**DIRECT, "balanced": lambda c: c.load_balanced_view().apply_sync(os.getpid)}
CELLS = [*(("task", call) for call in DIRECT), *(("monitor", call) for call in CALLS)]


@pytest.mark.parametrize(
    ("role", "call"),
    CELLS,
)
def test_users_are_told_what_their_key_may_not(peers: Peers, role: str, call: str) -> None:
    with Client(key_file(peers.cluster, role)) as client:
        client.wait_for_engines(2, timeout=10)
        with pytest.raises(NotAllowedError, match=f"{role} key"):
            CALLS[call](client)
        assert client.ids[:2] == [0, 1]


def test_users_with_a_task_key_may_balance_and_see_only_their_own(
    peers: Peers, running: AsyncResult
) -> None:
    with Client(key_file(peers.cluster, "task")) as client:
        result = client.load_balanced_view().apply_async(abs, -3)
        assert result.get(timeout=10) == 3
        assert client.get_result(result.msg_ids[0]).get(timeout=10) == 3
        with pytest.raises(UnknownTask):
            client.get_result(running.msg_ids[0])
        with pytest.raises(UnknownTask):
            client.abort(running.msg_ids)
