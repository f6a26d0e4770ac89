"""What became of a task: its results, its failure, and when and where it ran."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from ..client import text
from ..client.metadata import OUTPUT_TIME
from ..client.results import AsyncResult
from ..client.slots import Slot
from ..error import EngineryError
from ..frames import trimmed
from ..wire.pulled import Pulled

SHOWN = 200
"""Characters of a failure that a repr shows."""

TIME = "%Y/%m/%d %H:%M:%S"


class TaskResult:
    """What a task gave; made by `TaskClient.get_task_result`.

    Of a task that has failed, `results`, `ns` and `result` raise its error, each time; `failure`
    is that error, and the rest tells about it.
    """

    def __init__(self, taskid: int, slot: Slot, result: AsyncResult) -> None:
        outcome = slot.outcome
        if outcome is None:
            raise AssertionError("only what has ended has a result")
        self.taskid = taskid
        self.engineid: int | None = outcome.engine if outcome.engine >= 0 else None
        """The engine that it ran on; None when it ran on none."""
        self._result = result
        self._began = slot.submitted or outcome.submitted
        self._ended = outcome.completed
        self._results: dict[str, Any] | None = None

    # --- what it gave ---------------------------------------------------------------------------

    @property
    @trimmed
    def results(self) -> dict[str, Any]:
        """The values that were pulled, by name; of a `MapTask` its value, under "result"."""
        if self._results is None:
            value = self._result.get()
            self._results = dict(value) if isinstance(value, Pulled) else {"result": value}
        return self._results

    @property
    @trimmed
    def ns(self) -> SimpleNamespace:
        """The same as attributes: `tr.ns.a` is `tr.results["a"]`."""
        return SimpleNamespace(**self.results)

    @property
    @trimmed
    def result(self) -> Any:
        """The value of a `MapTask`; AttributeError when there is none."""
        results = self.results
        if "result" not in results:
            names = ", ".join(results) or "nothing"
            raise AttributeError(f"a MapTask has a result; this task gave {names}: use .results")
        return results["result"]

    @property
    @trimmed
    def failure(self) -> Exception | None:
        """Why the task has failed; None when it has not."""
        return self._result.exception()

    # --- when, and what it printed --------------------------------------------------------------

    @property
    def submitted(self) -> str:
        """When it was submitted, as in "2008/03/08 03:41:42", in local time."""
        return time.strftime(TIME, time.localtime(self._began))

    @property
    def completed(self) -> str:
        """When it had ended, in the same form."""
        return time.strftime(TIME, time.localtime(self._ended))

    @property
    def duration(self) -> float:
        """Seconds from its submission to its end."""
        return max(self._ended - self._began, 0.0)

    @property
    @trimmed
    def stdout(self) -> str:
        """What it has printed; of several attempts, what the last one did."""
        return self._printed("stdout")

    @property
    @trimmed
    def stderr(self) -> str:
        """The same of its standard error."""
        return self._printed("stderr")

    def _printed(self, stream: str) -> str:
        self._result.wait_for_output(OUTPUT_TIME)
        return str(self._result[stream])

    def __repr__(self) -> str:
        head = f"TaskResult[ID:{self.taskid}]"
        failure = self.failure
        if failure is not None:
            told = f"{_name(failure)}: {' '.join(str(failure).split())}".removesuffix(": ")
            return f"{head}:{text.brief(told, SHOWN)}"
        pairs = ",".join(f"{name!r}:{value!r}" for name, value in self.results.items())
        return f"{head}:{{{pairs}}}"


def _name(error: Exception) -> str:
    """The name of its class on the engine, if it comes from there."""
    ename = getattr(error, "ename", "") if isinstance(error, EngineryError) else ""
    return ename or type(error).__name__
