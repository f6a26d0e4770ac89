"""Descriptions of tasks: `StringTask`, `MapTask`, and the calls that they become.

A task is only a description: it can be submitted any number of times, and what is changed in it
later holds for later submissions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..client import text
from ..client.actions import Action
from ..client.calls import Args, Kwargs, Wishes, name_of
from ..client.decorators import local_function
from ..client.flags import Checked, function_or_none, truth, whole
from ..client.names import name_or_names
from ..core.messages import Terms
from ..wire.dependent import Fit

string_task = Action("string_task")

SHOWN = 40
"""Characters of a task's code that name it in messages."""

Call = tuple[Callable[..., Any], Args, Kwargs, str, Wishes]
"""A function, what it is called with, what people call it, and what is asked for it."""


def _code(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text of code is needed, not {value!r}; a function: client.MapTask(f)")
    return value


def _names(value: Any) -> str | list[str]:
    """A name, or a list of names; None stands for none."""
    return [] if value is None else name_or_names(value)


def _values(value: Any) -> dict[str, Any]:
    """Names with their values; None stands for none."""
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"a dictionary of names and values is needed, not {value!r}")
    values = dict(value or {})
    _names(values)
    return values


def _task_or_none(value: Any) -> BaseTask | None:
    if value is not None and not isinstance(value, BaseTask):
        raise TypeError(f"a client.Task or client.MapTask is needed, not {value!r}")
    return value


class BaseTask(ABC):
    """What all tasks have; each can be given to the constructor, and assigned later.

    * `clear_before`, `clear_after`: empty the engine's namespace before each run, and after it,
      also after one that has failed;
    * `retries`: how often it is tried again after it raised or its engine died;
    * `recovery_task`: a task that runs in its stead when that has not helped, and may have a
      `recovery_task` of its own; what the last one gives is the result;
    * `depend`: a function of the engine's properties (a dictionary) that says whether it may run
      there. It is called on the engine; what it raises counts as no.
    """

    __slots__ = (
        "__weakref__",
        "_clear_after",
        "_clear_before",
        "_depend",
        "_recovery_task",
        "_retries",
    )

    clear_before = Checked(truth, "Whether it starts in an empty namespace.")
    clear_after = Checked(truth, "Whether it leaves an empty namespace.")
    retries = Checked(whole, "How often it may be tried again.")
    recovery_task = Checked(_task_or_none, "What runs when it has failed for good, or None.")
    depend = Checked(function_or_none, "Whether the properties of an engine suit, or None.")

    def __init__(
        self,
        clear_before: bool,
        clear_after: bool,
        retries: int,
        recovery_task: BaseTask | None,
        depend: Callable[[Any], Any] | None,
    ) -> None:
        self.clear_before = clear_before
        self.clear_after = clear_after
        self.retries = retries
        self.recovery_task = recovery_task
        self.depend = depend

    @property
    @abstractmethod
    def what(self) -> str:
        """What it does, in few words: "'a = 73'"."""

    @abstractmethod
    def work(self) -> tuple[Callable[..., Any], Args, Kwargs, str]:
        """The function that it is, its arguments, and its name, which everybody may see."""

    def call(self) -> Call:
        """What is submitted for it now, without its recovery."""
        f, args, kwargs, name = self.work()
        if self.depend is not None:
            f = Fit(f, self.depend)
        terms = None
        if self.clear_before or self.clear_after:
            terms = Terms(clear_before=self.clear_before, clear_after=self.clear_after)
        return f, args, kwargs, name, Wishes(retries=self.retries, terms=terms)

    @property
    def title(self) -> str:
        """What its owner is told it is: "StringTask('a = 73')"."""
        title = f"{type(self).__name__}({self.what})"
        return title if self.recovery_task is None else f"{title} or its recovery"

    def __repr__(self) -> str:
        return f"<{self.title}>"


class StringTask(BaseTask):
    """Code that runs on an engine as by `execute`, with IPython's syntax.

    `push`: names and values that are set before; `pull`: a name or a list of names whose values
    are the results. `id` in the code is the number of the engine. See `BaseTask` for the rest.

    >>> task = StringTask("b = 2 * a", push={"a": 21}, pull="b", retries=1)
    """

    __slots__ = ("_expression", "_pull", "_push")

    expression = Checked(_code, "The code.")
    pull = Checked(_names, "A name or a list of names whose values are the results.")
    push = Checked(_values, "Names and values that are set before the code runs.")

    def __init__(
        self,
        expression: str,
        pull: str | Iterable[str] | None = None,
        push: Mapping[str, Any] | None = None,
        *,
        clear_before: bool = False,
        clear_after: bool = False,
        retries: int = 0,
        recovery_task: BaseTask | None = None,
        depend: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(clear_before, clear_after, retries, recovery_task, depend)
        self.expression = expression
        self.pull = pull
        self.push = push

    @property
    def what(self) -> str:
        """The beginning of its code."""
        first, *more = self.expression.strip().splitlines() or [""]
        return repr(text.brief(first, SHOWN) + (" …" if more else ""))

    def work(self) -> tuple[Callable[..., Any], Args, Kwargs, str]:
        """The call of what the engine does with it; its code stays out of its name."""
        pull = [self.pull] if isinstance(self.pull, str) else _names(self.pull)
        return string_task, (self.expression, _values(self.push), pull), {}, "StringTask"


class MapTask(BaseTask):
    """The call of a function, whose value is the result. See `BaseTask` for the rest.

    >>> task = MapTask(pow, (2, 10), retries=1)
    """

    __slots__ = ("_args", "_function", "_kwargs")

    function = Checked(local_function, "What is called.")
    args = Checked(tuple, "Its positional arguments.")
    kwargs = Checked(_values, "Its keyword arguments.")

    def __init__(
        self,
        function: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        clear_before: bool = False,
        clear_after: bool = False,
        retries: int = 0,
        recovery_task: BaseTask | None = None,
        depend: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(clear_before, clear_after, retries, recovery_task, depend)
        self.function = function
        self.args = () if args is None else args
        self.kwargs = kwargs

    @property
    def what(self) -> str:
        """The name of its function."""
        return name_of(self.function)

    def work(self) -> tuple[Callable[..., Any], Args, Kwargs, str]:
        """The call itself."""
        kwargs = _values(self.kwargs)
        return self.function, self.args, kwargs, f"MapTask({name_of(self.function)})"


def chain(task: Any) -> list[Call]:
    """The calls of a task, of its recovery, and so on.

    TypeError for what is no task, ValueError for a chain that comes back to where it was.
    """
    if not isinstance(task, BaseTask):
        raise TypeError(f"a client.Task or client.MapTask is needed, not {task!r}")
    return [each.call() for each in _links(task)]


def _links(task: BaseTask | None) -> Iterator[BaseTask]:
    seen: set[int] = set()
    while task is not None:
        if id(task) in seen:
            raise ValueError(
                f"the recovery tasks form a loop: {task!r} comes again after "
                f"{text.count(len(seen), 'task')}; nothing was submitted"
            )
        seen.add(id(task))
        yield task
        task = task.recovery_task
