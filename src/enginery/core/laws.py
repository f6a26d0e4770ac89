"""What always holds. A broken law is a bug of ours: it raises `BrokenLaw` and stops the process.

`check_record` looks at one task and its engine and runs after every event that ended one, always;
`check` looks at everything, in tests and on request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import messages as m
from .ahead import AUTO, SHORT, WORTH
from .bundles import Bundle
from .engines import Place
from .once import Once
from .placement import key_of
from .pools import Pool, is_chunk
from .tasks import Record
from .work import Work

if TYPE_CHECKING:
    from .controller import Controller


class BrokenLaw(AssertionError):
    """The state contradicts itself; the message says where."""


def hold(condition: bool, law: str, *facts: object) -> None:
    """Raise `BrokenLaw` unless the condition is true."""
    if not condition:
        raise BrokenLaw(f"{law}: " + ", ".join(map(repr, facts)))


def check_record(work: Work, record: Record) -> None:
    """A task is in one state, and everything that mentions it agrees."""
    if record.state == "done":
        _check_done(work, record)
        return
    hold(record.outcome is None, "a task without its outcome is not done", record)
    hold(work.tasks.get(record.spec.id) is record, "a task is kept until it is done", record)
    hold(
        record.spent <= max(record.spec.retries, 0), "no retry is spent that was not given", record
    )
    if record.state in {"queued", "sent"}:
        place = work.places[record.place]
        hold(place.here or place.awaited, "a task is at an engine that is there", record, place)
        if record.direct:
            hold(record.spec.engine == place.id, "a direct request goes where it is sent", record)
        if record.state == "sent":
            hold(place.has(record), "what is sent is noted", record, place)
        has = len(record.inputs) == len(record.takes) or record.final
        hold(has, "what is sent has what it takes", record)


def check_bundle(work: Work, bundle: Bundle) -> None:
    """The same for tasks that are together; written for speed, too."""
    if bundle.records is not None:
        for record in bundle.records:
            check_record(work, record)
        return
    known, at = work.tasks.bundled, bundle.at
    if any(known.get(id) is not bundle for id in (bundle.ids[0], bundle.ids[-1])):
        raise BrokenLaw(f"tasks of a bundle are known under their ids: {bundle!r}")
    if (bundle.state == "done") is not (len(bundle.done or ()) == len(bundle)):
        raise BrokenLaw(f"tasks are done when they have their outcomes: {bundle!r}")
    if (bundle.state in {"queued", "sent"}) is not (at is not None and (at.here or at.awaited)):
        raise BrokenLaw(f"tasks of a bundle are at an engine that is there: {bundle!r}")


def _check_done(work: Work, record: Record) -> None:
    """The same for a task that has ended; written for speed, as each task comes by here."""
    outcome = record.outcome
    if outcome is None:
        raise BrokenLaw(f"a task is done when it has its outcome: {record!r}")
    if work.tasks.live.get(record.spec.id, record) is not record:
        raise BrokenLaw(f"a task is kept under its own id: {record!r}")
    if outcome.engine >= 0 and outcome.engine in work.places:
        if work.places[outcome.engine].has(record):
            raise BrokenLaw(f"what is done is with no engine: {record!r}")
    elif outcome.status in {"ok", "error"} and not is_chunk(record):
        raise BrokenLaw(f"who ran a task is known: {record!r}")


def check(controller: Controller) -> None:
    """All laws, on the whole state."""
    work = controller.work
    waiting = unfinished = 0
    for bundle in work.tasks.bundles():
        check_bundle(work, bundle)
        known = all(work.tasks.bundled.get(id) is bundle for id in bundle.ids)
        hold(known, "all tasks of a bundle are known", bundle)
        hold(bundle.at is None or bundle.at.has(bundle), "what is at an engine is noted", bundle)
    for record in work.tasks.look():
        if record.spec.id not in work.tasks.bundled:
            check_record(work, record)
        waiting += record.state == "waiting"
        unfinished += record.state != "done"
    hold(waiting == work.placement.waiting, "waiting tasks are counted", waiting, work.placement)
    hold(unfinished == work.unfinished, "unfinished tasks are counted", unfinished, work.unfinished)
    _check_quota(controller)
    _check_inputs(work)
    chains = sum(len(r.spec.functions()) for r in work.tasks.look() if r.state != "done")
    needed = chains + sum(len(s.lacking) for s in controller.intake.lacking.values())
    hold(sum(work.functions.needed.values()) == needed, "functions are counted", needed)
    kept = list(work.history.look())
    hold(all(r.spec.id in work.tasks for r in kept), "history is of known tasks")
    hold(len(kept) == work.history.count, "history is counted", len(kept), work.history.count)
    size = _size(kept)
    hold(work.history.archive.sound, "packed tasks are counted", work.history.archive)
    hold(size == work.history.bytes, "the bytes of history are counted", size, work.history.bytes)
    room = _check_places(work)
    for line in work.placement.lines.values():
        orders = [(-r.rank, r.order) for r in line]
        hold(orders == sorted(orders), "waiting tasks stand in their order", orders)
        head = next(iter(line), None)
        if head is not None:
            able = [i for i in room if key_of(head).admits(i)]
            hold(not able, "no task waits while an engine with room may run it", head, able)
    _check_graph(work)
    _check_chunks(work)


def _check_quota(controller: Controller) -> None:
    """What each client holds and is owed is counted, and so is what waits to be taken."""
    quota, sessions = controller.work.quota, controller.sessions.values()
    unfinished: dict[bytes, list[Record]] = {}
    for record in controller.work.tasks.look():
        if record.state != "done":
            unfinished.setdefault(record.owner, []).append(record)
    held = {owner: (len(records), _size(records)) for owner, records in unfinished.items()}
    counted = {owner: (share.tasks, share.bytes) for owner, share in quota.shares.items()}
    hold(held == counted, "what each client holds is counted", held, counted)
    total = sum(size for _, size in held.values())
    total += sum(value.size() for value in controller.work.inputs.values.values())
    hold(total == quota.bytes, "bytes are counted", total, quota)
    waiting = sum(size for session in sessions for _, size in session.waiting)
    hold(waiting == quota.waiting, "what waits to be taken is counted", waiting, quota)
    for session in sessions:
        items = (*session.due, *session.may_lack())
        due = sum(item.size() for item in items if not isinstance(item, m.Output))
        hold(due == session.due_bytes, "what is due is counted", session, due)
        hold(len(session.due) == session.counted, "all that is due has had to wait", session)
        unaccepted = sum(size for _, size, _ in session.unaccepted)
        hold(unaccepted == session.unaccepted_bytes, "what is not accepted is counted", session)
    owed = sum(session.due_bytes for session in sessions)
    total = controller.delivery.due_bytes
    hold(owed == total, "what is due to all is counted", owed, total)


def _size(records: Iterable[Record]) -> int:
    """Bytes of these tasks; a large buffer that several have counts once."""
    once = Once()
    return sum(record.size - once.add(record.given) for record in records)


def _check_inputs(work: Work) -> None:
    """The values that unfinished tasks take are there as soon as they can be, and no others."""
    needed: dict[str, int] = {}
    for record in list(work.tasks.look()):
        if record.state == "done":
            hold(not record.inputs, "what is done takes nothing", record)
            continue
        for id in record.takes:
            needed[id] = needed.get(id, 0) + 1
            known = work.tasks.get(id)
            if known is not None and known.outcome is not None:
                kept, well = id in work.inputs.values, known.outcome.status == "ok"
                hold(well or not kept, "there is a value of what ended well", known)
                known_whole = well and not work.chunks.gone(known)
                hold(kept or not known_whole, "a value is kept for who takes it", known)
        for id, value in zip(record.takes, record.inputs, strict=False):
            hold(work.inputs.values.get(id) is value, "there is one value of a task", record, id)
    hold(needed == work.inputs.needed, "who takes a value is counted", needed)
    hold(work.inputs.values.keys() <= needed.keys(), "no value is kept for nobody")


def _check_graph(work: Work) -> None:
    """Every task that is held has an edge from a task that has not ended."""
    held: dict[str, int] = {}
    for id, edges in work.conditions.graph.edges.items():
        hold(id in work.tasks and work.tasks[id].state != "done", "an edge leads to a task", id)
        for record, _ in edges:
            held[record.spec.id] = held.get(record.spec.id, 0) + 1
    for record in work.tasks.look():
        if record.state == "held":
            hold(record.wait is not None, "what is held waits for something", record)
            hold(record.spec.id in held, "what is held depends on what has not ended", record)


def _check_chunks(work: Work) -> None:
    """Every item of a chunk is in its pool, or in one share, or has ended."""
    for record in work.tasks.look():
        if record.pool is None or record.state == "done":
            continue
        if is_chunk(record):
            _check_pool(work, record.pool)
        else:
            known = record.pool.shares.get(record.spec.id)
            hold(known is record, "a share is known to its chunk", record)


def _check_pool(work: Work, pool: Pool) -> None:
    record, whole = pool.record, pool.record.spec.chunk
    assert whole is not None
    ranges = list(pool.todo)
    for id, share in pool.shares.items():
        part = share.spec.chunk
        assert part is not None
        hold(work.tasks.get(id) is share, "a chunk knows its shares", record, share)
        hold(share.items == part.stop - part.start, "items are counted", share, part)
        ranges.append((part.start, part.stop))
    ranges.sort()
    begins, ends = [start for start, _ in ranges[1:]], [stop for _, stop in ranges[:-1]]
    apart = all(end <= begin for end, begin in zip(ends, begins, strict=True))
    hold(apart, "no item is in two shares", record, ranges)
    items = pool.done + sum(stop - start for start, stop in ranges)
    hold(items == whole.stop - whole.start, "no item is lost", record, ranges, pool.done)
    state = "waiting" if pool.todo else "divided"
    hold(record.state == state, "a chunk waits while there is something in its pool", record)
    hold(bool(ranges), "a chunk is done when all its shares are", record)


def _check_places(work: Work) -> list[int]:
    """The laws about engines; gives the ids of those with room for whatever comes."""
    hwm = work.placement.hwm
    here = {id for id, place in work.places.items() if place.here}
    hold(here == set(work.here), "engines that are here are counted", here, work.here)
    room = []
    for place in work.places.values():
        queue, by_number = place.look()
        queued, sent = [r for r in queue if r.state == "queued"], list(by_number.values())
        hold(place.load == len(queued) + len(sent), "load is counted", place, place.load)
        hold(place.ahead == len(sent), "what is sent is counted", place, place.ahead)
        hold(all(r.state == "sent" for r in sent), "sent tasks are sent", place)
        size = sum(r.size + r.input_bytes for r in sent)
        hold(place.sent_bytes == size, "sent bytes are counted", place)
        spare = sum(r.items - 1 for r in (*queued, *sent))
        hold(place.spare == spare, "items that wait at an engine are counted", place, place.spare)
        numbers = list(by_number)
        hold(numbers == sorted(numbers), "what is sent is in order", place)
        balanced = [r for r in (*sent, *queued) if not r.direct]  # as they were given
        hold(hwm <= 0 or len(balanced) <= hwm, "hwm is never exceeded", place, hwm)
        expected = [r.expected for r in (*queued, *sent)]
        hold(place.backlog == sum(expected), "the backlog is counted", place, place.backlog)
        if hwm == AUTO:
            _check_ahead(place, balanced)
        if work.placement.room(place) and (hwm != AUTO or not place.load):
            room.append(place.id)
    return room


def _check_ahead(place: Place, balanced: list[Record]) -> None:
    """Brief tasks only wait at an engine, and not many, or one that is short."""
    # Numbers below 1 are of what has ended, see `recovery`.
    first = min((n for n in place.look()[1] if n > 0), default=0)
    waiting = [r for r in balanced if r.n != first]
    brief = all(r.expected < WORTH for r in waiting)
    short = len(waiting) == 1 and waiting[0].expected < SHORT
    hold(brief or short, "only what is brief waits at an engine, or one that is short", place)
    worth = sum(r.expected for r in waiting[:-1])
    hold(worth < WORTH, "no more waits at an engine than is done in no time", place, worth)
