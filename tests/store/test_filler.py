"""What the journal says is in the database, once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from enginery.controller.store import answers, talk
from enginery.controller.store import filler as fillers
from enginery.controller.store import rows as rows_
from enginery.controller.store.answers import Answers
from enginery.controller.store.database import Database
from enginery.controller.store.filler import Filler
from enginery.controller.store.schema import tasks
from enginery.core import entries as e
from enginery.core import messages as m
from enginery.core.events import Question

from .history import OWNER, Hand, outcome, task


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    hand = Hand(tmp_path / "journal")
    yield hand
    hand.close()


@pytest.fixture
def fill(database: Database, hand: Hand) -> Callable[..., None]:
    """Starts a process of the database, as it were, which reads all there is and is killed."""

    def filled(name: str = "journal", **limits: Any) -> None:
        with closing(Filler(database, setup(hand, name, **limits))) as filler:
            while filler.fill():
                pass
            while filler.trim():
                pass

    return filled


def setup(hand: Hand, name: str = "journal", **limits: Any) -> talk.Setup:
    known = {"limit_bytes": 0, "limit_age": 0.0, "value_bytes": 1 << 20} | limits
    return talk.Setup("", "", "cluster", str(hand.directory), name, **known)


def found(database: Database, **which: Any) -> dict[str, Any]:
    """The documents of tasks that have ended, by their ids."""
    told = msgspec.msgpack.decode(Answers(database, "cluster").answer(Question("find", 0, **which)))
    return {id: document for _, id, document in told}


def states(database: Database) -> dict[str, str]:
    """All tasks: their status, or their state while they have not ended."""
    with database.engine.connect() as connection:
        rows = connection.execute(select(tasks.c.msg_id, tasks.c.state, tasks.c.status)).all()
    assert len({row.msg_id for row in rows}) == len(rows)
    return {row.msg_id: row.status or row.state for row in rows}


def story(database: Database, id: str) -> list[str]:
    told = Answers(database, "cluster").answer(Question("stories", 0, ids=[id]))
    return [what for _, what, _ in msgspec.msgpack.decode(told)[id]]


def outcomes(database: Database, *ids: str, **which: Any) -> list[m.Outcome]:
    told = Answers(database, "cluster").answer(Question("outcomes", 0, ids=list(ids), **which))
    packed, _ = msgspec.msgpack.decode(told, type=tuple[list[bytes], dict[str, Any]])
    return [talk.unpacked(each) for each in packed]


def state(id: str, **fields: Any) -> e.State:
    return e.State(OWNER, task(id), steps=[1_700_000_000.5, "accepted", -1], **fields)


def test_a_task_is_one_row_whether_read_at_once_or_piece_by_piece(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    steps = [
        lambda: hand.take("a-1", "a-2", name="fit", label="big", retries=2),
        lambda: hand.send("a-1", "a-2"),
        lambda: hand.end("a-1"),
        lambda: hand.end("a-2", status="error"),
    ]
    for step in steps:
        step()
        fill()
    hand.take("b-1", name="fit", label="big", retries=2)
    hand.send("b-1")
    hand.end("b-1")
    fill()
    told = found(database)
    assert {id: each["status"] for id, each in told.items()} == {
        "a-1": "ok", "a-2": "error", "b-1": "ok",
    }  # fmt: skip
    different = {"msg_id", "client"}
    first, last = (
        {k: v for k, v in told[id].items() if k not in different} for id in ("a-1", "b-1")
    )
    assert first == last
    whole = task("a-1", name="fit", label="big").size() + outcome("a-1").size()
    assert first["size"] == whole
    assert (first["attempt"], first["engine_id"], first["label"]) == (1, 0, "big")
    assert story(database, "a-1") == story(database, "b-1") == ["accepted", "send", "ok"]
    assert outcomes(database, "a-1") == [outcome("a-1")]


def test_nothing_is_missing_or_doubled_when_the_process_is_killed_between_portions(
    hand: Hand, database: Database, fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"a-{n}" for n in range(40)]
    for start in range(0, 40, 4):
        hand.take(*ids[start : start + 4])
        hand.send(*ids[start : start + 4])
        hand.end(*ids[start : start + 2])
    monkeypatch.setattr(fillers, "PORTION", 7)
    written = 0

    class Killed(Exception):
        pass

    write = Filler._write

    def dying(self: Filler) -> None:
        nonlocal written
        written += 1
        if written % 2 == 0:
            raise Killed  # it was read, and not written
        write(self)

    monkeypatch.setattr(Filler, "_write", dying)
    while True:
        try:
            fill()
            break
        except Killed:
            pass
    assert written > 6
    told = states(database)
    assert told == {id: "ok" if n % 4 < 2 else "sent" for n, id in enumerate(ids)}
    assert all(story(database, id) == ["accepted", "send", "ok"] for id in found(database))


def test_it_goes_on_in_the_next_segment_also_when_the_last_was_removed(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    hand.take("a-1", "a-2")
    filler = Filler(database, setup(hand))
    while filler.fill():
        pass
    hand.end("a-1")
    hand.account(state("a-2"))  # which removes what has not been read
    hand.end("a-2")
    while filler.fill():
        pass
    filler.close()
    assert states(database) == {"a-1": "ok", "a-2": "ok"}
    assert not filler.rows.gap


def test_what_was_never_read_is_told_by_the_next_account(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    hand.take("a-1", "a-2", "a-3", "a-4")
    fill()
    hand.end("a-1")  # and is forgotten
    hand.end("a-2")
    hand.take("a-5")
    ended = state("a-2", outcome=outcome("a-2"), finished=hand.now)
    hand.account(ended, state("a-3", place=1, attempt=1, n=1), state("a-5"))
    hand.end("a-4")  # between the account of the others and its own
    fill()
    assert states(database) == {
        "a-1": "expired", "a-2": "ok", "a-3": "sent", "a-4": "ok", "a-5": "waiting",
    }  # fmt: skip
    assert outcomes(database, "a-1")[0].status == "expired"


def test_a_controller_that_is_started_again_goes_on(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    hand.take("a-1", "a-2")
    fill()
    hand.end("a-1")
    hand.restart()
    hand.account(state("a-1", outcome=outcome("a-1"), finished=hand.now), state("a-2"))
    hand.end("a-2")
    fill()
    assert states(database) == {"a-1": "ok", "a-2": "ok"}
    assert story(database, "a-1") == ["accepted"]  # which is what the account said


def test_the_account_wins_over_what_was_read_and_never_came_to_the_disk(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    hand.take("a-1")
    hand.end("a-1")
    fill()
    hand.turn -= 1  # the machine has failed, and the last record was not on disk
    hand.account(state("a-1"))
    fill()
    assert states(database) == {"a-1": "waiting"}
    hand.end("a-1", status="error")
    fill()
    assert states(database) == {"a-1": "error"}


def test_what_a_controller_left_open_for_good_is_lost(
    hand: Hand, database: Database, fill: Callable[..., None], tmp_path: Path
) -> None:
    hand.take("a-1", "a-2")
    hand.end("a-1")
    fill()
    other = Hand(tmp_path / "other", "another")
    other.take("a-2")  # another client, of the same short name
    with closing(Filler(database, setup(other, "another"))) as filler:
        filler.fill()
    other.close()
    with database.engine.connect() as connection:
        query = select(tasks.c.status).order_by(tasks.c.accepted, tasks.c.msg_id)
        assert connection.execute(query).scalars().all() == ["ok", "lost", ""]


def test_values_are_kept_up_to_a_size_and_large_ones_are_read_from_their_files(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    small, large, huge = (m.Buffer(bytes([1]) * n) for n in (100, 100_000, 300_000))
    hand.take("a-1", "a-2", "a-3")
    hand.end("a-1", buffers=(small,))
    hand.end("a-2", buffers=(small, large))
    hand.end("a-3", buffers=(huge,))
    hand.restart()  # so that all is written
    fill(value_bytes=200_000)
    told = {each.id: each for each in outcomes(database, "a-1", "a-2", "a-3")}
    assert told["a-1"].buffers == (small,)
    assert told["a-2"].buffers == (small, large)
    assert (told["a-3"].status, told["a-3"].facts["status"]) == ("expired", "ok")
    assert found(database)["a-3"]["status"] == "ok"


def test_a_share_that_ends_early_has_only_the_items_that_were_told(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    for chunk, step in (("a-1", fill), ("a-2", lambda: None)):
        share, rest = (
            e.State(OWNER, task(f"{chunk}.{items.start}", chunk=items))
            for items in (m.Chunk(0, 8, 8, (9,)), m.Chunk(1, 8, 8, (9,)))
        )
        hand.write([share, e.Divided(chunk, [], [share.origin.id], [], 0, None, 0)])
        step()
        hand.write([rest])  # goes on with what the first one had not begun
        hand.end(share.origin.id, start=0, stop=1)
        hand.end(rest.origin.id, start=1, stop=8)
    fill()
    items = {id: each["items"] for id, each in found(database).items()}
    assert items == {"a-1.0": [0, 1], "a-1.1": [1, 8], "a-2.0": [0, 1], "a-2.1": [1, 8]}


def test_what_is_told_at_once_is_bounded_over_all_the_shares_of_all_chunks(
    hand: Hand, database: Database, fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    items, buffers = m.Chunk(0, 8, 8, (9,)), (m.Buffer(bytes(10_000)),)
    chunks = ("a-1", "a-2", "a-3")
    for chunk in chunks:
        share = f"{chunk}.0"
        hand.take(chunk, chunk=items)
        hand.write([e.State(OWNER, task(share, chunk=items))])
        hand.end(share, start=0, stop=8, buffers=buffers)
        hand.end(chunk, value=b"")
    fill()
    monkeypatch.setattr(answers, "BYTES", 25_000)
    told = [each for each in outcomes(database, *chunks) if "." in each.id]
    assert [(each.id, each.status) for each in told] == [
        ("a-1.0", "ok"), ("a-2.0", "ok"), ("a-3.0", "expired"),
    ]  # fmt: skip
    assert told[-1].facts["reason"] == answers.TOO_MUCH


def test_direct_requests_are_there_too(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    hand.write([e.Taken(OWNER, 1, [], [e.Direct("a-1", 3, "apply"), e.Direct("a-2", 3, "pull")])])
    hand.end("a-1", engine=3)
    hand.write([e.Passed(OWNER, outcome("a-2", value=b""))])
    hand.end("a-1", engine=3)  # as an account says again
    fill()
    assert {id: each["name"] for id, each in found(database).items()} == {
        "a-1": "apply", "a-2": "pull",
    }  # fmt: skip
    assert story(database, "a-1") == ["accepted", "ok"]
    assert [each.status for each in outcomes(database, "a-1", "a-2")] == ["ok", "expired"]


def test_what_is_purged_is_gone(hand: Hand, database: Database, fill: Callable[..., None]) -> None:
    hand.take("a-1", "a-2")
    hand.end("a-1", "a-2")
    fill()
    hand.write([e.Purged(["a-1"])])
    hand.take("a-3")
    hand.end("a-3")
    hand.write([e.Purged(["a-3"])])
    fill()
    assert states(database) == {"a-2": "ok"}
    purge = Answers(database, "cluster").answer(Question("purge", 0, ids=["a-2", "a-9"]))
    assert msgspec.msgpack.decode(purge) == ["a-2"]
    assert states(database) == {}


def test_a_client_finds_its_own_where_it_may_see_no_more(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    hand.take("a-1")
    hand.write([e.Taken(b"bob" * 5 + b".", 1, [task("b-1")])])
    hand.end("a-1", "b-1")
    fill()
    assert set(found(database, owner=OWNER)) == {"a-1"}
    assert outcomes(database, "b-1", owner=OWNER) == []
    assert found(database, where={"msg_id": {"$eq": "b-1"}}, owner=OWNER) == {}
    other = Answers(database, "another cluster").answer(Question("find", 0))
    assert msgspec.msgpack.decode(other) == []
    with database.engine.connect() as connection:
        owners = connection.execute(select(tasks.c.owner)).scalars().all()
    assert not any(OWNER.hex() in owner for owner in owners)


def test_the_oldest_go_when_there_is_too_much(
    hand: Hand, database: Database, fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fillers, "DELETED", 10)
    ids = [f"a-{n}" for n in range(400)]
    for start in range(0, 400, 10):
        hand.take(*ids[start : start + 10])
        hand.end(*ids[start : start + 10], value=bytes(2000))
    limit = 500_000
    fill(limit_bytes=limit)
    left = list(found(database))
    assert 0 < len(left) < 300
    assert left == ids[-len(left) :]
    with database.engine.connect() as connection:
        assert database.size(connection) <= limit


def test_what_is_too_old_goes(
    hand: Hand, database: Database, fill: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    hand.take("a-1")
    hand.end("a-1")
    hand.now += 1000
    hand.take("a-2")
    monkeypatch.setattr(fillers.time, "time", lambda: hand.now + 1)
    fill(limit_age=500.0)
    assert states(database) == {"a-2": "waiting"}


def test_nonsense_of_peers_has_a_row_or_none(
    hand: Hand, database: Database, fill: Callable[..., None]
) -> None:
    hand.write([
        e.Taken(OWNER, 1, [
            task("a-1", name="x\0" + "n" * 10_000, label="\u2028\nl" * 9999, retries=(1 << 64) - 1),
            task("b" * 5000),
            m.Task("a-2", b"", b"", submitted=float("nan"), engine=-1),
        ])
    ])  # fmt: skip
    hand.end("a-1", "b" * 5000, started=float("nan"), facts={"reason": "\0"})
    hand.send("a-2", place=-(1 << 63), attempt=(1 << 64) - 1)
    fill()
    assert set(states(database)) == {"a-1", "a-2"}
    assert found(database)["a-1"]["started"] == 0.0


def test_many_at_once(hand: Hand, database: Database, fill: Callable[..., None]) -> None:
    ids = [f"a-{n}" for n in range(5000)]
    hand.take(*ids)
    hand.end(*ids)
    fill()
    told = Answers(database, "cluster").answer(
        Question("find", 0, where={"msg_id": {"$in": ids[1:]}}, keys=["msg_id"])
    )
    assert [id for _, id, _ in msgspec.msgpack.decode(told)] == ids[1:]  # in their order
    with database.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(tasks)).scalar_one() == 5000


def test_a_story_survives_whatever_is_in_it() -> None:
    text = 'why\n\u2028 \x85 \0 "quoted"'
    line = rows_.step(1.0, text, 3) + rows_.step(2.0, "ok", -1)
    assert rows_.steps(line) == [(1.0, text.replace("\0", "\ufffd"), 3), (2.0, "ok", -1)]
