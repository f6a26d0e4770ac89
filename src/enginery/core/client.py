"""The client's machine: what it has submitted and not been told, over connections that come and go.

A submission is kept until it is accepted and sent again after a reconnection; an outcome is given
to the user once, however often it arrives. A controller that was started again (its name tells)
knows from its journal what it had accepted, and asks: the client then claims the outcomes that it
lacks. One that does not ask knows nothing, so those tasks are lost and said so. The same goes for a
controller that had given this client up and now sees it for the first time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from ..version import PROTOCOL
from . import messages as m
from .alike import submissions
from .events import (
    Answered,
    Asked,
    Closed,
    Credited,
    Delivered,
    Drop,
    Effect,
    EnginesChanged,
    Event,
    GivenUp,
    Joined,
    JoinFarm,
    Log,
    Opened,
    Received,
    Send,
    Stop,
    Submitted,
)
from .farming import Farming
from .names import session_name
from .pools import chunk_id
from .quota import CREDIT
from .sessions import EMPTY

ROUND = 4096
"""Tasks in one submission at most."""

GOT_LATER = 32
"""Deliveries that are confirmed together at most, when there is nothing else to say."""

GOT_BYTES = 1 << 16
"""The same in bytes. A large result of a direct request (`account.LARGE`) is confirmed at once:
until then its engine keeps it, and all that came after it.
"""

ABOUT_TASKS = m.Query, m.Resubmit, m.Purge
"""What is asked once all that was submitted before has been accepted, so that it is found."""

AT_ONCE = frozenset({"status", "engines", "kept"})
"""Queries that name no tasks, or such as have ended: they do not wait so, and show what is now."""

CLAIM = 50_000
"""Tasks in one claim at most."""

OF_ONE_SESSION = (m.Deliver, m.Accepted, m.Room, m.Engines)
"""What says nothing in another session, or to another controller: it is numbered anew, or its own.
"""

SEEN = 100_000
"""Functions remembered as sent."""


class Client:
    """See the module's theory."""

    def __init__(self, identity: bytes, *, host: str, pid: int, version: str, python: str) -> None:
        self.identity = identity
        self.host, self.pid, self.version, self.python = host, pid, version, python
        self.memory: m.Segment | None = None  # what the controller may open
        self.id = ""
        self.controller = ""
        self.since = 0.0  # when that began
        self.journal = ""  # what outlives it
        self.unheeded = ""  # one that seems to be a former one
        self.session = 0
        self.joined: set[str] = set()
        self.stale: set[str] = set()  # lanes on which a controller that is no more was heard last
        self.greeting: set[str] = set()  # lanes on which a hello waits for its answer
        self.credit = CREDIT
        self.credit_tasks = 0
        self.lacking = ""  # why the controller takes no more
        self.submitted = 0  # the last Submit.seq
        self.sent = 0  # the last one that was sent: its tasks may be taken, also if turned away
        self.repeated = 0  # the first ones were sent to a controller that is no more, too
        self.unsent: deque[m.Submit] = deque()  # out of credit
        self.unaccepted: deque[tuple[m.Submit, int]] = deque()
        self.unaccepted_bytes = self.unaccepted_tasks = 0
        self.unsent_bytes = self.unsent_tasks = 0
        self.functions: dict[bytes, m.Code] = {}  # blobs that unfinished tasks need
        self.needed: dict[bytes, int] = {}
        self.defined: set[bytes] = set()  # the controller has been sent them
        self.outstanding: dict[str, tuple[bytes, ...]] = {}  # task -> functions
        self.delivered = 0  # the last Deliver.seq
        self.confirmed = 0  # the last one of which the controller was told
        self.unconfirmed_bytes = 0
        self.requests: dict[int, m.Message] = {}  # asked, not answered, and not given up
        self.held: dict[int, int] = {}  # those of them that follow a Submit.seq not accepted yet
        self.farming = Farming()
        self.shares: dict[str, set[tuple[int, int]]] = {}  # of open chunks: what has arrived
        self.watched: set[str] = set()  # tasks that were not submitted here, or not in this way
        self.promised: set[str] = set()  # of these, those that the controller has said will come
        self.renewed: set[str] = set()  # of these, those that shall run again, if they may

    @property
    def pending_bytes(self) -> int:
        """Bytes that are submitted here and not accepted there."""
        return self.unaccepted_bytes + self.unsent_bytes

    @property
    def pending_tasks(self) -> int:
        """The same in tasks."""
        return self.unaccepted_tasks + self.unsent_tasks

    @property
    def _accepted_seq(self) -> int:
        """The last submission that the controller has taken."""
        first = (
            self.unaccepted[0][0] if self.unaccepted else self.unsent[0] if self.unsent else None
        )
        return self.submitted if first is None else first.seq - 1

    def deadline(self) -> float | None:
        """Never: it acts on events alone."""
        return None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What follows from this event."""
        out: list[Effect] = []
        match event:
            case Received(conn="farm", message=message):
                self._from_farm(message, out)
            case Received(conn=conn, message=message):
                self._received(str(conn), message, out)
            case Submitted(tasks=tasks, functions=functions):
                self._submit(tasks, functions, out)
            case Asked(message=message):
                asked: int = message.number  # type: ignore[attr-defined]
                self.requests[asked] = message
                self.watched.update(_watched(message))
                if isinstance(message, m.Resubmit):
                    self.renewed.update(message.new)
                if _about_tasks(message) and self._accepted_seq < self.submitted:
                    self.held[asked] = self.submitted
                elif "control" in self.joined:
                    out.append(Send("control", self._dated(message)))
            case GivenUp(number=number):
                # Its tasks stay watched: it may have arrived, and others may wait for them.
                self.requests.pop(number, None)
                self.held.pop(number, None)
            case Opened(conn="farm"):
                self.farming.opened(out)
            case Closed(conn="farm"):
                self.farming.closed()
            case Opened(conn=conn):
                self._greet(str(conn), out)
            case Closed(conn=conn):
                self.joined.discard(str(conn))
                self.greeting.discard(str(conn))
        return out

    def _is_former(self, welcome: m.Welcome) -> bool:
        """Whether a controller that is no more has said this, and it was read late.

        It will not say it again. One that does is there, and its clock was put back. So was read
        late what is of an earlier session with the same one: that has numbered them.
        """
        if welcome.controller == self.controller:
            return welcome.session < self.session
        return welcome.since < self.since and welcome.controller != self.unheeded

    def _greet(self, lane: str, out: list[Effect]) -> None:
        self.greeting.add(lane)
        if lane == "tasks":
            self.confirmed = self.delivered  # this tells
        hello = m.Hello(
            PROTOCOL, self.version, "client", "tasks" if lane == "tasks" else "control",
            self.identity, host=self.host, pid=self.pid, seen=self.delivered, python=self.python,
            memory=self.memory if lane == "tasks" else None, session=self._session_name,
        )  # fmt: skip
        out.append(Send(lane, hello))

    @property
    def _session_name(self) -> str:
        """In which session deliveries are counted."""
        return session_name(self.controller, self.session)

    def _dated(self, message: m.Message) -> m.Message:
        """An abort takes effect after those of its tasks that the controller may not have yet."""
        if isinstance(message, m.Abort):
            ids = frozenset(message.ids)
            pending = (*(submit for submit, _ in self.unaccepted), *self.unsent)
            named = (s.seq for s in reversed(pending) if not ids.isdisjoint(s.ids()))
            message.after = next(named, 0)
        return message

    # --- submitting -----------------------------------------------------------------------------

    def _submit(
        self, tasks: list[m.Task], functions: dict[bytes, m.Code], out: list[Effect]
    ) -> None:
        self.functions.update(functions)
        if self.farming.port:
            tasks = self._put_into_farm(tasks, out)
        round = min(ROUND, self.credit_tasks or ROUND)
        for start in range(0, len(tasks), round):
            for submit in submissions(tasks[start : start + round]):
                self._take(submit)
        self._send_unsent(out)

    def _take(self, submit: m.Submit) -> None:
        """Number a submission, and keep it until it is accepted."""
        self.submitted += 1
        submit.seq = self.submitted
        for task in submit.tasks:
            self.outstanding[task.id] = needs = task.functions()
            for function in needs:
                self._need(function, 1)
        for part in submit.alike:
            self.outstanding.update(dict.fromkeys(part.ids, (part.function,)))
            self._need(part.function, len(part))
        self.unsent.append(submit)
        self.unsent_bytes += _size(submit)
        self.unsent_tasks += submit.count

    def _put_into_farm(self, tasks: list[m.Task], out: list[Effect]) -> list[m.Task]:
        """Balanced tasks pass the controller by; gives the others."""
        for task in tasks:
            if task.engine < 0:
                self.outstanding[task.id] = (task.function,)
                self._need(task.function, 1)
                blob, _ = m.fields_of(self.functions[task.function])
                self.farming.submit(task, blob, out)
        return [task for task in tasks if task.engine >= 0]

    def _from_farm(self, message: m.Message, out: list[Effect]) -> None:
        match message:
            case m.Deliver(outcomes=outcomes):
                outcomes = self.farming.came_back(outcomes)
            case m.Probed(probe=probe, incarnation=life):
                outcomes = self.farming.answered(probe, life, out)
            case _:
                return
        for outcome in outcomes:
            self._release(self.outstanding.pop(outcome.id))
        if outcomes:
            out.append(Delivered(outcomes, []))

    def _send_unsent(self, out: list[Effect]) -> None:
        if "tasks" not in self.joined or self.lacking:
            return
        while self.unsent and self._credited():
            submit = self.unsent.popleft()
            size = _size(submit)
            self.unsent_bytes -= size
            self.unsent_tasks -= submit.count
            if submit.seq <= self.sent:  # it was turned away, and may have been taken all the same
                self._leave_out_done([submit])
                size = _size(submit)
            self.unaccepted_bytes += size
            self.unaccepted_tasks += submit.count
            self.unaccepted.append((submit, size))
            self._send(submit, out)
            self.sent = max(self.sent, submit.seq)
            if self.confirmed < self.delivered:
                self._confirm(out)

    def _credited(self) -> bool:
        """Whether the controller has given credit for another submission."""
        if not self.unaccepted:
            return True
        few = not self.credit_tasks or self.unaccepted_tasks < self.credit_tasks
        return few and self.unaccepted_bytes < self.credit

    def _room(self, message: m.Room, out: list[Effect]) -> None:
        """The controller takes no more, or does so again; what it has not taken is unsent again."""
        self.lacking = message.lacking
        while self.unaccepted and self.unaccepted[-1][0].seq > message.seq:
            submit, size = self.unaccepted.pop()
            self.unaccepted_bytes -= size
            self.unaccepted_tasks -= submit.count
            self.unsent.appendleft(submit)
            self.unsent_bytes += size
            self.unsent_tasks += submit.count
        self._send_unsent(out)
        out.append(Credited())

    def _taken_back(self, seq: int) -> None:
        """A controller that was started again has what the last one had not accepted so far."""
        while self.unsent and self.unsent[0].seq <= seq:
            submit = self.unsent.popleft()
            self.unsent_bytes -= _size(submit)
            self.unsent_tasks -= submit.count

    def _send(self, submit: m.Submit, out: list[Effect]) -> None:
        for hash in submit.functions():
            # One that is not here belongs to tasks that have ended: this is sent again.
            if hash not in self.defined and hash in self.functions:
                self.defined.add(hash)
                out.append(Send("tasks", m.definition(hash, self.functions[hash])))
        if len(self.defined) > SEEN:
            self.defined.clear()  # sent once too often at worst
        out.append(Send("tasks", submit))

    # --- what the controller says -----------------------------------------------------------------

    def _received(self, lane: str, message: m.Message, out: list[Effect]) -> None:
        if lane in self.stale and isinstance(message, OF_ONE_SESSION):
            return
        match message:
            case m.Deliver():
                self._deliver(message, out)
            case m.Accepted(seq=seq):
                self._accepted(seq)
                self._send_unsent(out)
                self._ask_held(out)
                out.append(Credited())
            case m.Room():
                self._room(message, out)
            case m.Engines(engines=engines):
                self.farming.engines(engines, out)
                out.append(EnginesChanged(engines))
            case m.Reply(number=number) if lane in self.stale and self._fetches(number):
                pass  # what is gone has promised it: it will be asked for again
            case m.Reply(number=number, value=value):
                if (request := self.requests.pop(number, None)) is not None:
                    if isinstance(request, m.Query) and request.what == "fetch":
                        known = self.watched.intersection(request.ids)
                        self.promised |= known.difference(value["unknown"])
                        self._unwatch(value["unknown"])
                    elif isinstance(request, m.Resubmit):  # they are tasks of this client now
                        lacking = self.renewed.intersection(request.new)
                        self.outstanding |= dict.fromkeys(lacking, ())
                        self.watched -= lacking
                        self.renewed -= lacking
                    out.append(Answered(number, value))
            case m.Refused(number=number, reason=reason, error=error):
                if not number:
                    out.append(Stop(1, f"{error}: {reason}"))
                elif (request := self.requests.pop(number, None)) is not None:
                    self._unwatch(_watched(request))
                    self.renewed.difference_update(_watched(request))
                    out.append(Answered(number, None, error, reason))
            case m.Need(hashes=hashes):
                for hash in hashes:
                    if hash in self.functions:
                        out.append(Send("tasks", m.definition(hash, self.functions[hash])))
            case m.Welcome():
                self._welcome(lane, message, out)
            case m.Again() if lane not in self.greeting:  # it comes once for each thing we said
                self._greet(lane, out)
            case m.Again():
                pass
            case m.Goodbye(reason=reason):
                self.joined.discard(lane)
                out += [Stop(0, reason), Drop(lane, "the controller has said goodbye")]
            case _:
                out.append(Log("warning", "client.unexpected", {"what": type(message).__name__}))

    def _accepted(self, seq: int) -> None:
        while self.unaccepted and self.unaccepted[0][0].seq <= seq:
            submit, size = self.unaccepted.popleft()
            self.unaccepted_bytes -= size
            self.unaccepted_tasks -= submit.count

    def _ask_held(self, out: list[Effect]) -> None:
        """Say what has waited for the submissions before it."""
        accepted = self._accepted_seq
        for number in [number for number, seq in self.held.items() if seq <= accepted]:
            del self.held[number]
            if "control" in self.joined:
                out.append(Send("control", self.requests[number]))

    def _deliver(self, message: m.Deliver, out: list[Effect]) -> None:
        if message.seq > self.delivered + 1:
            return  # an earlier one was lost on the way; it comes again, then this one
        if message.seq == self.delivered + 1:
            self.delivered = message.seq
            outcomes = [
                outcome
                for outcome in message.outcomes
                if (self._share_arrived(outcome) if outcome.stop else self._arrived(outcome.id))
            ]
            for done in message.done:
                outcomes += self._all_arrived(done)
            self.unconfirmed_bytes += message.size()
            out.append(Delivered(outcomes, message.outputs))
        late = self.delivered - self.confirmed
        if late >= GOT_LATER or self.unconfirmed_bytes > GOT_BYTES or late <= 0:
            self._confirm(out)

    def _arrived(self, id: str) -> bool:
        """An outcome is there; False for one that was there before."""
        if self.shares:
            self.shares.pop(id, None)
        functions = self.outstanding.pop(id, None)
        if functions is not None:
            self._release(functions)
            if self.watched:
                self._no_more(id)
            return True
        return self._no_more(id)

    def _all_arrived(self, done: m.Done) -> list[m.Outcome]:
        """The same of several; gives those that were not there before."""
        if self.shares or self.watched:
            return [outcome for outcome in done.outcomes() if self._arrived(outcome.id)]
        open = self.outstanding
        needs = [open.pop(id, None) for id in done.ran.ids]
        first = needs[0] if needs else None
        if first is not None and needs.count(first) == len(needs):
            self._release(first, len(needs))
            return done.outcomes()
        for functions in needs:
            self._release(functions or ())
        pairs = zip(done.outcomes(), needs, strict=True)
        return [outcome for outcome, functions in pairs if functions is not None]

    def _no_more(self, id: str) -> bool:
        """A task is not watched any more; whether it was."""
        watched = id in self.watched
        self.watched.discard(id)
        self.promised.discard(id)
        self.renewed.discard(id)
        return watched

    @property
    def _asked(self) -> set[str]:
        """The tasks of requests that are not answered."""
        return {id for request in self.requests.values() for id in _watched(request)}

    def _fetches(self, number: int) -> bool:
        """Whether this request asks for outcomes, which an answer only promises."""
        request = self.requests.get(number)
        return isinstance(request, m.Query) and request.what == "fetch"

    def _unwatch(self, ids: list[str]) -> None:
        """The outcomes of these will not come, unless for another request."""
        if ids:  # another request may still have it come
            self.watched.difference_update(set(ids) - self._asked - self.promised)

    def _share_arrived(self, outcome: m.Outcome) -> bool:
        """The same of a share: it is asked for itself, or its chunk is waited for."""
        if self._no_more(outcome.id):
            return True
        chunk = chunk_id(outcome.id)
        if chunk not in self.outstanding and chunk not in self.watched:
            return False
        shares = self.shares.setdefault(chunk, set())
        items = outcome.start, outcome.stop
        if items in shares:
            return False
        shares.add(items)
        return True

    def _confirm(self, out: list[Effect]) -> None:
        """Tell how far deliveries have arrived; best together with something else."""
        self.confirmed = self.delivered
        self.unconfirmed_bytes = 0
        out.append(Send("tasks", m.Got(self.delivered, self._session_name)))

    def _need(self, function: bytes, count: int) -> None:
        """So many more tasks that have not ended need this function."""
        self.needed[function] = self.needed.get(function, 0) + count

    def _release(self, functions: tuple[bytes, ...], count: int = 1) -> None:
        for function in functions:
            left = self.needed[function] - count
            if left:
                self.needed[function] = left
            else:
                del self.needed[function]
                self.functions.pop(function, None)

    def _welcome(self, lane: str, welcome: m.Welcome, out: list[Effect]) -> None:
        if self._is_former(welcome):
            self.unheeded = welcome.controller
            self._greet(lane, out)
            return
        again = bool(self.controller) and welcome.controller != self.controller
        another = again or bool(self.session and welcome.session != self.session)
        if another:
            self.stale = {"tasks", "control"}
        # One that has all of the journal and does not ask has heard of us, and given us up.
        knew = bool(welcome.journal) and welcome.journal == self.journal and not welcome.torn
        if again and not (welcome.asks or knew):
            waiting = [submit for submit, _ in self.unaccepted]
            waiting += self.unsent
            self._begin_again("the controller was restarted", waiting, out)
        elif again and welcome.asks:
            self.delivered = self.confirmed = self.unconfirmed_bytes = 0  # it counts anew
            self._lack_less()
            if welcome.session != self.session:
                self._renumber(welcome.accepted)
        elif another:
            waiting = [submit for submit in self.unsent if submit.seq > self.sent]
            self._begin_again("the controller had given this client up", waiting, out)
        self.stale.discard(lane)
        self.controller, self.session = welcome.controller, welcome.session
        self.since, self.journal = welcome.since, welcome.journal
        self.id = str(welcome.id)
        self.joined.add(lane)
        self.greeting.discard(lane)
        if welcome.memory is not None:
            out.append(Send(lane, m.Shares()))
        if welcome.farm_port != self.farming.port:
            self.farming.port = welcome.farm_port
            out.append(JoinFarm(welcome.farm_port))
        if lane == "control":
            ready = (r for number, r in self.requests.items() if number not in self.held)
            out.extend(Send("control", self._dated(r)) for r in ready)
        else:
            self.credit = welcome.credit or self.credit
            self.credit_tasks = welcome.credit_tasks
            self.lacking = ""
            self.defined.clear()
            self._accepted(welcome.accepted)
            if welcome.asks:
                self._taken_back(welcome.accepted)
                self._claim(out)
            elif self.repeated:
                out.append(Send("tasks", m.Claim([], 0, self.repeated)))
            for submit, _ in self.unaccepted:
                self._send(submit, out)
            self._send_unsent(out)
            self._ask_held(out)
        out.append(Joined(welcome))

    def _renumber(self, accepted: int) -> None:
        """A controller that does not know of this session any more goes on with an earlier one, in
        which so much was accepted: what it does not have follows that.
        """
        more = accepted - self._accepted_seq
        for submit in (*(submit for submit, _ in self.unaccepted), *self.unsent):
            submit.seq += more
        self.submitted += more
        self.sent = max(0, self.sent + more)
        self.repeated = max(0, self.repeated + more)
        self.held = {number: seq + more for number, seq in self.held.items()}

    def _claim(self, out: list[Effect]) -> None:
        """Tell a controller that was started again what it has accepted and not answered."""
        self._leave_out_done(submit for submit, _ in self.unaccepted)
        self._leave_out_done(self.unsent)  # what was turned away, too
        self.unaccepted = deque((submit, _size(submit)) for submit, _ in self.unaccepted)
        self.unaccepted_bytes = sum(size for _, size in self.unaccepted)
        self.unaccepted_tasks = sum(submit.count for submit, _ in self.unaccepted)
        self._count_unsent()
        again = {id for submit, _ in self.unaccepted for id in submit.ids()}
        again.update(id for submit in self.unsent for id in submit.ids())
        again.update(self.farming.tasks)
        asked = self._asked
        lacking = [id for id in self.outstanding if id not in again]
        watches = sorted(self.watched - again - (asked - self.promised) - self.outstanding.keys())
        first = (*(submit for submit, _ in self.unaccepted), *self.unsent)
        accepted = first[0].seq - 1 if first else self.submitted
        sent = max(self.sent, self.repeated, accepted)
        for start in range(0, max(len(lacking), 1), CLAIM):
            more = start + CLAIM < len(lacking)
            ids = lacking[start : start + CLAIM]
            out.append(Send("tasks", m.Claim(ids, accepted, sent, watches, sorted(asked), more)))

    def _lack_less(self) -> None:
        """What was to run again and has ended before that was answered is not asked for again."""
        for request in self.requests.values():
            if isinstance(request, m.Resubmit):
                pairs = list(zip(request.ids, request.new, strict=True))
                pairs = [(id, new) for id, new in pairs if new in self.renewed]
                request.ids, request.new = [id for id, _ in pairs], [new for _, new in pairs]

    def _leave_out_done(self, submits: Iterable[m.Submit]) -> None:
        """Of some tasks something may have been done before they were accepted."""
        for submit in submits:
            tasks = [
                task
                for task in submit.one_by_one()
                if task.id in self.outstanding and task.id not in self.shares
            ]
            if len(tasks) < submit.count:
                submit.tasks, submit.alike = tasks, []

    def _count_unsent(self) -> None:
        self.unsent_bytes = sum(map(_size, self.unsent))
        self.unsent_tasks = sum(submit.count for submit in self.unsent)

    def _begin_again(self, reason: str, waiting: list[m.Submit], out: list[Effect]) -> None:
        """The controller does not know us, and numbers anew.

        What is not `waiting` to be submitted (again) is lost to us.
        """
        self._leave_out_done(waiting)
        kept = {id for submit in waiting for id in submit.ids()}
        facts: dict[str, Any] = {"reason": reason, "started": True}
        lost = [m.Outcome(id, "lost", facts=facts) for id in self.outstanding if id not in kept]
        for outcome in lost:
            self._release(self.outstanding.pop(outcome.id))
        asked = self._asked
        gone = self.watched - (asked - self.promised)  # who asks may get an answer, others none
        lost += [m.Outcome(id, "lost", facts=facts) for id in gone]
        self.watched &= asked
        self.promised.clear()
        self.shares.clear()
        self.farming.give_up()
        self.unaccepted.clear()
        self.unaccepted_bytes = self.unaccepted_tasks = 0
        self.unsent = deque(waiting)
        self._count_unsent()
        sent = max(self.sent, self.repeated)
        self.repeated = sum(submit.seq <= sent for submit in self.unsent)
        for seq, submit in enumerate(self.unsent, 1):
            submit.seq = seq
        self.submitted, self.sent = len(self.unsent), 0
        self.held = dict.fromkeys(self.held, self.submitted)
        self.delivered = self.confirmed = 0
        self.joined.clear()
        if lost:
            out.append(Delivered(lost, []))

    def __repr__(self) -> str:
        return (
            f"<Client {self.id} {len(self.outstanding)} outstanding, "
            f"{len(self.unaccepted)} unaccepted, {len(self.unsent)} unsent>"
        )


def _size(submit: m.Submit) -> int:
    """Bytes that a submission counts for."""
    return submit.size() or EMPTY


def _about_tasks(request: m.Message) -> bool:
    """Whether the answer depends on what was submitted before."""
    at_once = isinstance(request, m.Query) and request.what in AT_ONCE
    return isinstance(request, ABOUT_TASKS) and not at_once


def _watched(request: m.Message) -> list[str]:
    """The tasks whose outcomes come because of this request."""
    match request:
        case m.Query(what="fetch", ids=ids):
            return ids
        case m.Resubmit(new=new):
            return new
    return []
