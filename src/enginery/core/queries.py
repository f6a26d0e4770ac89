"""Questions about the state of the cluster, and who may have them answered (`roles`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import database, roles
from . import messages as m
from .ahead import written
from .engines import Place
from .explain import explain
from .search import candidates
from .sessions import Session
from .tasks import Record
from .work import Work

if TYPE_CHECKING:
    from .controller import Controller


DIGITS = 20
"""What has as many is no number of a task, whoever has chosen that id."""

Found = tuple[float, str, Any]
"""When a task was submitted, its id, and what is told of it."""


def order(found: Found) -> tuple[float, str, int, int]:
    """By what tasks from several places are sorted: clients count their tasks, chunks theirs."""
    client, _, number = found[1].rpartition("-")
    whole, _, share = number.partition(".")
    n, start = (int(d) if d.isdecimal() and len(d) < DIGITS else 0 for d in (whole, share))
    return found[0], client, n, start


def visible(work: Work, session: Session, id: str) -> Record | None:
    """The task of this id, if there is one and this client may know of it."""
    record: Record | None = work.tasks.get(id)
    if record is not None and record.owner != session.identity:
        return record if roles.sees_all_tasks(session.role) else None
    return record


def answer(controller: Controller, session: Session, query: m.Query, now: float) -> Any:
    """The answer in plain values; LookupError when it asks for what is not there."""
    work = controller.work
    match query.what:
        case "status":
            return _status(controller, now)
        case "counts":
            return counts(work, session, query)
        case "warnings":
            return _warnings(controller, session)
        case "names":
            return names(work, session, query.keys)
        case "places":
            return [_place(place) for place in work.places.values()]
        case "engines":
            return [_engine(place, session) for place in work.places.values() if place.here]
        case "queues":
            return _queues(work, session, query)
        case "tasks":
            return {id: document(known(work, session, id)) for id in query.ids}
        case "history":
            if roles.sees_all_tasks(session.role):
                return list(work.tasks)
            return [id for id in work.tasks if visible(work, session, id) is not None]
        case "database":
            return [told for _, _, told in found(work, session, query)]
        case "explain":
            return explain(work, known(work, session, query.ids[0]), now) if query.ids else []
        case "number":
            return _numbers(work, session, query.ids)
        case "numbered":
            return _numbered(work, session)
        case "states":
            return states(work, session, query.ids)
        case "kept":
            return [id for id in query.ids if visible(work, session, id) is not None]
        case "story":
            unique = dict.fromkeys(query.ids)
            return [list(step) for id in unique for step in known(work, session, id).story]
    raise LookupError(f"nobody knows what {query.what!r} asks for")


def known(work: Work, session: Session, id: str) -> Record:
    record = visible(work, session, id)
    if record is None:
        raise LookupError(unknown(id))
    return record


def unknown(id: str) -> str:
    """What to say of an id that is none."""
    return f"no task has the id {id!r}, or its result is not kept any more"


def _status(controller: Controller, now: float) -> dict[str, Any]:
    work = controller.work
    here = [p for p in work.places.values() if p.here]
    return {
        "controller": controller.name,
        "version": controller.version,
        "time": now,
        "up": now - (controller.since or now),
        "engines": len(here),
        "busy": sum(1 for p in here if p.load),
        "hosts": len({p.host for p in here}),
        "failed": sum(1 for p in work.places.values() if p.failed and not p.here),
        "clients": len(controller.sessions),
        "waiting": work.placement.waiting + sum(max(p.load - 1, 0) for p in here),
        "running": sum(1 for p in here if p.load),
        "late": work.late,
        "bytes": work.quota.bytes,
        "ended": dict(work.history.ended),
        "open": _open(work),
        "retried": work.retried,
        "rate": controller.rate.per_second(now),
        **controller.usage(),
        "scheme": "pure" if controller.farm.front else controller.scheme.name,
        "hwm": written(controller.limits.hwm),
    }


def _open(work: Work) -> dict[str, int]:
    """How many calls have not ended, by state; without looking at each, for there may be many.

    Items of chunks that no engine has been given yet are waiting.
    """
    places = work.places.values()
    here = [place.look() for place in places]
    queued = [r.items for queue, _ in here for r in queue if r.state == "queued"]
    sent = [r.items for _, sent in here for r in sent.values()]
    waiting, chunks = work.placement.waiting, work.chunks.open.values()
    divided = sum(1 for record in chunks if record.state == "divided")
    in_pools = sum(record.pool.left - 1 for record in chunks if record.pool and record.pool.todo)
    return {
        "held": work.unfinished - waiting - divided - len(queued) - len(sent),
        "waiting": waiting + in_pools,
        "queued": sum(queued),
        "sent": sum(sent),
    }


def counts(
    work: Work, session: Session, query: m.Query, old: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """How many calls of a query's tasks are in each state, or have ended in which way.

    "running" ones count as sent, too; "retried" had more than one attempt; "submitted" is when the
    first was, and "completed" when the last has ended. `old` ones are told of by their documents.
    """
    wanted = database.checked(query.where)
    counts: dict[str, int] = {}
    more = {"running": 0, "retried": 0}
    begin, end = float("inf"), 0.0
    first = (next(iter(p.look()[1].values()), None) for p in work.places.values())
    heads = {record.spec.id for record in first if record is not None}
    for id, record in candidates(work.tasks, wanted):
        if visible(work, session, id) is None:
            continue
        if wanted and not database.matches(document(record), wanted):
            continue
        outcome = record.outcome
        word: str = outcome.status if outcome is not None else record.state
        items = record.items
        if items == 0 and record.pool is not None and outcome is None:  # a chunk
            word, items = "waiting", record.pool.left
        if not items:
            continue
        counts[word] = counts.get(word, 0) + items
        more["running"] += id in heads
        more["retried"] += items * (record.attempt > 1)
        begin, end = min(begin, record.spec.submitted), max(end, record.finished)
    for told in old:
        items = 1
        if told["items"]:  # of a share; those of a chunk are in its shares
            items = told["items"][1] - told["items"][0] if "." in told["msg_id"] else 0
        if not items:
            continue
        counts[told["status"]] = counts.get(told["status"], 0) + items
        more["retried"] += items * (told["attempt"] > 1)
        begin, end = min(begin, told["submitted"]), max(end, told["completed"])
    times = {"submitted": begin if counts else 0.0, "completed": end}
    return {"states": counts, **more, **times}


def _warnings(controller: Controller, session: Session) -> list[dict[str, Any]]:
    """The latest warnings, the last one first; they name tasks and peers of others."""
    if not roles.sees_all_tasks(session.role):
        return []
    return [
        {"time": each.time, "level": each.level, "event": each.event, "times": each.times,
         "fields": each.fields}
        for each in controller.notices.latest()
    ]  # fmt: skip


def check_names(keys: list[str]) -> None:
    """LookupError for what `names` cannot tell."""
    if keys not in (["label"], ["name"]):
        raise LookupError("names are those of one key: label or name")


def names(work: Work, session: Session, keys: list[str]) -> list[str]:
    """The different labels, or names of calls, of all tasks."""
    check_names(keys)
    if roles.sees_all_tasks(session.role):
        return sorted(work.tasks.different(keys[0]))
    own = [r.origin for _, r in work.tasks.items() if r.owner == session.identity]
    return sorted({str(getattr(spec, keys[0])) for spec in own})


def _place(place: Place) -> dict[str, Any]:
    """What there is to say of an engine, also when it is gone."""
    return {
        "id": place.id,
        "here": place.here,
        "awaited": place.awaited,
        "failed": place.failed,
        "host": place.host,
        "pid": place.pid,
        "supervisor": place.supervisor,
    }


def _engine(place: Place, session: Session) -> dict[str, Any]:
    return {
        "id": place.id,
        "incarnation": place.name,
        "host": place.host,
        "pid": place.pid,
        "since": place.since,
        "load": place.load,
        "running": _ids(list(place.look()[1].values())[:1], session),
    }


def _ids(records: Iterable[Record], session: Session) -> list[str]:
    """The ids of those that this client may know of."""
    every = roles.sees_all_tasks(session.role)
    return [r.spec.id for r in records if every or r.owner == session.identity]


def _queues(work: Work, session: Session, query: m.Query) -> dict[Any, Any]:
    """By engine, what waits there, is sent to it and has run: how many tasks, or which."""
    queues: dict[Any, Any] = {}
    verbose = query.verbose
    completed = _completed(work, session) if verbose else Counter(work.history.ran())
    for place in work.places.values():
        if place.here and (not query.engines or place.id in query.engines):
            queue, sent = place.look()
            told = {
                "queue": [r for r in queue if r.state == "queued"],
                "tasks": list(sent.values()),
            }
            queues[place.id] = {
                name: _ids(each, session) if verbose else len(each) for name, each in told.items()
            }
            queues[place.id]["completed"] = completed[place.id]
    queues["unassigned"] = work.placement.waiting
    return queues


def _completed(work: Work, session: Session) -> Mapping[int, Any]:
    """By engine, the tasks that have run there."""
    records: defaultdict[int, list[Record]] = defaultdict(list)
    for record in work.history:
        if record.outcome is not None and record.outcome.started:
            records[record.outcome.engine].append(record)
    ids = {engine: _ids(each, session) for engine, each in records.items()}
    return defaultdict(list, ids)


def document(record: Record) -> dict[str, Any]:
    """What is told of a task, in plain values; the names are those of the metadata."""
    spec, outcome = record.origin, record.outcome
    return {
        "msg_id": spec.id,
        "client": spec.id.rpartition("-")[0],
        "name": spec.name,
        "label": spec.label,
        "state": record.state,
        "status": outcome.status if outcome else "",
        "engine_id": outcome.engine if outcome else record.place,
        "attempt": record.attempt,
        "retries": spec.retries,
        "priority": spec.priority,
        "submitted": spec.submitted,
        "started": outcome.started if outcome else 0.0,
        "completed": outcome.completed if outcome else 0.0,
        "size": record.size,
        "items": [spec.chunk.start, spec.chunk.stop] if spec.chunk else [],
        "reason": str(outcome.facts.get("reason", "")) if outcome else "",
    }


def found(work: Work, session: Session, query: m.Query) -> Iterator[Found]:
    """What a query of the history finds, in the order of submission."""
    database.check_told(query.keys)
    wanted = database.checked(query.where)
    for id, record in candidates(work.tasks, wanted):
        if visible(work, session, id) is not None:
            told = document(record)
            if database.matches(told, wanted):
                yield (
                    told["submitted"],
                    id,
                    {key: told[key] for key in query.keys} if query.keys else told,
                )


def submitted(work: Work, session: Session) -> Iterator[Found]:
    """When each task was submitted, and its id."""
    every = roles.sees_all_tasks(session.role)
    for id, record in work.tasks.items():
        if every or record.owner == session.identity:
            yield record.spec.submitted, id, None


def _numbers(work: Work, session: Session, ids: list[str]) -> list[int]:
    """The numbers of these tasks, which they get when somebody first asks, from 0 on."""
    if session.role not in roles.WORKERS:
        raise LookupError("a monitor key may not number tasks")
    return [work.number(known(work, session, id)) for id in ids]


def _numbered(work: Work, session: Session) -> list[list[Any]]:
    """Number, id, state and status of every task that has a number."""
    told = []
    for number, id in work.numbered.items():
        record = visible(work, session, id)
        if record is not None:
            status = record.outcome.status if record.outcome is not None else ""
            told.append([number, id, record.state, status])
    return told


def states(
    work: Work, session: Session, ids: list[str], old: Container[str] = ()
) -> dict[str, int]:
    """How many of these tasks are in each state; those that are `old` have ended."""
    counts: dict[str, int] = {}
    for id in ids:
        record = visible(work, session, id)
        state = ("done" if id in old else "unknown") if record is None else record.state
        counts[state] = counts.get(state, 0) + 1
    return counts
