"""Who starts a controller again that was killed: a thread of the process that started it.

The controller goes on from its journal, at the same ports and with the same keys, so engines and
clients find it by themselves. One that ends in good order, or that cannot start, is left alone.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from ..error import ClusterError
from ..net.wakeup import Wakeup
from .process import Process, pidfd

OFTEN, WITHIN = 3, 60.0
"""So many times in so many seconds at most it is started again."""

BROKEN_LAW = 70
"""Exit code of a controller that has found its state to contradict itself."""


class Guard:
    """See the module's theory.

    `again` gives a controller that listens, or one that was killed before; it raises ClusterError,
    also as soon as the descriptor that it is given is readable: the controller is to end then. It
    gives None when somebody else has stopped the cluster.
    """

    def __init__(self, controller: Process, again: Callable[[int], Process | None]) -> None:
        self._again = again
        self._controller = controller
        self._stop = Wakeup()
        self._over = threading.Event()
        self._logger = logging.getLogger("enginery.cluster")
        self._thread = threading.Thread(target=self._serve, name="enginery-guard", daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the controller has ended and is not started again; whether that is so.

        A signal may end this. (One that ends `join` has Python believe that the thread is over.)
        """
        return self._over.wait(timeout)

    def stop(self) -> None:
        """Let the controller end from now on."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._stop.close()

    def _serve(self) -> None:
        try:
            self._watch()
        finally:
            self._over.set()

    def _watch(self) -> None:
        starts: deque[float] = deque(maxlen=OFTEN)
        while self._ended():
            reason = self._controller.ended
            if not (self._controller.killed or reason == f"exit code {BROKEN_LAW}"):
                return
            now = time.monotonic()
            if len(starts) == OFTEN and now - starts[0] < WITHIN:
                self._logger.error(
                    "the controller has ended %d times in %g s (%s) and is not started again",
                    OFTEN + 1, WITHIN, reason,
                )  # fmt: skip
                return
            starts.append(now)
            try:
                controller = self._again(self._stop.fileno())
            except ClusterError as error:
                if not poll_now(self._stop.fileno()):
                    self._logger.error("the controller could not be started again: %s", error)
                return
            if controller is None:
                return
            self._controller = controller

    def _ended(self) -> bool:
        """Wait for the controller's end; False when that is wanted."""
        with contextlib.ExitStack() as stack:
            poll = select.poll()
            poll.register(self._stop.fileno(), select.POLLIN)
            process = stack.enter_context(pidfd(self._controller.pid))
            if process is not None:
                poll.register(process, select.POLLIN)
            while self._controller.running:
                ready = poll.poll(None if process is not None else 200)
                if self._stop.fileno() in dict(ready):
                    return False
        return not poll_now(self._stop.fileno())


def poll_now(fd: int) -> bool:
    """Whether a descriptor is readable."""
    return bool(select.select([fd], [], [], 0)[0])
