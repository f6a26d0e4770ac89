"""What the controller remembers of tasks: states and stories, and how to run them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import msgpack

from ..core.messages import Choose, Purge, Query, Resubmit
from ..error import QueryError
from .divided import form_of
from .results import AsyncResult
from .slots import ChunkSlot, Slot
from .targets import some

if TYPE_CHECKING:
    from .calls import Calls
    from .link import Link


class Step(NamedTuple):
    """One transition of a task: seconds since the epoch, what happened, on which engine (or -1)."""

    time: float
    what: str
    engine_id: int


class Recorded:
    """Base of `Client`: what can be asked of the controller about tasks of any client."""

    link: Link
    calls: Calls

    if TYPE_CHECKING:  # what `Client` has

        def _ids(self, jobs: Any) -> list[str]: ...

        def slots_of(self, ids: list[str]) -> list[Slot]: ...

        def result(
            self, slots: list[Slot], kind: type[AsyncResult] = AsyncResult, **form: Any
        ) -> AsyncResult: ...

        @property
        def ids(self) -> list[int]: ...

    # --- looking --------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The short public id of this client: the ids of its tasks begin with it, and it is what
        `db_query` means by "client".
        """
        return self.link.id

    @property
    def scheme(self) -> str:
        """The name of the load-balancing scheme in use, as in `use_scheme`."""
        return self.link.scheme

    def story(self, job: Any) -> list[Step]:
        """Every transition of a task until now: when, what, on which engine.

        >>> ar = rc[2].apply_async(abs, -1)
        >>> ar.wait(30), [(step.what, step.engine_id) for step in rc.story(ar)]
        (True, [('accepted', 2), ('send', 2), ('ok', 2)])
        """
        told = self.link.ask(Query(0, "story", self._ids(job)[:1]))
        return [Step(*step) for step in told]

    def explain(self, job: Any) -> str:
        """Why a task does not run now, or where it is: one line per reason.

        >>> ar = lview.apply_async(abs, -1)
        >>> ar.wait(30)
        True
        >>> print(rc.explain(ar))
        task ...
          it has ended: ok
        """
        [id] = self._ids(job)[:1]
        lines = self.link.ask(Query(0, "explain", [id]))
        return "\n".join([f"task {id}", *(f"  {line}" for line in lines)])

    def result_status(self, jobs: Any, status_only: bool = True) -> dict[str, Any]:
        """Which of these tasks are done: `{"completed": [ids], "pending": [ids]}`.

        Without `status_only`, also the result of each that is done, under its id. UnknownTask for
        an id that is none.

        >>> ar = rc[0].apply_async(abs, -1)
        >>> ar.wait(30), rc.result_status(ar)["pending"]
        (True, [])
        """
        ids = self._ids(jobs)
        told = self.link.ask(Query(0, "tasks", ids))
        done = [id for id in ids if told[id]["state"] == "done"]
        status: dict[str, Any] = {
            "completed": done,
            "pending": [id for id in ids if told[id]["state"] != "done"],
        }
        if not status_only and done:
            slots = self.slots_of(done)
            for id, slot in zip(done, slots, strict=True):
                kind, form = form_of([slot], True, "result_status")
                status[id] = self.result([slot], kind, **form)
        return status

    def hub_history(self) -> list[str]:
        """The ids of the tasks of every client, oldest first; also those in the database.

        >>> ar = rc[0].apply_async(abs, -1)
        >>> ar.wait(30), ar.msg_ids[0] in rc.hub_history()
        (True, True)
        """
        ids: list[str] = self.link.ask(Query(0, "history"))
        return ids

    def db_query(
        self, query: Mapping[str, Any], keys: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """What is remembered of the tasks that a query finds, oldest first; `keys`: only these.

        A query maps keys to values or to operators with operands; all have to hold::

            rc.db_query({"status": "error", "completed": {"$gt": time.time() - 60}})

        Keys: msg_id, client, name, label, state, status, engine_id, attempt, retries, priority,
        submitted, started, completed (seconds since the epoch; a query may have a datetime there),
        size (bytes), reason; items can be told, not looked for. Operators: $eq $ne $lt $lte $gt
        $gte $in $nin $all $mod $exists $glob. QueryError for anything else.
        Tasks that the controller has forgotten are looked for in its database.

        >>> ar = rc[3].apply_async(float, "x")
        >>> ar.wait(30), rc.db_query({"msg_id": ar.msg_ids[0]}, keys=["status", "engine_id"])
        (True, [{'status': 'error', 'engine_id': 3}])
        """
        found: list[dict[str, Any]] = self.link.ask(
            Query(0, "database", where=_plain(query), keys=list(keys or ()))
        )
        return found

    # --- doing ----------------------------------------------------------------------------------

    def resubmit(self, jobs: Any) -> AsyncResult:
        """Run finished tasks once more, well or not as they ended, as new tasks; their result.

        Of a map that engines have divided it is the list of its items; of some shares, of theirs.
        What they depended on counts only among themselves. TaskNotDone for one that has not ended,
        UnknownTask for one that the controller does not remember; nothing is submitted then.

        >>> ar = lview.apply_async(abs, -1)
        >>> ar.wait(30), rc.resubmit(ar).get()
        (True, 1)
        """
        ids = self._ids(jobs)
        slots = self.run_again(ids)
        single = isinstance(jobs, str | int) or len(ids) == 1
        kind, form = form_of(slots, single, "resubmit")
        return self.result(slots, kind, **form)

    def run_again(self, ids: Sequence[str]) -> list[Slot]:
        """Resubmit these tasks; the slots of the new ones, in the same order."""
        if not ids:
            return []
        told = self.link.ask(Query(0, "tasks", list(ids)))
        new = [self.link.next_id() for _ in ids]
        now = time()
        slots = [_slot(new_id, told[id], now) for id, new_id in zip(ids, new, strict=True)]
        self.link.expect(slots)
        try:
            self.link.ask(Resubmit(list(ids), new))
        except BaseException:
            self.link.forget(slots)
            raise
        self.calls.remember(slots)
        self.calls.history.extend(new)
        return slots

    def purge_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Let the controller forget finished tasks: these, those that ended on `targets`, or "all".

        TaskNotDone for a named one that has not ended; unfinished work is never forgotten.

        >>> ar = lview.apply_async(abs, -1)
        >>> ar.wait(30), rc.purge_results(ar)
        (True, None)
        """
        if isinstance(jobs, str) and jobs == "all":
            self.link.ask(Purge(every=True))
            return
        engines = some(targets, self.ids) if targets or targets == 0 else []
        self.link.ask(Purge(self._ids(jobs) if jobs or jobs == 0 else [], list(engines)))

    def use_scheme(self, name: str) -> None:
        """Balance by this scheme from now on: "leastload", "lru", "plainrandom", "twobin",
        "weighted", or another one that the controller was started with; ClusterError if not.

        >>> rc.use_scheme("lru")
        >>> rc.scheme
        'lru'
        >>> rc.use_scheme("leastload")
        """
        self.link.ask(Choose(name))
        if self.link.welcome is not None:
            self.link.welcome.scheme = name


def _plain(query: Any) -> Any:
    """The same as it is sent: without NumPy, and with seconds since the epoch, as in the metadata,
    in the place of datetimes.
    """
    if hasattr(query, "tolist"):
        query = query.tolist()
    if isinstance(query, datetime):
        return query.timestamp()
    if isinstance(query, Mapping):
        return {key: _plain(each) for key, each in query.items()}
    if isinstance(query, list | tuple):
        return [_plain(each) for each in query]
    try:
        msgpack.encode(query)
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(f"nothing can be compared with {query!r}: {error}") from None
    return query


def _slot(id: str, told: dict[str, Any], now: float) -> Slot:
    """A task that runs again, by what is told of it."""
    if told["items"]:
        start, stop = told["items"]
        return ChunkSlot(id, told["name"], now, told["label"], (start, stop))
    return Slot(id, told["name"], -1, now, told["label"])
