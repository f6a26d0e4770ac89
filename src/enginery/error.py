"""Every exception a user can catch, as one tree.

`RemoteError` and `CompositeError` carry failures of the user's own code; everything else here is
said by the system, and its text says what to do next.
"""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Iterator
from typing import Any


class EngineryError(Exception):
    """Base of every exception that enginery itself raises."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the user's frames, the message and its notes."""
        from .frames import render

        return render(self)


# --- what user code did -----------------------------------------------------------------------


class RemoteError(EngineryError):
    """User code raised on an engine.

    What is raised is an instance of this *and* of the original class whenever that can be had
    here, so `except ZeroDivisionError` and `except RemoteError` both work.

    Attributes: `ename`, `evalue` (class name and message), `traceback` (the remote text),
    `engine_id`, `method` ("apply", "map", "execute", ...), `task` (id), `item` (of a map, its
    number).
    """

    ename: str = "RemoteError"
    evalue: str = ""
    traceback: str = ""
    engine_id: int = -1
    method: str = ""
    task: str = ""
    item: int | None = None


class CompositeError(RemoteError):
    """Several parts of one call failed; `elist` holds their exceptions."""

    def __init__(self, message: str, elist: list[BaseException] | None = None) -> None:
        super().__init__(message)
        self.ename = type(self).__name__
        self.evalue = message
        self.elist: list[BaseException] = list(elist or ())

    def __len__(self) -> int:
        return len(self.elist)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[BaseException]:
        return iter(self.elist)

    def raise_exception(self, i: int = 0) -> None:
        """Raise the `i`-th failure as itself; IndexError when there is none of that number."""
        from .frames import settle, throw

        try:
            if not -len(self.elist) <= i < len(self.elist):
                raise IndexError(f"there are {len(self.elist)} exceptions here, no number {i}")
            self.elist[i].__suppress_context__ = True  # which is this error
            throw(self.elist[i])
        except BaseException as error:
            settle(error)
            raise

    def print_tracebacks(self) -> None:
        """Print every failure's remote traceback, each headed by its engine and method.

        In IPython they are coloured as its own.
        """
        from .colours import coloured

        for error in self.elist:
            engine, method = getattr(error, "engine_id", "?"), getattr(error, "method", "")
            text = getattr(error, "traceback", "")
            text = text or "".join(traceback.format_exception_only(error))
            print(f"[{engine}:{method}]:\n{coloured(text).rstrip()}\n")


# --- what happened to a task ------------------------------------------------------------------


class TaskError(EngineryError):
    """The system ended a task; `task` is its id, `item` the number of the item of a map."""

    task: str = ""
    item: int | None = None


class EngineError(TaskError):
    """An engine died while it ran the task, or was gone when the task was to run on it."""

    engine_id: int = -1
    facts: dict[str, Any]


class TaskKillsEngines(EngineError):
    """The task was running each time an engine died, once too often; it is not tried again."""


class TaskAborted(TaskError):
    """The task was aborted before it ran, or while it did."""


AbortedTask = TaskAborted


class ResultExpired(TaskError):
    """The task is done, but its result is not kept any more."""


class UnknownTask(EngineryError, KeyError):
    """No task has this id."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DependencyError(TaskError):
    """The task was not run because of what it depends on."""


class ImpossibleDependency(DependencyError):
    """What the task depends on cannot be met any more; the message says why."""


class DependencyTimeout(DependencyError):
    """What the task depends on was not met, or no engine took it, in its `timeout`."""


class TaskTimeLimit(TaskError):
    """The task ran for longer than its `time_limit`, and was interrupted."""


class UnmetDependency(EngineryError):
    """Raised by a task: this engine is not to run it; another one shall."""


class QueryError(EngineryError, ValueError):
    """A query of the history cannot be answered; the message says why."""


class TaskNotDone(EngineryError):
    """The task has not ended, and only finished tasks can be resubmitted."""


class UnsendableError(EngineryError, TypeError):
    """Something cannot be sent to an engine; the message names it. Nothing was submitted."""


class TimeoutError(EngineryError, builtins.TimeoutError):
    """A wait has taken longer than its timeout; the work goes on, and waiting again is fine."""


# --- the cluster ------------------------------------------------------------------------------


class NoEnginesRegistered(EngineryError):
    """The call needs an engine and none is registered."""


class NoControllerError(EngineryError, ConnectionError):
    """No controller could be reached: none is running, or it does not answer, or refuses.

    `kind` tells which: "absent", "silent", "refused", ...
    """

    kind: str = "absent"


class ControllerLost(NoControllerError):
    """The connection to the controller broke and has not come back in time."""


class QueueFull(EngineryError):
    """There is no room for more tasks; nothing of this call stays submitted. Try again later."""


class NotAllowedError(EngineryError, PermissionError):
    """The key in use has a role that may not do this."""


class NotSupportedError(EngineryError):
    """The scheme that the cluster uses cannot do this."""


class ConnectionFileError(EngineryError, ValueError):
    """A connection file is missing, broken, or readable by others."""


class ClusterError(EngineryError, RuntimeError):
    """A cluster could not be started or stopped as asked."""


class JournalError(ClusterError):
    """What the last controller has written down cannot be read as a whole; the text says where."""


# --- between processes ------------------------------------------------------------------------


class ProtocolError(EngineryError):
    """A peer sent something that is not in the protocol, or not in its place."""


class MemoryUnavailable(ProtocolError):
    """A message refers to shared memory that is not there (any more), or may not be opened."""


class VersionMismatch(ProtocolError):
    """A peer speaks another version of the protocol; `theirs` is its number."""

    def __init__(self, message: str, theirs: int = 0) -> None:
        super().__init__(message)
        self.theirs = theirs


for _class in [c for c in globals().values() if isinstance(c, type)]:
    if issubclass(_class, EngineryError):
        _class.__module__ = "enginery"  # where users find it, and what Python prints before it
del _class
