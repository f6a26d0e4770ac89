"""What the processes say to each other: plain structs, which the cores handle as they are.

A batch is a list of these messages. Nothing here knows sockets, pickles or clocks. Payloads are
opaque bytes: only engines and clients look inside.

Three rules keep the protocol right over connections that break (ZeroMQ forgets what it had handed
to a broken one):

* the sender keeps a thing until told. A client keeps a `Submit` until `Accepted` names its number
  or a later one; an engine keeps `Results` until `Acked`; the controller keeps a `Deliver` until
  `Got`, and a task until its result is there;
* everything may arrive twice. Submissions are known by their task ids, results by
  (task, attempt, incarnation), deliveries by their number;
* who reconnects says in its hello how far it has got, and the other side sends the rest again.

They form no cycles, so the garbage collector need not look at them (`gc=False`): there may be a
million.

The first two fields of `Hello` never change, so that any two versions can refuse each other in
words (`wire.codec`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol

from msgspec import Struct

from ..error import MemoryUnavailable

Role = Literal["engine", "client", "task", "monitor"]


class Segment(Struct, array_like=True, frozen=True, gc=False):
    """Memory of a process that others on its host may open (`wire.memory`).

    It is descriptor `fd` of process `pid`, has `size` bytes, and holds what it held when `token`
    was drawn.
    """

    pid: int
    fd: int
    size: int
    token: bytes


Reference = tuple[Segment, int, int]
"""A part of a segment: from this byte on, so many bytes."""


class Part(Protocol):
    """A buffer that lies in a segment; `reference` is None when that cannot be named to others."""

    nbytes: int
    reference: Reference | None

    def view(self) -> memoryview:
        """Its bytes; raises MemoryUnavailable when they cannot be had."""


class Buffer:
    """A large buffer, never copied: it travels as a frame of its own beside the batch.

    `data` is anything with the buffer protocol; where it is only passed on, a tuple of such. One
    that lies in shared memory is a `part`, and goes by reference to who shares it; its `data` may
    be left out, and is looked for when it is needed.
    """

    __slots__ = ("__weakref__", "_data", "nbytes", "part", "stored")

    def __init__(self, data: Any, part: Part | None = None) -> None:
        self._data = data
        self.part = part
        self.stored: Any = None  # where beside the journal it stands, too
        if part is not None:
            self.nbytes: int = part.nbytes
        else:
            pieces = data if type(data) is tuple else (data,)
            self.nbytes = sum(memoryview(piece).nbytes for piece in pieces)

    @property
    def data(self) -> Any:
        """Its bytes; MemoryUnavailable when they are gone."""
        if self._data is None and self.part is not None:
            return self.part.view()
        return self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Buffer) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(bytes(self))

    @property
    def there(self) -> bool:
        """Whether its bytes can be had."""
        try:
            return self.data is not None
        except MemoryUnavailable:
            return False

    @property
    def pieces(self) -> tuple[Any, ...]:
        """What the data consists of, in its order."""
        data = self.data
        return data if type(data) is tuple else (data,)

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)

    def __repr__(self) -> str:
        return f"Buffer({self.nbytes} bytes)"


class Large(Struct, frozen=True):
    """A function that holds large data: buffers beside a blob in which stands what names them."""

    blob: bytes
    buffers: tuple[Buffer, ...]

    def __len__(self) -> int:
        return len(self.blob) + sum(buffer.nbytes for buffer in self.buffers)


Code = bytes | Large
"""A function as it travels, made by `wire.functions`."""


def fields_of(code: Code) -> tuple[bytes, tuple[Buffer, ...]]:
    """The two fields of a message that hold a function."""
    return (code.blob, code.buffers) if isinstance(code, Large) else (code, ())


def code_of(blob: bytes, buffers: tuple[Buffer, ...]) -> Code:
    """The function that these fields hold."""
    return Large(blob, buffers) if buffers else blob


class Message(Struct, array_like=True, gc=False):
    """Base of all that is sent; the class name is the tag on the wire."""


# --- who is there -----------------------------------------------------------------------------

Lane = Literal["tasks", "control"]


class Hello(Message, tag="!"):
    """The first message of every connection of an engine, a supervisor or a client.

    `kind` says what speaks; what it may do comes from its key alone. `identity` is a 128-bit
    secret of the speaker: the place of an engine (the same for each of its lives), or the client.
    `incarnation` is the secret of this life of an engine. `seen` is the last number this side has
    from the controller: the `n` of the last `Attempt` (engine), the last `Deliver.seq` (client, in
    the `session` of this name: it may have been forgotten meanwhile, and be in another one).
    `patience` is how many seconds an engine or a supervisor needs to be back when its connection
    breaks, where that takes longer than usual. `rank` is what an engine is in a job of MPI, in
    words.
    """

    protocol: int
    version: str
    kind: Literal["engine", "supervisor", "client"]
    lane: Lane
    identity: bytes
    incarnation: bytes = b""
    host: str = ""
    pid: int = 0
    seen: int = 0
    places: tuple[bytes, ...] = ()  # a supervisor's engines, in the order of their ids
    python: str = ""
    memory: Segment | None = None  # who can open it is on the same host
    patience: float = 0.0
    rank: str = ""
    keeps: bool = False  # a supervisor can keep copies, an engine can open them: see `Keep`
    session: str = ""  # or "": the one that there is


class Welcome(Message, tag="W"):
    """The answer to `Hello`: the connection is registered."""

    controller: str  # a name of this life of the controller
    id: int | str  # engine id, or the client's short public id
    accepted: int = 0  # to a client: the last Submit.seq that is accepted
    credit: int = 0  # to a client: bytes it may have submitted and not accepted
    credit_tasks: int = 0  # the same in tasks; 0: any number
    version: str = ""
    scheme: str = ""
    hwm: int = 1
    role: str = ""  # to a client: what its key lets it do
    farm_port: int = (
        0  # where the queue of the `pure` scheme listens for this peer; 0: there is none
    )
    session: int = 0  # to a client; another one than before: it had been forgotten meanwhile
    incarnation: bytes = b""  # to an engine: the life that is meant
    memory: Segment | None = None  # the controller's own, if it could open that of the `Hello`
    journal: str = ""  # the name of what outlives the controller; "": nothing does
    asks: bool = False  # it was started again: an engine answers by `Holds`, a client by `Claim`
    # To an engine: an `Attempt.n` up to this one is of a former life, or of the last controller.
    after: int = 0
    since: float = 0.0  # when this life of the controller began, in seconds since the epoch
    # To a client: something may be missing at the end of the journal with which it began, such as
    # that this client was there.
    torn: bool = False


class Door(Struct, array_like=True, frozen=True):
    """Where a supervisor lends a copy to others: `key` is that of the socket, in Z85."""

    address: str
    key: str
    ticket: bytes  # the secret that opens it, for this copy


class Keep(Message, tag="B"):
    """To a supervisor: keep a copy of these large buffers in memory that its engines can open.

    Of the copies before it only those of the `live` numbers are still needed. Number 0: no copy.
    With a `door` they do not come along: they are to be had there, and have these `sizes`. Others
    are going to fetch those copies whose numbers are `lent`.
    """

    number: int
    buffers: tuple[Buffer, ...]
    live: list[int]
    door: Door | None = None
    sizes: tuple[int, ...] = ()
    lent: list[int] = []


class Kept(Message, tag="C"):
    """From a supervisor: there it is, with each buffer at its offset; None: it cannot be kept.

    `door` is where others can fetch it; or, without a segment, where it could not be had.
    """

    number: int
    segment: Segment | None
    at: list[int]
    door: Door | None = None


class Shares(Message, tag="m"):
    """This peer can open the controller's memory, too: large buffers may come by reference."""


class Refused(Message, tag="X"):
    """The controller will not do what was asked; `number` names the request, 0 the connection."""

    reason: str
    error: str = "NotAllowedError"
    number: int = 0


class Again(Message, tag="H"):
    """To a connection nobody knows: say Hello (again).

    `given_up` names a life of the engine that was declared lost; its work has gone elsewhere. The
    process forgets what it was doing and comes back as a new incarnation.
    """

    given_up: bytes = b""


class Goodbye(Message, tag="G"):
    """This peer leaves on purpose; from the controller: it stops, do not come back."""

    reason: str = ""


# --- functions and tasks ----------------------------------------------------------------------


class Define(Message, tag="D"):
    """A function by its content hash; sent once to whoever will need it."""

    hash: bytes
    blob: bytes
    buffers: tuple[Buffer, ...] = ()


def definition(hash: bytes, code: Code) -> Define:
    """What tells this function."""
    return Define(hash, *fields_of(code))


class Need(Message, tag="N"):
    """The sender lacks these functions; tasks that use them wait for a `Define`.

    An engine says which attempt (`Attempt.n`) cannot start.
    """

    hashes: tuple[bytes, ...]
    n: int = 0


class Dependency(Struct, array_like=True, gc=False):
    """Tasks that another one waits for: `all` of them or any.

    With `success` those count that ended well, with `failure` the others.
    """

    ids: tuple[str, ...]
    all: bool = True
    success: bool = True
    failure: bool = False


class Terms(Struct, array_like=True, gc=False):
    """What few tasks ask for besides to be run. Times are in seconds, 0: no limit."""

    after: Dependency | None = None  # not before these
    follow: Dependency | None = None  # not before these, and where they ran
    timeout: float = 0.0  # from its arrival until an engine is to have it
    priority: float = 0.0  # larger goes first
    time_limit: float = 0.0  # of each run
    clear_before: bool = False  # empty the engine's namespace before each run
    clear_after: bool = False  # and after it
    recoveries: tuple[Task, ...] = ()  # each runs in its stead when all before have failed for good
    inputs: tuple[str, ...] = ()  # tasks whose values its arguments take; not before they succeeded
    arguments: tuple[str, ...] = ()  # what these are called, for messages


class Chunk(Struct, array_like=True, frozen=True, gc=False):
    """The items of a map for which a task stands: from `start` up to `stop`, one call each.

    They are pickled in grains of `grain` items, counted from item 0, which end at `ends` in the
    arguments; the first of them may begin before `start`, the last end after `stop`.
    """

    start: int
    stop: int
    grain: int
    ends: tuple[int, ...]


TASK = 750
"""Bytes that a task occupies beside what it holds, with all that the controller notes of it:
measured.
"""


class Task(Struct, array_like=True, gc=False):
    """One call, to be run once: by any engine (`engine` < 0), or by that engine only (direct).

    With a `chunk` it is a call for each of its items, which engines divide among themselves.
    """

    id: str
    function: bytes  # content hash
    arguments: bytes  # pickled
    buffers: tuple[Buffer, ...] = ()
    name: str = ""  # what people call it: "map(fit)", "execute"
    engine: int = -1
    targets: tuple[int, ...] = ()  # engines a balanced task may go to; empty: all
    retries: int = 0
    submitted: float = 0.0  # client's clock, seconds since the epoch
    label: str = ""
    terms: Terms | None = None
    chunk: Chunk | None = None

    @property
    def priority(self) -> float:
        """Larger goes first."""
        return 0.0 if self.terms is None else self.terms.priority

    def size(self) -> int:
        """Bytes this task occupies, about."""
        size = TASK + len(self.arguments) + len(self.name) + len(self.label) + len(self.id)
        if self.buffers:
            size += sum(b.nbytes for b in self.buffers)
        if self.targets:
            size += 8 * len(self.targets)
        if self.chunk is not None:
            size += 8 * len(self.chunk.ends)
        terms = self.terms
        if terms is None:
            return size
        for dependency in (terms.after, terms.follow):
            if dependency is not None:
                size += sum(map(len, dependency.ids)) + 100 * len(dependency.ids)
        for task in terms.recoveries:
            size += task.size()
        size += sum(map(len, terms.arguments)) + sum(map(len, terms.inputs))
        return size + 200 + 100 * len(terms.inputs)

    def all_buffers(self) -> tuple[Buffer, ...]:
        """Its large buffers, and those of its recoveries."""
        recoveries = () if self.terms is None else self.terms.recoveries
        return (*self.buffers, *(b for task in recoveries for b in task.all_buffers()))

    def functions(self) -> tuple[bytes, ...]:
        """The hashes of all functions it may need: its own and those of its recoveries."""
        if self.terms is None or not self.terms.recoveries:
            return (self.function,)
        return (self.function, *(task.function for task in self.terms.recoveries))


UNEVEN = "columns of different lengths"
"""What is wrong with columns that are not of the same tasks."""

LONGEST = 200
"""Characters of name and label of calls in columns at most: one by one, each has them again."""


class Alike(Struct, array_like=True, gc=False, frozen=True):
    """Plain calls that differ in their columns alone, in their order; see `alike`.

    Each is a `Task` that asks for nothing but to be run: without large buffers, by any engine.
    """

    function: bytes
    name: str
    label: str
    retries: int
    ids: list[str]
    arguments: list[bytes]
    submitted: list[float]

    def __post_init__(self) -> None:
        if not (len(self.ids) == len(self.arguments) == len(self.submitted)):
            raise ValueError(UNEVEN)
        if not self.ids or len(self.name) + len(self.label) > LONGEST:
            raise ValueError("columns of no tasks, or with a long name")

    def __len__(self) -> int:
        return len(self.ids)

    def task(self, i: int) -> Task:
        """One of them."""
        return Task(
            self.ids[i], self.function, self.arguments[i], (), self.name, retries=self.retries,
            submitted=self.submitted[i], label=self.label,
        )  # fmt: skip

    def tasks(self) -> list[Task]:
        """All of them."""
        return [self.task(i) for i in range(len(self.ids))]

    def cut(self, start: int, stop: int | None = None) -> Alike:
        """Some of them."""
        part = slice(start, stop)
        return Alike(
            self.function, self.name, self.label, self.retries,
            self.ids[part], self.arguments[part], self.submitted[part],
        )  # fmt: skip

    @property
    def largest(self) -> int:
        """Bytes that none of them exceeds, about."""
        each = TASK + len(self.name) + len(self.label) + max(map(len, self.ids), default=0)
        return each + max(map(len, self.arguments), default=0)

    def size(self) -> int:
        """Bytes that all of them occupy, about."""
        each = TASK + len(self.name) + len(self.label)
        return each * len(self.ids) + sum(map(len, self.arguments)) + sum(map(len, self.ids))


class Submit(Message, tag="S"):
    """Tasks from a client; `seq` counts a client's submissions from 1, without gaps.

    Those in columns come behind the others.
    """

    seq: int
    tasks: list[Task]
    alike: list[Alike] = []

    @property
    def count(self) -> int:
        """How many tasks it has."""
        return len(self.tasks) + sum(map(len, self.alike))

    def size(self) -> int:
        """Bytes that its tasks occupy, about."""
        return sum(task.size() for task in self.tasks) + sum(part.size() for part in self.alike)

    def functions(self) -> dict[bytes, None]:
        """The hashes of all functions that its tasks may need."""
        found = {part.function: None for part in self.alike}
        for task in self.tasks:
            found[task.function] = None
            if task.terms is not None:
                found.update(dict.fromkeys(task.functions()))
        return found

    def ids(self) -> list[str]:
        """Those of its tasks."""
        return [*(task.id for task in self.tasks), *(id for part in self.alike for id in part.ids)]

    def one_by_one(self) -> list[Task]:
        """All of them as tasks."""
        return [*self.tasks, *(task for part in self.alike for task in part.tasks())]


class Accepted(Message, tag="A"):
    """Every submission up to `seq` is recorded and will end in exactly one outcome."""

    seq: int


class Room(Message, tag="L"):
    """To a client: what it has submitted after `seq` was not taken, because of what is `lacking`.

    It keeps that until it is told that nothing is lacking (any more), and then submits it again.
    """

    seq: int
    lacking: str = ""


class Value(Struct, array_like=True, gc=False):
    """What a task has given, as it came from its engine: for one that takes it as an argument."""

    value: bytes
    buffers: tuple[Buffer, ...] = ()
    parts: tuple[Value, ...] = ()  # of a chunk: what its items gave, in their order

    def size(self) -> int:
        """Bytes this value occupies, about."""
        size = 100 + len(self.value)
        for part in self.parts:
            size += part.size()
        return size + sum(b.nbytes for b in self.buffers) if self.buffers else size


class Attempt(Struct, array_like=True, gc=False):
    """One execution of a task; `n` counts what one life of an engine is given, from 1."""

    n: int
    id: str
    attempt: int
    function: bytes
    arguments: bytes
    buffers: tuple[Buffer, ...] = ()
    final: bool = True  # no further attempt is allowed after this one
    name: str = ""
    clears: int = 0  # the engine's namespace was to be cleared so often before this
    time_limit: float = 0.0  # seconds that it may run; 0: any
    clear_before: bool = False  # the engine's namespace is to be empty when it starts
    clear_after: bool = False  # and when it has ended
    inputs: tuple[Value, ...] = ()  # what the tasks of `Terms.inputs` have given
    chunk: Chunk | None = None
    stage: int = 0  # which of its task's recoveries this runs, from 1; 0: the task itself


class Row(Struct, array_like=True, gc=False, frozen=True):
    """The first attempts of calls that are alike; `n` is that of the first, and others follow."""

    n: int
    function: bytes
    name: str
    final: bool
    clears: int
    ids: list[str]
    arguments: list[bytes]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.arguments):
            raise ValueError(UNEVEN)

    def attempts(self) -> Iterator[Attempt]:
        """All of them."""
        function, name, final, clears = self.function, self.name, self.final, self.clears
        for n, (id, arguments) in enumerate(zip(self.ids, self.arguments, strict=True), self.n):
            yield Attempt(n, id, 1, function, arguments, (), final, name, clears)


class Run(Message, tag="R"):
    """Work for an engine, to be done in the order of its numbers."""

    attempts: list[Attempt]
    rows: list[Row] = []

    def one_by_one(self) -> list[Attempt]:
        """All of it, in that order."""
        if not self.rows:
            return self.attempts
        attempts = [attempt for row in self.rows for attempt in row.attempts()]
        if not self.attempts:
            return attempts
        return sorted([*self.attempts, *attempts], key=lambda attempt: attempt.n)


Ended = Literal["ok", "error", "aborted", "overtime", "refused", "unfit"]


class Farmed(Message, tag="f"):
    """One task through the queue of the `pure` scheme; or, without a task, a probe.

    An engine answers a task by `Deliver`, a probe by `Probed`.
    """

    attempt: Attempt | None = None
    blob: bytes = b""  # of its function
    submitted: float = 0.0
    probe: int = 0


class Probed(Message, tag="b"):
    """An engine has got as far as a probe of this round."""

    probe: int
    incarnation: str  # short public name


RESULT = 200
"""Bytes that a result occupies beside what it holds, about."""


class Result(Struct, array_like=True, gc=False):
    """How an attempt ended, in the words of its engine. Times are the engine's clock.

    `refused`: this engine is not to run it (a dependency of it is not met here), and `unfit`: not
    until the engine's properties change; `reason` says it in words. `overtime`: it ran for longer
    than it may.

    Of a chunk it tells of the first `items` that were not told before: their values as a list, or
    the failure of all of them. The attempt goes on with the next `running` items (0: it has ended);
    what remains after these was not started, and will not be.
    """

    id: str
    attempt: int
    status: Ended
    value: bytes  # the pickled value, or the pickled failure
    buffers: tuple[Buffer, ...] = ()
    started: float = 0.0
    completed: float = 0.0
    outputs: int = 0  # how many `Output` messages belong to this attempt
    reason: str = ""
    changes: int = 0  # how often the properties had changed when it was found unfit
    items: int = 0
    running: int = 0
    stage: int = 0  # the attempt's

    def size(self) -> int:
        """Bytes this result occupies, about."""
        size = RESULT + len(self.value) + len(self.reason)
        return size + sum(b.nbytes for b in self.buffers) if self.buffers else size


class Ran(Struct, array_like=True, gc=False, frozen=True):
    """First attempts that have ended well, in their order, and of which there is no more to say."""

    ids: list[str]
    values: list[bytes]
    started: list[float]
    completed: list[float]
    outputs: list[int]

    def __post_init__(self) -> None:
        n, times = len(self.ids), len(self.started) == len(self.completed)
        if not times or not (n == len(self.values) == len(self.started) == len(self.outputs)):
            raise ValueError(UNEVEN)

    def __len__(self) -> int:
        return len(self.ids)

    def results(self) -> Iterator[Result]:
        """All of them."""
        columns = self.ids, self.values, self.started, self.completed, self.outputs
        for id, value, started, completed, outputs in zip(*columns, strict=True):
            yield Result(id, 1, "ok", value, (), started, completed, outputs)

    def cut(self, start: int, stop: int) -> Ran:
        """Some of them."""
        part = slice(start, stop)
        return Ran(
            self.ids[part], self.values[part], self.started[part], self.completed[part],
            self.outputs[part],
        )  # fmt: skip

    def size(self) -> int:
        """Bytes that all of them occupy, about."""
        return RESULT * len(self.ids) + sum(map(len, self.values))


class Results(Message, tag="T"):
    """From an engine; `seq` counts this life's messages of this kind from 1.

    Those in columns come behind the others.
    """

    seq: int
    results: list[Result]
    ran: Ran | None = None

    def one_by_one(self) -> list[Result]:
        """All of them."""
        return self.results if self.ran is None else [*self.results, *self.ran.results()]

    def size(self) -> int:
        """Bytes that they occupy, about."""
        size = sum([result.size() for result in self.results])
        return size if self.ran is None else size + self.ran.size()


class Acked(Message, tag="K"):
    """The controller has every `Results` up to `seq`, of the `life` of this public name."""

    seq: int
    life: str


class Holds(Message, tag="q"):
    """From an engine to a controller that was started again: what it was given and still has.

    `attempts` are told by `Attempt.n`, task, number, name and stage, in the order in which they
    came; of those whose `Results` follow, from `seq` + 1 on, nobody remembers the `n`, and it is 0.
    """

    seen: int  # the last `Attempt.n` that arrived
    seq: int  # the last `Results.seq` that was acknowledged
    clears: int  # how often the namespace was cleared, or is to be
    attempts: list[tuple[int, str, int, str, int]]
    items: list[tuple[int, int]] = []  # of each that is a share: from which item up to which


class Claim(Message, tag="k"):
    """From a client to a controller that was started again: outcomes of these tasks it lacks.

    Every submission up to `accepted` was; those up to `sent` were on their way to the last one.
    Tasks of others that it `watches` will not be told otherwise; what is `asked` for is about to be
    asked for again. With `more`, this is not all. One who is new to a controller that does not ask
    says only how many submissions he had `sent` to another one.
    """

    ids: list[str]
    accepted: int
    sent: int
    watches: list[str] = []
    asked: list[str] = []
    more: bool = False


class Output(Message, tag="O"):
    """What user code wrote to stdout or stderr, or displayed, while `id`'s `attempt` ran.

    What it displayed is a JSON object of the keys "data" (by MIME type), "metadata", "transient"
    (a "display_id"), and "update" (whether it takes the place of the last one of that id). When a
    client does not read, the controller puts one that was "dropped" in the place of several, the
    last of which has this `number`. How far the attempt is by its own word ("progress", from 0 to
    1) is no output, and has the number -1.
    """

    id: str
    attempt: int
    number: int  # counts the outputs of this attempt from 0
    stream: Literal["stdout", "stderr", "display", "dropped", "progress"]
    text: str
    engine: int = -1  # filled in by the controller

    def size(self) -> int:
        """Bytes this output occupies, about."""
        return 100 + len(self.text)


Status = Literal[
    "ok", "error", "aborted", "lost", "kills", "overtime", "impossible", "timeout", "expired"
]


OUTCOME = 300
"""Bytes that an outcome occupies beside what it holds, about."""


class Outcome(Struct, array_like=True, gc=False):
    """How a task ended: exactly one per task, whatever happened on the way.

    `ok` and `error` carry what the engine sent. `lost`: its engine died while it ran; `kills`: it
    was running each time one of several engines died; `aborted`; `overtime`: it ran for too long;
    `impossible`: what it depends on cannot be met; `timeout`: it was not met in time; `expired`: it
    is done, but its result is not kept any more. `facts` tells the rest in plain values. What is
    impossible because a task failed whose value it takes has that one's outcome as its `cause`, or
    the cause of that.

    A chunk ends when all its shares have, each of which tells of the items from `start` up to
    `stop`; its own end says how the first ended that did not end well.
    """

    id: str
    status: Status
    value: bytes = b""
    buffers: tuple[Buffer, ...] = ()
    engine: int = -1
    incarnation: str = ""  # short public name of that life of the engine
    attempt: int = 0
    submitted: float = 0.0
    started: float = 0.0
    completed: float = 0.0
    outputs: int = 0
    name: str = ""
    facts: dict[str, Any] = {}
    cause: Outcome | None = None
    start: int = 0
    stop: int = 0  # 0: it is no share

    def size(self) -> int:
        """Bytes this outcome occupies, about."""
        size = OUTCOME + len(self.value)
        if self.cause is not None:
            size += self.cause.size()
        return size + sum(b.nbytes for b in self.buffers) if self.buffers else size


class Done(Struct, array_like=True, gc=False, frozen=True):
    """How calls that are alike have ended: well, all at their first attempt, on one engine."""

    engine: int
    incarnation: str
    name: str
    submitted: list[float]
    ran: Ran

    def __post_init__(self) -> None:
        if len(self.submitted) != len(self.ran.ids):
            raise ValueError(UNEVEN)

    def __len__(self) -> int:
        return len(self.submitted)

    @property
    def largest(self) -> int:
        """Bytes that any of them occupies at most, about."""
        return OUTCOME + max(map(len, self.ran.values), default=0)

    def outcomes(self) -> list[Outcome]:
        """All of them."""
        ran, engine, life, name = self.ran, self.engine, self.incarnation, self.name
        columns = ran.ids, ran.values, self.submitted, ran.started, ran.completed, ran.outputs
        return [
            Outcome(
                id, "ok", value, (), engine, life, 1, submitted, started, completed, outputs, name
            )
            for id, value, submitted, started, completed, outputs in zip(*columns, strict=True)
        ]

    def outcome(self, i: int) -> Outcome:
        """One of them."""
        ran = self.ran
        return Outcome(
            ran.ids[i], "ok", ran.values[i], (), self.engine, self.incarnation, 1,
            self.submitted[i], ran.started[i], ran.completed[i], ran.outputs[i], self.name,
        )  # fmt: skip

    def size(self) -> int:
        """Bytes that all of them occupy, about."""
        return OUTCOME * len(self.submitted) + sum(map(len, self.ran.values))


class Deliver(Message, tag="E"):
    """Outcomes and outputs for a client; `seq` counts a client's deliveries from 1."""

    seq: int
    outcomes: list[Outcome] = []
    outputs: list[Output] = []
    done: list[Done] = []  # more outcomes, in columns

    def size(self) -> int:
        """Bytes that it occupies, about."""
        size = sum(outcome.size() for outcome in self.outcomes)
        size += sum(part.size() for part in self.done)
        return size + sum(output.size() for output in self.outputs)

    def one_by_one(self) -> list[Outcome]:
        """All outcomes."""
        return [*self.outcomes, *(outcome for part in self.done for outcome in part.outcomes())]


class Got(Message, tag="g"):
    """The client has every `Deliver` up to `seq` of the `session` of this name."""

    seq: int
    session: str = ""  # or "": the one that there is


# --- control: on connections of its own, so that it never queues behind work --------------------


class Abort(Message, tag="a"):
    """Tasks that must not start any more; with `running`, the running ones are interrupted too.

    An engine on which one goes on nevertheless is given up, unless that is to be done `gently`.
    From a client, `after` is its last `Submit.seq`: the controller has those first. An engine is
    told the attempts by their `numbers` (`Attempt.n`), which may still be on their way to it. Of a
    chunk that runs, the items must not start that have not.
    """

    ids: list[str]
    running: bool = False
    after: int = 0
    number: int = 0
    numbers: list[int] = []
    gently: bool = False


class Dropped(Message, tag="p"):
    """From an engine, at once: these attempts have not started and never will.

    They are told by task and `Attempt.n`. An abort that is repeated is answered again.
    """

    ids: list[str]
    numbers: list[int]


class Resubmit(Message, tag="z"):
    """Run finished tasks once more, as new tasks with these new ids, in the same order."""

    ids: list[str]
    new: list[str]
    number: int = 0


class Purge(Message, tag="v"):
    """Forget finished tasks: these, or all that ended on these engines, or every one."""

    ids: list[str] = []
    engines: list[int] = []
    every: bool = False
    number: int = 0


class Choose(Message, tag="h"):
    """Balance by this scheme from now on; one of those that the controller was configured with."""

    scheme: str
    number: int = 0


class Changed(Message, tag="y"):
    """From an engine: its properties have changed, for the `count`th time in this life.

    What it was unfit for before may run there now.
    """

    count: int


class Signal(Message, tag="s"):
    """A signal for engines (client → controller → engine); SIGINT interrupts what runs now."""

    signum: int
    engines: list[int] = []
    number: int = 0


class Clear(Message, tag="c"):
    """Empty the namespaces of engines, before they start anything else.

    A life of an engine, of this public name, is told how often that was said (`count`), and each
    attempt how often before it, so that each clearing happens once and in its place although it
    overtakes the work.
    """

    engines: list[int] = []
    number: int = 0
    count: int = 0
    life: str = ""


class Shutdown(Message, tag="d"):
    """End engines, now or (`restart`) to be replaced; with `controller`, the whole cluster."""

    engines: list[int] = []
    restart: bool = False
    controller: bool = False
    number: int = 0


class Query(Message, tag="Q"):
    """A question about the state of things; answered by `Reply` with the same number.

    `what`: "status", "engines", "queues", "tasks", "story", "fetch" and more (see `core.queries`).
    Engines answer some themselves (`core.inquiries`): those of `engines`, or all.
    `where` and `keys` are for "database": what to look for (`core.database`), what to tell.
    """

    number: int
    what: str
    ids: list[str] = []
    engines: list[int] = []
    verbose: bool = False
    where: dict[str, Any] = {}
    keys: list[str] = []


class Reply(Message, tag="r"):
    """The answer to the request of that number; done is told by an empty `value`."""

    number: int
    value: Any = None


class EngineInfo(Struct, array_like=True, gc=False):
    """What clients know of an engine."""

    id: int
    incarnation: str  # short public name of this life
    host: str
    pid: int
    since: float  # controller's clock, seconds since the epoch
    python: str = ""


class Engines(Message, tag="e"):
    """Every engine that is registered now; sent on each change."""

    engines: list[EngineInfo]


class Exited(Message, tag="x"):
    """From a supervisor: a life of an engine is over.

    `started` and `finished` are numbers of `Attempt.n`: the last one begun, the last one done.
    They come from a page that the engine shares with its supervisor, so they are right even
    after a SIGKILL. `replaced` says whether a new life is on its way, `item` which item of a chunk
    was begun last.
    """

    place: bytes
    incarnation: bytes
    started: int
    finished: int
    reason: str  # "signal 9 (SIGKILL)", "exit code 3", "stopped"
    replaced: bool
    facts: dict[str, Any] = {}
    item: int = 0


AnyMessage = (
    Hello
    | Welcome
    | Shares
    | Refused
    | Again
    | Goodbye
    | Define
    | Need
    | Submit
    | Accepted
    | Room
    | Run
    | Results
    | Acked
    | Holds
    | Claim
    | Output
    | Keep
    | Kept
    | Dropped
    | Deliver
    | Got
    | Abort
    | Resubmit
    | Purge
    | Choose
    | Changed
    | Farmed
    | Probed
    | Signal
    | Clear
    | Shutdown
    | Query
    | Reply
    | Engines
    | Exited
)
"""Everything that can stand in a batch."""
