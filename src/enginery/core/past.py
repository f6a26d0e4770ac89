"""Tasks that are not remembered here any more, and those of earlier lives: the database is asked.

What is remembered wins over what the database knows, which comes a little later. A question says
up to which record of the journal it has to have read. When it does not answer, what is remembered
is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from . import database, queries, roles
from . import messages as m
from .events import Consult, Effect, Log, Question, Send
from .pools import chunk_id
from .sessions import Session, too_many

if TYPE_CHECKING:
    from .controller import Controller

PATIENCE = 8.0
"""Seconds that the database has to answer."""

LATER = 1.0
"""Seconds that a turn may last, after which its record is dated."""

Answer = m.Reply | m.Refused
Finish = Callable[["Past", "Inquiry", Any, list[Effect]], Answer]


class Inquiry(Struct):
    """One question of one client; `finish` makes the answer of what the database says."""

    session: Session
    message: m.Query | m.Purge
    ids: list[str]  # that the database was asked for by name
    until: float
    finish: Finish


class Past:
    """Whether there is a database, and what it was asked."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.there = False
        self.older = False  # it knows of tasks that nobody here has heard of
        self.open: dict[int, Inquiry] = {}
        self._numbers = 0

    def opened(self, older: bool) -> None:
        """There is a database."""
        self.there = True
        self.older = older

    def closed(self, out: list[Effect]) -> None:
        """There is none any more."""
        self.there = False
        for number in list(self.open):
            self._end(number, None, out)

    # --- asking ---------------------------------------------------------------------------------

    def ask(self, session: Session, query: m.Query, now: float, out: list[Effect]) -> bool:
        """Ask what is not remembered; False when nothing is missing."""
        forgotten = self._controller.work.history.forgotten
        if not self.there or (forgotten is None and not self.older):
            return False
        if query.what in FINDING:
            try:
                return self._find(session, query, now, out)
            except LookupError:  # it is no query, which is told to who asked
                return False
        if query.what not in NAMING or (
            query.what == "fetch" and session.role not in roles.SEES_CODE
        ):
            return False
        tasks = self._controller.work.tasks
        unknown = [id for id in query.ids if id not in tasks]
        if not unknown:
            return False
        what, keys, finish = NAMING[query.what]
        self._ask(session, query, (what, finish), now, out, ids=unknown, keys=keys)
        return True

    def _find(self, session: Session, query: m.Query, now: float, out: list[Effect]) -> bool:
        where = database.checked(query.where)
        match query.what:
            case "database":
                database.check_told(query.keys)
            case "names":
                queries.check_names(query.keys)
        if not database.matches(
            {"state": "done"}, {k: c for k, c in where.items() if k == "state"}
        ):
            return False  # all that have not ended are remembered
        what, keys, finish = FINDING[query.what]
        forgotten = self._controller.work.history.forgotten
        self._ask(
            session, query, (what, finish), now, out,
            where=where,
            keys=query.keys if keys is None else keys,
            before=None if forgotten is None else forgotten + LATER,
        )  # fmt: skip
        return True

    def purge(self, session: Session, message: m.Purge, now: float, out: list[Effect]) -> bool:
        """Have the database forget what is not remembered here; False when there is none of it.

        What is remembered is forgotten first, and by the journal.
        """
        controller = self._controller
        unknown = [id for id in message.ids if id not in controller.work.tasks]
        if not self.there or not (unknown or message.every or message.engines):
            return False
        if self._asked(session, message):
            return True
        known = [id for id in message.ids if id in controller.work.tasks]
        here = m.Purge(known, message.engines, message.every, message.number)
        answer = controller.intake.purge(session, here)
        if isinstance(answer, m.Refused):
            controller.intake.answer(session, answer, out)
            return True
        several = message.every or message.engines
        self._ask(
            session, message, ("purge", Past._purged), now, out,
            ids=None if several else unknown,
            engines=None if message.every else message.engines or None,
        )  # fmt: skip
        return True

    def _ask(
        self, session: Session, message: m.Query | m.Purge, how: tuple[Any, Finish], now: float,
        out: list[Effect], **which: Any,
    ) -> None:  # fmt: skip
        if self._asked(session, message):
            return  # it was asked again on a new connection
        asking = [each.session for each in self.open.values()]
        reason = too_many(asking, session, "the database is being asked {} already")
        if reason:
            _tell(session, m.Refused(reason, "EngineryError", message.number), out)
            return
        self._numbers += 1
        what, finish = how
        named = which.get("ids") or []
        self.open[self._numbers] = Inquiry(session, message, named, now + PATIENCE, finish)
        owner = b"" if roles.sees_all_tasks(session.role) else session.identity
        record = self._controller.journal.mark
        out.append(Consult(self._numbers, Question(what, record, owner, **which)))

    def _asked(self, session: Session, message: m.Query | m.Purge) -> bool:
        """Whether this is being asked already."""
        known = ((each.session, each.message.number) for each in self.open.values())
        return (session, message.number) in known

    # --- answers --------------------------------------------------------------------------------

    def answered(self, number: int, value: Any, reason: str, out: list[Effect]) -> None:
        """The database has answered; what comes too late is of no use to anybody."""
        if reason and (inquiry := self.open.pop(number, None)) is not None:
            refused = m.Refused(reason, "QueryError", inquiry.message.number)
            _tell(inquiry.session, refused, out)
        elif number in self.open:
            self._end(number, value, out)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min((inquiry.until for inquiry in self.open.values()), default=None)

    def tick(self, now: float, out: list[Effect]) -> None:
        """Answer what was to be answered by now."""
        for number in [n for n, inquiry in self.open.items() if inquiry.until <= now]:
            out.append(Log("warning", "database.silent", {"seconds": PATIENCE}))
            self._end(number, None, out)

    def _end(self, number: int, value: Any, out: list[Effect]) -> None:
        inquiry = self.open.pop(number)
        try:
            answer = inquiry.finish(self, inquiry, value, out)
        except LookupError as error:
            answer = m.Refused(str(error.args[0]), "UnknownTask", inquiry.message.number)
        if isinstance(inquiry.message, m.Purge):
            self._controller.intake.answer(inquiry.session, answer, out)
        else:
            _tell(inquiry.session, answer, out)

    def _reply(self, inquiry: Inquiry, value: Any) -> m.Reply:
        return m.Reply(inquiry.message.number, value)

    def _query(self, inquiry: Inquiry) -> m.Query:
        assert isinstance(inquiry.message, m.Query)
        return inquiry.message

    # --- what comes of what was found; `value` is None when there was no answer -------------------

    def _old(self, value: Iterable[queries.Found] | None) -> list[queries.Found]:
        """What is not remembered here, of what was found."""
        tasks = self._controller.work.tasks
        return [found for found in value or () if found[1] not in tasks]

    def _by_id(self, value: Iterable[queries.Found] | None) -> dict[str, Any]:
        return {id: told for _, id, told in self._old(value)}

    def _database(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        here = queries.found(self._controller.work, inquiry.session, self._query(inquiry))
        both = sorted([*self._old(value), *here], key=queries.order)
        return self._reply(inquiry, [told for _, _, told in both])

    def _history(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        here = queries.submitted(self._controller.work, inquiry.session)
        both = sorted([*self._old(value), *here], key=queries.order)
        return self._reply(inquiry, [id for _, id, _ in both])

    def _counts(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        work, old = self._controller.work, [told for _, _, told in self._old(value)]
        return self._reply(
            inquiry, queries.counts(work, inquiry.session, self._query(inquiry), old)
        )

    def _names(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        here = queries.names(self._controller.work, inquiry.session, self._query(inquiry).keys)
        return self._reply(inquiry, sorted({*here, *(value or ())}))

    def _tasks(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        old, query = self._by_id(value), self._query(inquiry)
        work, session = self._controller.work, inquiry.session
        told = {
            id: old[id] if id in old else queries.document(queries.known(work, session, id))
            for id in query.ids
        }
        return self._reply(inquiry, told)

    def _states(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        work, ids = self._controller.work, self._query(inquiry).ids
        return self._reply(inquiry, queries.states(work, inquiry.session, ids, self._by_id(value)))

    def _story(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        old: Mapping[str, Any] = value or {}
        work, session, story = self._controller.work, inquiry.session, []
        for id in self._query(inquiry).ids:
            steps = queries.known(work, session, id).story if id not in old else old[id]
            story += [list(step) for step in steps]
        return self._reply(inquiry, story)

    def _fetch(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        controller, session = self._controller, inquiry.session
        outcomes, items = value or ((), {})
        old: dict[str, list[m.Outcome]] = {}
        for outcome in outcomes:  # a chunk ends after its shares, and comes before them
            chunk = chunk_id(outcome.id)
            old.setdefault(chunk if chunk in items else outcome.id, []).append(outcome)
        seen: list[str] = []
        unknown: list[str] = []
        for id in self._query(inquiry).ids:
            if controller.fetch(session, id):
                seen.append(id)
            elif id in old:
                for outcome in reversed(old[id]):
                    controller.delivery.owe(session, outcome)
            else:
                unknown.append(id)
        told: dict[str, Any] = {"unknown": unknown}
        if items := items | controller.work.chunks.items(seen):
            told["items"] = items
        answer = self._reply(inquiry, told)
        session.answered(answer)
        return answer

    def _purged(self, inquiry: Inquiry, value: Any, out: list[Effect]) -> Answer:
        message = inquiry.message
        assert isinstance(message, m.Purge)
        answer: Answer = m.Reply(message.number)
        if value is None:
            reason = "the database does not answer; what it keeps is still there"
            answer = m.Refused(reason, "EngineryError", message.number)
        elif not (message.every or message.engines):
            left = [id for id in inquiry.ids if id not in value]
            if left:
                answer = m.Refused(queries.unknown(left[0]), "UnknownTask", message.number)
        return answer


FINDING: Final[dict[str, tuple[str, list[str] | None, Finish]]] = {
    "database": ("find", None, Past._database),
    "history": ("find", ["msg_id"], Past._history),
    "counts": ("find", [], Past._counts),
    "names": ("names", None, Past._names),
}
"""Queries that look for tasks: the question, what to tell of each, and what becomes of it."""

NAMING: Final[dict[str, tuple[str, list[str], Finish]]] = {
    "tasks": ("find", [], Past._tasks),
    "states": ("find", ["msg_id"], Past._states),
    "story": ("stories", [], Past._story),
    "fetch": ("outcomes", [], Past._fetch),
}
"""Queries that name tasks; the same."""


def _tell(session: Session, answer: m.Message, out: list[Effect]) -> None:
    """Who is not connected asks again when he is."""
    if (conn := session.lanes.get("control")) is not None:
        out.append(Send(conn, answer))
