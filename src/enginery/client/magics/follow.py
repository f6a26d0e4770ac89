"""Waiting for a `%px`: its output as it comes, a bar when it takes long, and Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import text
from ..display.live import LiveOutput
from ..display.progress import INTERVAL, Call, Watcher
from ..executed import ExecuteResult
from ..metadata import OUTPUT_TIME
from .options import Defaults, signal_name

PATIENCE = 10.0
"""Seconds that interrupted engines have to end what they run."""


class OnEngines(Call):
    """A `%px`, as what is watched: engines have done it or not."""

    unit = "engine"

    def __init__(self, result: ExecuteResult, magic: str) -> None:
        super().__init__(result)
        self.name = magic

    def summary(self) -> str:
        """The line that stays when it is done."""
        now = self.now()
        line = f"{self.name}: {text.count(now.total, 'engine')} in {text.duration(now.elapsed)}"
        return line + (f", {now.failed:,} failed" if now.failed else "")


class Following:
    """Waits for one result on behalf of a magic."""

    def __init__(self, result: ExecuteResult, magic: str, how: Defaults, again: str) -> None:
        self.result = result
        self._magic, self._how = magic, how
        self._again = again  # what shows the result later
        self._live: LiveOutput | None = None
        after = how.progress_after
        self._watcher = Watcher(OnEngines(result, magic), after >= 0, after=max(after, 0))

    def wait(self, live: bool) -> None:
        """Wait until all is done, and with `live` show output as it comes.

        Ctrl-C interrupts the engines, and waits for what they make of it; one more ends the wait.
        KeyboardInterrupt says what was interrupted.
        """
        self._live = LiveOutput(self.result._slots) if live else None
        try:
            with self._watcher:
                self._until(self._over)
        except KeyboardInterrupt as error:
            if sys.stdout.isatty():
                print()  # the terminal has shown "^C"
            if error.args and not self._how.signal:
                raise  # it tells already that only the wait has ended
            self.interrupt()
        finally:
            self._close()

    def interrupt(self) -> None:
        """Interrupt the engines, wait until they have ended, and raise KeyboardInterrupt."""
        running = self._running()
        if not running:
            raise KeyboardInterrupt(f"{self._magic}: all had ended")
        if not self._how.signal:
            raise KeyboardInterrupt(
                f"{self._magic}: stopped waiting for {engines(running)}; the work goes on\n"
                f"  Wait again: {self._again}"
            )
        try:
            self._send()
            self._until(self._over, PATIENCE)
        except KeyboardInterrupt:
            pass  # the user does not wait for the engines to end; that is told below
        raise KeyboardInterrupt(self._interrupted(running))

    def _send(self) -> None:
        if signal_name(self._how.signal) == "SIGINT":
            self.result.interrupt()
        else:
            client: Any = self.result._client
            client.send_signal(self._how.signal, self._running())

    def _interrupted(self, before: list[int]) -> str:
        left, failed = self._running(), self._failed(before)
        said = f"{self._magic}: interrupted {engines(before)}"
        if failed:
            said += f"; {engines(failed)} had failed before, see {self._again}"
        if left:
            said += (
                f"; not yet ended: {engines(left)}\n"
                f"  Wait for it: {self._again}    Stop it at any price: rc.last.abort(running=True)"
            )
        return said

    def _running(self) -> list[int]:
        return sorted({slot.engine for slot in self.result._slots if slot.outcome is None})

    def _failed(self, interrupted: Sequence[int]) -> list[int]:
        """Engines on which it did not end well, other than those that were interrupted."""
        ended = [slot for slot in self.result._slots if slot.engine not in interrupted]
        return sorted({s.engine for s in ended if s.outcome and s.outcome.status != "ok"})

    def _over(self) -> bool:
        return all(slot.all_put_out for slot in self.result._slots)

    def _until(self, over: Callable[[], bool], patience: float | None = None) -> None:
        """Show what comes until `over()`, or until patience (seconds) or that for output ends."""
        end = None if patience is None else time.monotonic() + patience
        done_at: float | None = None
        wait = self.result._link.wait if self._how.signal else self.result._wait
        while not over():
            now = time.monotonic()
            if self.result.ready():
                done_at = now if done_at is None else done_at
                if now - done_at > OUTPUT_TIME:
                    return
            if end is not None and now > end:
                return
            wait(lambda: over() or self._news(), INTERVAL)
            self._show()

    def _news(self) -> bool:
        return self._live is not None and self._live.news

    def _show(self) -> None:
        if self._live is not None and self._live.news:
            self._watcher.hide()
            self._live.update()
        self._watcher.update()

    def _close(self) -> None:
        if self._live is not None:
            self._live.close()


def engines(ids: Iterable[int]) -> str:
    """What these engines are called together: "engine 2", "engines 0-3"."""
    ids = list(ids)
    return f"engine{'s' * (len(ids) != 1)} {text.ranges(ids)}"
