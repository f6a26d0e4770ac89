"""What becomes of a task: its states, and the one table of how it moves between them.

A task enters when its function is there. It is *held* while it depends on tasks that have not
ended, *waiting* while no engine has been chosen, *queued* in the queue of the engine that will run
it, *sent* when that engine has it, and *done* when its one outcome is known. A direct request is
never waiting: its engine is given. It is held only for the values that its arguments take.

Each time a task is sent counts as a new *attempt*, and only the result of the latest attempt on
the latest life of its engine counts; others are *late*. A task whose engine is lost before it had
started goes back *free*. One that had started, or has failed, is *retried* while it has retries
to spend; `retries=0` means started at most once. One that an engine has refused waits for
another engine. One that has failed for good goes on as its *recovery*, if it has one.

A *chunk* is many calls that arrive as one task. It waits until all of it is *divided* into *shares*
(`chunks`), which are tasks of their own, and is done when these are.

`story` keeps every transition with its time and engine, so that a stuck task explains itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from . import messages as m
from .graph import Wait

if TYPE_CHECKING:
    from .pools import Pool

State = Literal["new", "held", "waiting", "divided", "queued", "sent", "done"]
Move = Literal[
    "hold", "wait", "divide", "assign", "send", "free", "merge", "retry", "refuse", "recover", "end"
]

TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    ("new", "hold"): "held",
    ("held", "wait"): "waiting",
    ("held", "assign"): "queued",  # a direct request
    ("new", "wait"): "waiting",
    ("new", "assign"): "queued",  # a direct request
    ("waiting", "assign"): "queued",
    ("waiting", "divide"): "divided",  # a chunk: all of it is in its shares
    ("divided", "wait"): "waiting",
    ("queued", "send"): "sent",
    ("queued", "free"): "waiting",
    ("queued", "merge"): "new",  # a share: its items are the chunk's again, and it is no more
    ("sent", "merge"): "new",
    ("sent", "free"): "waiting",
    ("sent", "retry"): "waiting",
    ("waiting", "retry"): "waiting",  # it may have been started; nobody knows (`recovery`)
    ("held", "retry"): "held",
    ("sent", "refuse"): "waiting",
    ("sent", "recover"): "waiting",
    ("new", "end"): "done",
    ("held", "end"): "done",
    ("waiting", "end"): "done",
    ("divided", "end"): "done",
    ("queued", "end"): "done",
    ("sent", "end"): "done",
}


class Refusal(NamedTuple):
    """Why an engine did not run a task, and when: the life, and how often that had changed."""

    reason: str
    life: str
    changes: int


STORY = 200
"""Moves that the story of a task holds at most."""

BEGINNING = 20
"""Those at its beginning that it always holds."""

LEFT_OUT = "left out: what came next"
"""Stands where some are missing."""


class Record:
    """A task as the controller knows it, from its acceptance until it is forgotten.

    What few tasks have takes room only in these.
    """

    __slots__ = (
        "__dict__", "__weakref__", "attempt", "expected", "finished", "kept", "n", "number",
        "order", "outcome", "owner", "place", "size", "spec", "state", "steps",
    )  # fmt: skip

    spent = 0  # retries used up
    crashed: tuple[int, ...] = ()  # engines that died while it was known to run there
    avoid: tuple[int, ...] = ()  # engines on which it has failed: others are preferred
    allowed: tuple[int, ...] = ()  # engines it may go to; empty: all
    refused: tuple[int, ...] = ()  # engines that will not run it
    unfit: tuple[int, ...] = ()  # those that will not until their properties change
    refusals: dict[int, Refusal] | None = None  # what they said
    submission: m.Task | None = None  # what was submitted, where its recovery runs
    stage = 0  # which of its recoveries runs, from 1; 0: the task itself
    wait: Wait | None = None  # what it is held for
    inputs: tuple[m.Value, ...] = ()  # what its arguments take, when all of it is there
    input_bytes = 0
    rank = 0.0  # larger goes first
    recalled = 0  # the attempt that was called back from its engine, to run elsewhere
    aborting = False  # it shall not start any more
    interrupting = False  # nor go on
    pool: Pool | None = None  # of a chunk: its items, and its shares
    items = 1  # calls that it stands for, as one engine is given them

    def __init__(self, spec: m.Task, owner: bytes, number: int = 0) -> None:
        self.spec = spec
        self.owner = owner  # identity of the client
        self.number = number  # which of all tasks that were ever accepted
        self.size = spec.size()
        self.state: State = "new"
        self.attempt = 0  # the latest one
        self.place = -1  # engine id while queued or sent
        self.n = 0  # Attempt.n of the latest attempt
        self.order = 0  # arrival among waiting tasks
        self.expected = 0  # microseconds that it is thought to take
        self.outcome: m.Outcome | None = None
        self.finished = 0.0
        self.steps: list[Any] = []  # of its story, one after the other: that takes half the room
        self.kept = False  # in the history
        if spec.targets:
            self.allowed = spec.targets

    @property
    def origin(self) -> m.Task:
        """What was submitted, also when its recovery runs."""
        return self.submission or self.spec

    @property
    def function(self) -> bytes:
        """The hash of what it runs now."""
        return self.spec.function

    @property
    def outcomes(self) -> list[m.Outcome]:
        """The one that it has, if it has ended."""
        return [] if self.outcome is None else [self.outcome]

    @property
    def given(self) -> Sequence[m.Buffer]:
        """The large buffers that it counts with, of its recoveries, too."""
        task = self.submission or self.spec
        return task.buffers if task.terms is None else task.all_buffers()

    @property
    def direct(self) -> bool:
        """Whether one particular engine must run it."""
        return self.spec.engine >= 0

    @property
    def final(self) -> bool:
        """Whether no further attempt is allowed after the one at hand."""
        spec = self.spec
        return self.spent >= spec.retries or self.aborting or spec.engine >= 0

    @property
    def unwanted(self) -> bool:
        """Whether its engine, which has it, is not to start it any more."""
        return self.aborting or self.recalled == self.attempt

    @property
    def recovery(self) -> m.Task | None:
        """What is to run in its stead when it has failed for good."""
        terms = self.spec.terms
        if terms is None or not terms.recoveries or self.aborting or self.direct:
            return None
        return terms.recoveries[0]

    @property
    def limited(self) -> bool:
        """Whether its timeout holds: it has one, and has not run yet."""
        terms = self.spec.terms
        return terms is not None and terms.timeout > 0 and not self.spent and not self.direct

    @property
    def follows(self) -> bool:
        """Whether it is to run where others have run; where these were, `allowed` says later."""
        terms = self.spec.terms
        return terms is not None and terms.follow is not None and bool(terms.follow.ids)

    @property
    def takes(self) -> tuple[str, ...]:
        """The tasks whose values its arguments take, also those of its recoveries."""
        return () if self.origin.terms is None else self.origin.terms.inputs

    def spent_before(self, attempt: int) -> int:
        """How many retries the attempts before that one used up: at most, as some may have been
        refused of which nobody has told.
        """
        return max(0, min(attempt - 1 - len(self.refused), self.spec.retries))

    def refuse(self, engine: int, refusal: Refusal, for_good: bool) -> None:
        """An engine will not run it, for good or for now."""
        if for_good:
            self.refused = tuple(sorted({*self.refused, engine}))
        else:
            self.unfit = tuple(sorted({*self.unfit, engine}))
        self.refusals = {**(self.refusals or {}), engine: refusal}

    def move(self, move: Move, now: float, cause: str = "", engine: int = -1) -> None:
        """Go to the next state; a move that the table lacks is a broken law."""
        try:
            self.state = TRANSITIONS[self.state, move]
        except KeyError:
            raise AssertionError(f"{self!r} cannot {move}") from None
        self.steps += (now, cause or move, engine)
        if len(self.steps) > 3 * STORY:
            self._shorten()

    def _shorten(self) -> None:
        """Of a long story keep the beginning and the end; the journal has it whole each time."""
        del self.steps[3 * BEGINNING : -3 * STORY // 2]
        since = self.steps[3 * (BEGINNING - 1)]
        self.steps[3 * BEGINNING : 3 * BEGINNING] = (since, LEFT_OUT, -1)

    @property
    def story(self) -> list[tuple[float, str, int]]:
        """Every move: when, why, and the engine it had to do with, or -1."""
        steps = iter(self.steps)
        return list(zip(steps, steps, steps, strict=True))

    def __repr__(self) -> str:
        where = f" on {self.place}" if self.place >= 0 else ""
        return f"<Record {self.spec.id} {self.state}{where} attempt {self.attempt}>"
