"""The client of the 2008 task interface: submits tasks, and gives their results by number."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from ..client.results import AsyncResult
from ..client.slots import Slot
from ..core.messages import Query
from ..error import NotSupportedError, TimeoutError, UnknownTask
from ..frames import trims
from .connected import Connected
from .numbers import Numbers, checked
from .taskresult import TaskResult
from .tasks import BaseTask, chain

HELD = 10_000
"""Own tasks of which the title is known here, and the result is held until somebody asks for it.

The controller has the others.
"""

STATES = ("scheduled", "pending", "succeeded", "failed")


@trims
class TaskClient(Connected):
    """A connection to a cluster that takes tasks and gives their results.

    `TaskClient()` and `TaskClient(client.default_task_address)` find the cluster of the default
    profile, `TaskClient(("192.168.1.1", 10113))` one whose key is in the profile,
    `TaskClient("/path/to/ipcontroller-task.json")` that of a connection file of any name. Waits at
    most `timeout` seconds for the controller's answer; raises NoControllerError.

    A task-only key is enough, and then a client sees what it has run itself. `client` is the
    modern `Client` of the same connection.
    """

    def _begin(self) -> None:
        self._numbers = Numbers(self.client.link)
        self._held: dict[int, Slot] = {}
        self._titles: dict[int, str] = {}

    # --- tasks ----------------------------------------------------------------------------------

    def run(self, task: BaseTask) -> int:
        """Submit a task; its number, which is good in any TaskClient.

        What is changed in the task afterwards holds for later submissions. ValueError when its
        recovery tasks form a loop, UnsendableError for what cannot be sent; nothing is submitted
        then.
        """
        if self.client.scheme == "pure":
            raise NotSupportedError(
                "the scheme 'pure' has no tasks with numbers: no Python sees its tasks\n"
                "  A controller with another scheme can: ipcontroller --scheme=leastload"
            )
        calls = chain(task)
        [slot] = self.client.calls.chain(calls)
        number = self._numbers.give(slot.id)
        self._held[number], self._titles[number] = slot, task.title
        while len(self._titles) > HELD:
            oldest = next(iter(self._titles))
            self._held.pop(oldest, None)
            del self._titles[oldest]
        return number

    def get_task_result(
        self, taskid: int, block: bool = False, timeout: float | None = None
    ) -> TaskResult | None:
        """The result of a task, or None when it has not ended.

        With `block` it waits for the end, at most `timeout` seconds; TimeoutError then. UnknownTask
        (a KeyError) for a number that is none.
        """
        [taskid] = checked([taskid])
        [slot] = self._slots([taskid])
        name = self._titles.get(taskid) or f"task {taskid}"
        result = AsyncResult(self.client, [slot], name=name, shape="single")
        if block and not result.wait(timeout):
            raise TimeoutError(f"task {taskid} is not done after {timeout:g} s; it goes on")
        if slot.outcome is None:
            return None
        self._held.pop(taskid, None)  # who got the result holds it; the controller has it, too
        return TaskResult(taskid, slot, result)

    def barrier(self, taskids: int | Iterable[int], timeout: float | None = None) -> None:
        """Wait until these tasks have ended, well or not; raises nobody's failure.

        TimeoutError when that takes more than `timeout` seconds.
        """
        numbers = checked(taskids if isinstance(taskids, Iterable) else [taskids])
        here = [number for number in numbers if number in self._held]
        states = self._states([number for number in numbers if number not in self._held])
        rest = [number for number, state in states.items() if state != "done"]
        result = self._together(self._slots([*here, *rest]))
        if not result.wait(timeout):
            left = len(result) - result.progress
            raise TimeoutError(
                f"{left:,} of {len(numbers):,} tasks are not done after {timeout:g} s; they go on"
            )

    def abort(self, taskid: int, running: bool = False) -> None:
        """Keep a task from starting, or from being tried again; does not wait.

        What runs is left alone, unless `running`: it is interrupted then, and its engine replaced
        if that does not help. IndexError("Task Already Completed") when it has ended.
        """
        [taskid] = checked([taskid])
        if self._states([taskid])[taskid] == "done":
            raise IndexError("Task Already Completed")
        self.client.abort(self._numbers.id(taskid), running=running)

    def queue_status(self, verbose: bool = False) -> dict[str, Any]:
        """How many tasks are in each state; with `verbose`, their numbers.

        "scheduled": not yet running; "pending": running; "succeeded" and "failed": ended.
        """
        found: dict[str, list[int]] = {state: [] for state in STATES}
        for task in self._numbers.every():
            if task.state == "done":
                state = "succeeded" if task.status == "ok" else "failed"
            else:
                state = "pending" if task.state == "sent" else "scheduled"
            found[state].append(task.number)
        return found if verbose else {state: len(numbers) for state, numbers in found.items()}

    def clear(self) -> None:
        """Let the controller forget the tasks of this client that have ended, and their results.

        What has not ended goes on, and what others have run stays.
        """
        mine = {"client": self.client.id, "state": "done"}
        while ids := [found["msg_id"] for found in self.client.db_query(mine, keys=["msg_id"])]:
            try:
                self.client.purge_results(ids)
            except UnknownTask:  # one of them was forgotten meanwhile
                continue
            self._numbers.forget(set(ids))
            break
        self._held = {n: slot for n, slot in self._held.items() if slot.outcome is None}

    def spin(self) -> None:
        """Ask the controller whether it is there; it gives out tasks by itself."""
        self.client.link.ask(Query(0, "status"))

    # --- functions ------------------------------------------------------------------------------

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        retries: int = 0,
        depend: Callable[[Any], Any] | None = None,
        clear_before: bool = False,
        clear_after: bool = False,
    ) -> list[Any]:
        """Call `f` on each item, each as a task of its own; waits for the list of values.

        Of several sequences, `f` gets an item of each. Raises what failed. Options as of a task.
        """
        view = self.client.load_balanced_view(
            retries=retries, fits=depend, clear_before=clear_before, clear_after=clear_after
        )
        return view.map_sync(f, *sequences)

    def parallel(
        self,
        *,
        retries: int = 0,
        depend: Callable[[Any], Any] | None = None,
        clear_before: bool = False,
        clear_after: bool = False,
    ) -> Callable[[Callable[..., Any]], ParallelFunction]:
        """Make a decorator: the function then gets sequences, and gives lists; options of `map`."""
        options = {
            "retries": retries,
            "depend": depend,
            "clear_before": clear_before,
            "clear_after": clear_after,
        }
        return lambda f: ParallelFunction(self.map, f, options)

    # --- the end --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- pieces ---------------------------------------------------------------------------------

    def _together(self, slots: list[Slot]) -> AsyncResult:
        return AsyncResult(self.client, slots, name="barrier", shape="list")

    def _slots(self, numbers: list[int]) -> list[Slot]:
        """The slots of these tasks; those that are not here come from the controller."""
        self.client.link.look()
        ids = self._numbers.ids(numbers)
        known = self.client.calls.slots
        slots = {id: slot for id in ids if (slot := known.get(id)) is not None}
        missing = [id for id in ids if id not in slots]
        if missing:
            states = self._states(numbers)
            fetched = self.client.link.fetch(missing)
            self.client.calls.remember(fetched)
            slots.update(zip(missing, fetched, strict=True))
            done = {id for id, n in zip(ids, numbers, strict=True) if states[n] == "done"}
            # What has ended there is on its way.
            self._together([slots[id] for id in missing if id in done]).wait()
        return [slots[id] for id in ids]

    def _states(self, numbers: list[int]) -> dict[int, str]:
        """The states of these tasks, as the controller knows them."""
        if not numbers:
            return {}
        ids = self._numbers.ids(numbers)
        told = self._ask_about(ids, numbers)
        return {number: told[id]["state"] for number, id in zip(numbers, ids, strict=True)}

    def _ask_about(self, ids: list[str], numbers: list[int]) -> dict[str, dict[str, Any]]:
        try:
            told: dict[str, dict[str, Any]] = self.client.link.ask(Query(0, "tasks", ids))
        except UnknownTask as error:  # it was known once
            for number, id in zip(numbers, ids, strict=True):
                if repr(id) in str(error):
                    self._numbers.forget({id})
                    raise self._numbers.unknown(number) from None
            raise
        return told


class ParallelFunction:
    """A function that is called with sequences, item by item and in parallel; gives lists."""

    def __init__(
        self,
        map: Callable[..., list[Any]],
        function: Callable[..., Any],
        options: dict[str, Any],
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._map, self._options = map, options

    def __call__(self, *sequences: Any) -> list[Any]:
        """Call the function on each item of the sequences, and wait for the list of values."""
        return self._map(self.function, *sequences, **self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, (self.function,)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"<ParallelFunction {name}>"


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
