"""Why a task does not run now, in words for its user."""

from __future__ import annotations

from .ahead import written
from .engines import Place
from .placement import key_of
from .tasks import Record
from .work import Work

SHOWN = 5
"""Tasks or engines told of at most."""


def explain(work: Work, record: Record, now: float) -> list[str]:
    """Lines that say where a task stands, and what would have to happen for it to go on."""
    told = {
        "held": _held,
        "waiting": _waiting,
        "divided": _divided,
        "queued": _queued,
        "sent": _sent,
        "done": _done,
    }[record.state](work, record)
    terms = record.spec.terms
    if terms is not None and record.limited and record.state in {"held", "waiting"}:
        left = record.steps[0] + terms.timeout - now
        told.append(f"it gives up in {max(left, 0.0):.1f} s (timeout={terms.timeout:g})")
    return told


def _held(work: Work, record: Record) -> list[str]:
    lines = ["it waits for tasks that it depends on:"]
    assert record.wait is not None
    wait = record.wait
    conditions = {"after": wait.after, "follow": wait.follow, "values it takes": wait.inputs}
    for name, condition in conditions.items():
        if condition is None or condition.verdict() == "met":
            continue
        open_ = [id for id in condition.ids if id in work.tasks and work.tasks[id].state != "done"]
        how = "all" if condition.dependency.all else "any"
        lines.append(f"{name}: {len(open_)} of {len(condition.ids)} have not ended ({how} count)")
        for id in open_[:SHOWN]:
            taken = f", for {wait.inputs.argument(id)}" if wait.inputs is condition else ""
            lines.append(f"  task {id} is {work.tasks[id].state}{taken}")
    return lines


def _waiting(work: Work, record: Record) -> list[str]:
    ahead = work.placement.waiting - 1
    others = "1 other task waits" if ahead == 1 else f"{ahead:,} other tasks wait"
    lines = [f"it waits for an engine; {others}, too"]
    key = key_of(record)
    if key.allowed:
        named = ", ".join(map(str, key.allowed))
        lines.append(f"it may run on engines {named} only")
    here = [place for place in work.places.values() if place.there]
    lines += [_because(work, place, record) for place in here[: 4 * SHOWN]]
    if not here:
        lines.append("no engine is registered")
    return lines


def _because(work: Work, place: Place, record: Record) -> str:
    """Why this engine does not have it."""
    key = key_of(record)
    who = f"engine {place.id}"
    refusal = (record.refusals or {}).get(place.id)
    if place.id in key.refused or place.id in key.unfit:
        why = refusal.reason if refusal is not None else "it said no"
        until = " (until its properties change)" if place.id in key.unfit else ""
        return f"{who}: refused by {why}{until}"
    if key.allowed and place.id not in key.allowed:
        return f"{who}: not among those it may run on"
    if not place.here:
        return f"{who}: gone, a new one is on its way"
    if not place.open:
        return f"{who}: its connection is lost"
    if not work.placement.room(place):
        return f"{who}: busy with {place.load} (hwm={written(work.placement.hwm)})"
    return f"{who}: free"


def _divided(work: Work, record: Record) -> list[str]:
    pool = record.pool
    assert pool is not None
    lines = [f"its items are in {len(pool.shares)} shares:"]
    for id, share in list(pool.shares.items())[:SHOWN]:
        lines.append(f"  task {id} with {share.items:,} of them is {share.state}")
    return lines


def _queued(work: Work, record: Record) -> list[str]:
    place = work.places[record.place]
    if not place.here:
        return [f"it waits for engine {place.id}, which is gone; a new one is on its way"]
    return [f"it stands in the queue of engine {place.id}, which has {place.load} requests"]


def _sent(work: Work, record: Record) -> list[str]:
    place = work.places[record.place]
    before = sum(1 for n in place.sent if n < record.n)
    if before:
        others = f"{before} others" if before > 1 else "another one"
        return [f"engine {place.id} has it, behind {others}"]
    return [f"it runs on engine {place.id} (pid {place.pid} on {place.host})"]


def _done(work: Work, record: Record) -> list[str]:
    outcome = record.outcome
    assert outcome is not None
    reason = f": {outcome.facts['reason']}" if outcome.facts.get("reason") else ""
    return [f"it has ended: {outcome.status}{reason}"]
