"""What goes into a core and what comes out of it.

A core is a plain object with `handle(event, now) -> effects` and `deadline()`. It reads no clock
and owns no socket; whoever drives it (a process, the simulator, a test) tells it what happened and
does what it says, in that order. `conn` names a connection: for the controller any hashable that
its driver chose; for an engine, a supervisor or a client its lane, "tasks" or "control".
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

from msgspec import Struct

from . import messages as m
from .entries import Turn

Conn = Hashable

# --- events -----------------------------------------------------------------------------------


class Opened(Struct, frozen=True):
    """A connection to the controller is up (again); everything said on the last one may be lost."""

    conn: Conn


class Closed(Struct, frozen=True):
    """A connection is gone."""

    conn: Conn


class Received(Struct, frozen=True):
    """A message arrived from a peer whose key has this role."""

    conn: Conn
    role: str
    message: m.Message


class Measured(Struct, frozen=True):
    """Controller: so much memory of the process is resident (bytes).

    When that is too much, with what ZeroMQ holds for each connection: what has come and was not
    read, be it the beginning of a message, and what was sent and is not with the peer yet.
    """

    resident: int
    held: dict[Conn, int] = {}


class Tick(Struct, frozen=True):
    """The deadline that the core had asked for has come."""


class Finished(Struct, frozen=True):
    """Engine: the attempt that was started has ended like this.

    Of a share there may be several results, in the order of its items; this is the last one.
    """

    result: m.Result
    before: tuple[m.Result, ...] = ()


class Divided(Struct, frozen=True):
    """Engine: the share that runs was cut behind the item that runs now; this is what has ended."""

    n: int
    results: tuple[m.Result, ...]


class Changed(Struct, frozen=True):
    """Engine: the user has changed its properties, for the `count`th time."""

    count: int


class Typed(Struct, frozen=True):
    """Engine: somebody at its console wants this input run when its turn comes."""

    number: int


class TypedEnded(Struct, frozen=True):
    """Engine: the input that was to be run has ended."""


class Submitted(Struct, frozen=True):
    """Client: the user wants these tasks done; `functions` holds blobs by content hash."""

    tasks: list[m.Task]
    functions: dict[bytes, m.Code]


class Asked(Struct, frozen=True):
    """Client: the user wants this said on the control lane; the answer has its number."""

    message: m.Message


class GivenUp(Struct, frozen=True):
    """Client: nobody waits any more for the answer to the request of that number."""

    number: int


class Synced(Struct, frozen=True):
    """Controller: the journal is on disk up to this record: `size` bytes since its last `anew`,
    with the buffers that it names; `log` without them.
    """

    turn: int
    size: int
    log: int


class JournalFailed(Struct, frozen=True):
    """Controller: the journal cannot be written."""

    reason: str


class Consulted(Struct, frozen=True):
    """Controller: what the database says to the question of that number; or why it does not."""

    number: int
    value: Any
    reason: str = ""


class DatabaseOpened(Struct, frozen=True):
    """Controller: there is a database; `older`: with tasks of this cluster from before."""

    older: bool


class DatabaseClosed(Struct, frozen=True):
    """Controller: there is none (any more), and what was asked will not be answered."""


class Forked(Struct, frozen=True):
    """Supervisor: a life of the engine of this place has begun."""

    place: bytes
    incarnation: bytes
    pid: int


class Died(Struct, frozen=True):
    """Supervisor: it has ended; `status` as `os.waitstatus_to_exitcode` (negative: a signal)."""

    place: bytes
    incarnation: bytes
    status: int
    started: int
    finished: int
    facts: dict[str, Any] = {}
    item: int = 0


Event = (
    Opened
    | Closed
    | Received
    | Measured
    | Tick
    | Finished
    | Divided
    | Changed
    | Typed
    | TypedEnded
    | Submitted
    | Asked
    | GivenUp
    | Synced
    | JournalFailed
    | Consulted
    | DatabaseOpened
    | DatabaseClosed
    | Forked
    | Died
)

# --- effects ----------------------------------------------------------------------------------


class Send(Struct, frozen=True):
    """Say this on that connection; effects of one `handle` for one connection form a batch."""

    conn: Conn
    message: m.Message


class Drop(Struct, frozen=True):
    """Cut this connection."""

    conn: Conn
    why: str


class Log(Struct, frozen=True):
    """One line for the log: a stable event name and its facts."""

    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: dict[str, Any]


class Stop(Struct, frozen=True):
    """End this process with this exit code."""

    code: int
    why: str


class Append(Struct, frozen=True):
    """Controller: write this record, before anything of this turn is said.

    `anew`: what is written from here on will replace all before it. `urgent`: somebody waits.
    """

    number: int
    turn: Turn
    anew: bool
    urgent: bool


class Trim(Struct, frozen=True):
    """Controller: the records before this one are not needed any more.

    What is left tells the `whole` of what has happened, or leaves what was in doubt in doubt.
    """

    before: int
    whole: bool


class Question(Struct, frozen=True):
    """What the database is asked about tasks that have ended.

    "find": `queries.Found` of each; "stories": the steps of each by its id; "outcomes": how they
    ended, with the shares of chunks, and the items of these; "names": the different values of the
    one key; "purge": forget them, and say which.
    """

    what: Literal["find", "stories", "outcomes", "names", "purge"]
    record: int  # of the journal: what was noted up to it counts
    owner: bytes = b""  # only tasks of this client
    ids: list[str] | None = None  # only these
    engines: list[int] | None = None  # only what ended on these
    where: dict[str, dict[str, Any]] = {}  # only what fulfils this; see `database.checked`
    keys: list[str] = []  # what to tell; all, if none
    before: float | None = None  # only what has not changed since


class Consult(Struct, frozen=True):
    """Controller: ask the database, and say `Consulted` when it has answered."""

    number: int
    question: Question


class Start(Struct, frozen=True):
    """Engine: run this attempt now, and say `Finished` when it has ended."""

    attempt: m.Attempt


class Divide(Struct, frozen=True):
    """Engine: begin no more items of this share, and say `Divided` before anything else."""

    n: int


class RunTyped(Struct, frozen=True):
    """Engine: run this input of its console now, and say `TypedEnded` when it has ended."""

    number: int


class JoinFarm(Struct, frozen=True):
    """Engine, client: connect to the queue of the `pure` scheme, at this port of the controller."""

    port: int


class Load(Struct, frozen=True):
    """Engine: keep this function."""

    hash: bytes
    blob: m.Code


class Forget(Struct, frozen=True):
    """Engine: this function is not needed in memory any more."""

    hash: bytes


class Interrupt(Struct, frozen=True):
    """Engine: raise KeyboardInterrupt in the user code of this attempt, and nowhere else.

    Without an `id` it is the input of that number which was typed at a console.
    """

    id: str
    attempt: int


class ClearNamespace(Struct, frozen=True):
    """Engine: remove every name of the user."""


class Look(Struct, frozen=True):
    """Engine: `deadline()` is sooner than it was; who looks at the clock has to know."""


class Kill(Struct, frozen=True):
    """Engine: deliver this signal to the process."""

    signum: int


class Delivered(Struct, frozen=True):
    """Client: these arrived for the user, each for the first time."""

    outcomes: list[m.Outcome]
    outputs: list[m.Output]


class EnginesChanged(Struct, frozen=True):
    """Client: these are the engines now."""

    engines: list[m.EngineInfo]


class Credited(Struct, frozen=True):
    """Client: the controller has accepted more of what was submitted."""


class Answered(Struct, frozen=True):
    """Client: the answer to the request of that number; `error` names a class of `error`."""

    number: int
    value: Any
    error: str = ""
    reason: str = ""


class Joined(Struct, frozen=True):
    """Client: the controller knows us."""

    welcome: m.Welcome


class Fork(Struct, frozen=True):
    """Supervisor: begin a life of the engine of this place."""

    place: bytes
    incarnation: bytes


class KeepCopy(Struct, frozen=True):
    """Supervisor: do as this says, and tell the controller where what it has brought lies."""

    message: m.Keep


class KillEngine(Struct, frozen=True):
    """Supervisor: send this signal to the engine of this place."""

    place: bytes
    signum: int


Effect = (
    Send
    | Drop
    | Log
    | Stop
    | Append
    | Trim
    | Consult
    | Start
    | Divide
    | RunTyped
    | JoinFarm
    | Load
    | Forget
    | Interrupt
    | ClearNamespace
    | Look
    | Kill
    | Delivered
    | EnginesChanged
    | Credited
    | Answered
    | Joined
    | Fork
    | KeepCopy
    | KillEngine
)
