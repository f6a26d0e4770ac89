"""Questions about the state of the cluster, and who may have them answered (`roles`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import messages as m
from . import roles
from .engines import Place
from .sessions import Session
from .tasks import Record
from .work import Work

if TYPE_CHECKING:
    from .controller import Controller


def visible(work: Work, session: Session, id: str) -> Record | None:
    """The task of this id, if there is one and this client may know of it."""
    record = work.tasks.get(id)
    if record is not None and record.owner != session.identity:
        return record if roles.sees_all_tasks(session.role) else None
    return record


def answer(controller: Controller, session: Session, query: m.Query, now: float) -> Any:
    """The answer in plain values; LookupError when it asks for what is not there."""
    work = controller.work
    match query.what:
        case "status":
            return _status(controller, now)
        case "engines":
            return [_engine(place, session) for place in work.places.values() if place.here]
        case "queues":
            return _queues(work, session, query)
        case "tasks":
            return {id: _task(_known(work, session, id)) for id in query.ids}
        case "states":
            return _states(work, session, query.ids)
        case "story":
            return [list(step) for id in query.ids for step in _known(work, session, id).story]
    raise LookupError(f"nobody knows what {query.what!r} asks for")


def _known(work: Work, session: Session, id: str) -> Record:
    record = visible(work, session, id)
    if record is None:
        raise LookupError(f"no task has the id {id!r}, or its result is not kept any more")
    return record


def _status(controller: Controller, now: float) -> dict[str, Any]:
    work = controller.work
    here = [p for p in work.places.values() if p.here]
    return {
        "controller": controller.name,
        "version": controller.version,
        "up": now - (controller.since or now),
        "engines": len(here),
        "busy": sum(1 for p in here if p.load),
        "hosts": len({p.host for p in here}),
        "clients": len(controller.sessions),
        "waiting": work.placement.waiting,
        "running": sum(p.load for p in here),
        "late": work.late,
        "bytes": work.bytes,
        "ended": dict(work.history.ended),
        "scheme": controller.scheme.name,
        "hwm": controller.limits.hwm,
    }


def _engine(place: Place, session: Session) -> dict[str, Any]:
    return {
        "id": place.id,
        "incarnation": place.name,
        "host": place.host,
        "pid": place.pid,
        "since": place.since,
        "load": place.load,
        "running": _ids(list(place.sent.values())[:1], session),
    }


def _ids(records: Iterable[Record], session: Session) -> list[str]:
    """The ids of those that this client may know of."""
    every = roles.sees_all_tasks(session.role)
    return [r.spec.id for r in records if every or r.owner == session.identity]


def _queues(work: Work, session: Session, query: m.Query) -> dict[Any, Any]:
    queues: dict[Any, Any] = {}
    for place in work.places.values():
        if place.here and (not query.engines or place.id in query.engines):
            queued = [r for r in place.queue if r.state == "queued"]
            both = {"queue": queued, "tasks": list(place.sent.values())}
            queues[place.id] = {
                name: _ids(records, session) if query.verbose else len(records)
                for name, records in both.items()
            }
    queues["unassigned"] = work.placement.waiting
    return queues


def _task(record: Record) -> dict[str, Any]:
    return {
        "id": record.spec.id,
        "name": record.spec.name,
        "label": record.spec.label,
        "state": record.state,
        "status": record.outcome.status if record.outcome else "",
        "engine": record.place,
        "attempt": record.attempt,
        "retries": record.spec.retries,
        "submitted": record.spec.submitted,
    }


def _states(work: Work, session: Session, ids: list[str]) -> dict[str, int]:
    """How many of these tasks are in each state."""
    counts: dict[str, int] = {}
    for id in ids:
        record = visible(work, session, id)
        state = "unknown" if record is None else record.state
        counts[state] = counts.get(state, 0) + 1
    return counts
