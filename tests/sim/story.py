"""What the machines say to each other, in words: for traces and transcripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from enginery.core import messages as m


def words(message: m.Message, names: Mapping[bytes, str] | None = None) -> str:
    """One message as a short line; `names` are of functions, by hash."""

    def function(hash: bytes) -> str:
        return (names or {}).get(hash) or hash.hex()[:4]

    match message:
        case m.Hello():
            seen = f", and have all up to {message.seen}" if message.seen else ""
            return f"hello, I am {_article(message.kind)}{seen}"
        case m.Welcome(id=id):
            return f"welcome, you are {id}"
        case m.Again(given_up=given_up):
            return "you were given up" if given_up else "who are you?"
        case m.Goodbye(reason=reason):
            return f"goodbye ({reason})"
        case m.Refused(reason=reason):
            return f"refused: {reason}"
        case m.Define(hash=hash):
            return f"here is function {function(hash)}"
        case m.Need(hashes=hashes):
            return f"I lack function {_list(function(h) for h in hashes)}"
        case m.Submit(seq=seq):
            return f"submission {seq}: {_list(_task(t) for t in message.one_by_one())}"
        case m.Accepted(seq=seq):
            return f"accepted up to submission {seq}"
        case m.Room(seq=seq, lacking=lacking):
            return f"nothing after submission {seq}: {lacking}" if lacking else "there is room"
        case m.Run():
            attempts = message.one_by_one()
            return f"run {_list(f'#{a.n} {a.id}, attempt {a.attempt}' for a in attempts)}"
        case m.Results(seq=seq):
            return f"results {seq}: {_list(f'{r.id} {r.status}' for r in message.one_by_one())}"
        case m.Dropped(ids=ids):
            return f"I have not started {_list(ids)} and never will"
        case m.Acked(seq=seq):
            return f"I have your results up to {seq}"
        case m.Output():
            return f"output {message.number} of {message.id}: {message.text!r}"
        case m.Deliver(seq=seq, outputs=outputs):
            parts = [_outcome(o) for o in message.one_by_one()]
            parts += [f"output of {o.id}: {o.text!r}" for o in outputs]
            return f"delivery {seq}: {_list(parts)}"
        case m.Got(seq=seq):
            return f"I have your deliveries up to {seq}"
        case m.Abort(ids=ids, running=running, gently=gently):
            told = ", also if running" if running else ""
            return f"abort {_list(ids)}{told}{', gently' if gently else ''}"
        case m.Resubmit(ids=ids, new=new):
            return f"run {_list(ids)} again as {_list(new)}"
        case m.Purge(ids=ids, engines=engines, every=every):
            what = "everything" if every else _list([*ids, *(f"engine {e}" for e in engines)])
            return f"forget {what}"
        case m.Choose(scheme=scheme):
            return f"balance by {scheme}"
        case m.Changed(count=count):
            return f"my properties have changed, number {count}"
        case m.Engines(engines=engines):
            return f"the engines are {_list(str(e.id) for e in engines) or 'none'}"
        case m.Exited():
            then = "another one comes" if message.replaced else "none follows"
            page = f"had started #{message.started}, finished #{message.finished}"
            return f"an engine has ended: {message.reason}; it {page}; {then}"
        case m.Query(what=what, ids=ids):
            return f"{what}? {_list(ids)}".rstrip()
        case m.Reply():
            return "done" if message.value is None else "here is the answer"
        case m.Signal(signum=signum, engines=engines):
            return f"signal {signum} for {_list(map(str, engines))}"
        case m.Clear(engines=engines):
            return f"clear {_list(map(str, engines))}"
        case m.Shutdown(engines=engines, restart=restart):
            return f"{'restart' if restart else 'stop'} {_list(map(str, engines))}"
    return type(message).__name__


def _task(task: m.Task) -> str:
    where = f" for engine {task.engine}" if task.engine >= 0 else ""
    if task.targets:
        where = f" for one of engines {_list(map(str, task.targets))}"
    retries = f" (retries {task.retries})" if task.retries else ""
    return f"{task.id}{where}{retries}{_terms(task.terms)}"


def _terms(terms: m.Terms | None) -> str:
    if terms is None:
        return ""
    said = [
        f"{name} {'all' if d.all else 'any'} of {_list(d.ids) or 'none'}"
        + ("" if d.success and not d.failure else f" that {_ended(d)}")
        for name, d in (("after", terms.after), ("follow", terms.follow))
        if d is not None
    ]
    times = {
        "timeout": terms.timeout, "priority": terms.priority, "time limit": terms.time_limit
    }  # fmt: skip
    said += [f"{name} {value:g}" for name, value in times.items() if value]
    said += [f"{len(terms.recoveries)} recoveries"] if terms.recoveries else []
    said += [f"takes {_list(terms.inputs)}"] if terms.inputs else []
    return f" [{'; '.join(said)}]" if said else ""


def _ended(d: m.Dependency) -> str:
    return {(True, True): "end", (False, True): "fail"}.get((d.success, d.failure), "do neither")


def _outcome(outcome: m.Outcome) -> str:
    reason = outcome.facts.get("reason", "")
    return f"{outcome.id} {outcome.status}" + (f" ({reason})" if reason else "")


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "engine" else f"a {kind}"


def _list(things: Iterable[str], most: int = 8) -> str:
    shown = list(things)
    rest = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + rest
