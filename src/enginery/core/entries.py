"""What stands in the journal: from this a controller that starts again knows what the last one did.

A *turn* of the controller's loop is one record of several entries, which counts as a whole or not
at all. `Taken`, `Sent`, `Ended` and `EndedWell` are what plain tasks leave behind; whatever else
becomes of a task is written as its whole `State`. Of direct requests there is no more than that
they are there: their engines have the rest (`messages.Holds`).

From time to time everything that still matters is written anew, a part of it each turn (`Begin`,
then the states, then `Complete`). An entry that says of a thing how it is takes the place of all
before it, so it does not matter what happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from .messages import Alike, Buffer, Done, Outcome, Task, Value


class Entry(Struct, array_like=True, gc=False):
    """Base of all entries; the class name is the tag."""


class Begin(Entry, tag="B"):
    """All that matters follows, as of this turn and later ones; here, what is one number each."""

    sessions: int = 0  # how many clients there ever were
    scheme: str = ""  # that was chosen while it ran
    ended: dict[str, int] = {}  # how many calls ended in which way, ever
    numbers: int = 0  # how many tasks ever had a number


class Complete(Entry, tag="C"):
    """All that matters has been written since the last `Begin`."""


class Chosen(Entry, tag="h"):
    """Tasks are balanced by this scheme from now on."""

    scheme: str


# --- who is there -----------------------------------------------------------------------------


class Life(Entry, tag="L"):
    """A life of an engine begins at the place of this id, or goes on there."""

    id: int
    place: bytes
    incarnation: bytes
    host: str
    pid: int
    python: str
    since: float
    over: bool = False  # and has ended


class Over(Entry, tag="O"):
    """This life will not be taken back; of 12 bytes: nor any by which that process goes on."""

    incarnation: bytes


class Came(Entry, tag="c"):
    """A client is there, whose submissions up to `accepted` are known."""

    number: int
    identity: bytes
    id: str
    role: str
    accepted: int = 0


class Left(Entry, tag="l"):
    """Nothing is owed to this client any more."""

    identity: bytes


# --- tasks ------------------------------------------------------------------------------------


class Function(Entry, tag="D"):
    """What tasks below need, by its hash."""

    hash: bytes
    blob: bytes
    buffers: tuple[Buffer, ...] = ()


class Direct(Struct, array_like=True, gc=False):
    """A direct request without what it is to do."""

    id: str
    engine: int
    name: str
    submitted: float = 0.0
    label: str = ""

    @classmethod
    def of(cls, task: Task) -> Direct:
        """What is told of this one."""
        return cls(task.id, task.engine, task.name, task.submitted, task.label)

    def task(self) -> Task:
        """What is known of it then."""
        return Task(
            self.id, b"", b"", name=self.name, engine=self.engine, submitted=self.submitted,
            label=self.label,
        )  # fmt: skip


class Taken(Entry, tag="T"):
    """A submission of a client is known now (`seq` 0: tasks that run once more)."""

    owner: bytes
    seq: int
    tasks: list[Task]  # balanced
    direct: list[Direct] = []
    alike: list[Alike] = []  # more that are balanced, in columns

    def one_by_one(self) -> list[Task]:
        """All that are balanced."""
        return [*self.tasks, *(task for part in self.alike for task in part.tasks())]


class Request(Entry, tag="r"):
    """What else is known of a direct request that has not ended, and its engine does not tell."""

    id: str
    owner: bytes
    had: bool = False  # only an engine has told of it, no client: it may be any task (`Work.had`)
    aborting: bool = False
    interrupting: bool = False


class Sent(Entry, tag="S"):
    """An engine is sent attempts: `n`, task and number of each."""

    place: int
    attempts: list[tuple[int, str, int]]
    rows: list[tuple[int, list[str]]] = []  # first attempts: `n` of the first, and the tasks

    def one_by_one(self) -> Iterator[tuple[int, str, int]]:
        """All of them."""
        yield from self.attempts
        for first, ids in self.rows:
            yield from ((n, id, 1) for n, id in enumerate(ids, first))


class Ended(Entry, tag="E"):
    """A task has its one outcome."""

    owner: bytes
    outcome: Outcome

    def outcomes(self) -> list[Outcome]:
        """It, alone."""
        return [self.outcome]


class EndedWell(Entry, tag="e"):
    """Tasks that are alike have their outcomes."""

    owner: bytes
    done: Done

    def outcomes(self) -> list[Outcome]:
        """One for each."""
        return self.done.outcomes()


class Passed(Entry, tag="P"):
    """A direct request has ended like this, and its client has the value, which is not kept."""

    owner: bytes
    outcome: Outcome


class Condition(Struct, array_like=True, gc=False):
    """How far one condition of a task is met: see `graph.Condition`."""

    ended: int
    counted: int
    engines: list[int]
    open: list[str]  # the tasks that have not ended
    against: Outcome | None = None


class State(Entry, tag="s"):
    """A task as it is now; the fields are those of `tasks.Record`."""

    owner: bytes
    origin: Task
    attempt: int = 0
    spent: int = 0
    crashed: tuple[int, ...] = ()
    avoid: tuple[int, ...] = ()
    allowed: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    refusals: dict[int, tuple[str, str, int]] = {}
    aborting: bool = False
    interrupting: bool = False
    spec: Task | None = None  # where that is not what was submitted: its recovery runs
    waits: list[Condition] | None = None  # while it is held
    place: int = -1  # of the engine that was sent it
    n: int = 0
    outcome: Outcome | None = None
    finished: float = 0.0
    steps: list[Any] = []


class Divided(Entry, tag="d"):
    """How far a chunk is divided; the fields are those of `chunks.Pool`.

    A share that is not among the `live` ones and has not ended is no more. Of those that have
    `ended`, the first `since` were told before: there may be thousands, and this comes each time.
    """

    id: str
    todo: list[tuple[int, int]]
    live: list[str]
    ended: list[int]
    done: int
    bad: Outcome | None = None
    since: int = 0


class Kept(Entry, tag="k"):
    """The value of a task that others take, whatever is known of that one."""

    id: str
    value: Value


class Owed(Entry, tag="o"):
    """An outcome that its client may not have, of a task that is not known any more."""

    owner: bytes
    outcome: Outcome


class Purged(Entry, tag="p"):
    """Finished tasks were forgotten because somebody wanted that."""

    ids: list[str]


class Untold(Entry, tag="u"):
    """An engine has gone for good after the end of the journal was lost, and what it had with it.

    While not all others have told what they have, what waits may have been there, too (`open`).
    """

    at: float
    open: bool


class Numbered(Entry, tag="n"):
    """A task has got a number."""

    id: str
    number: int


AnyEntry = (
    Begin
    | Complete
    | Chosen
    | Life
    | Over
    | Came
    | Left
    | Function
    | Taken
    | Request
    | Sent
    | Ended
    | EndedWell
    | Passed
    | State
    | Divided
    | Kept
    | Owed
    | Purged
    | Untold
    | Numbered
)
"""Everything that can stand in a record."""


class Turn(Struct, array_like=True):
    """One record: what happened in one turn, and when (seconds since the epoch)."""

    at: float
    entries: list[AnyEntry]
