"""How the process of an engine ends."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import NoReturn

from . import mpi

EXIT_GRACE = 1.0
"""Seconds that the exit handlers of user code have."""


RANK_GRACE = 10.0
"""The same in a rank of MPI: their end waits for that of the other ranks."""


def leave(code: int) -> NoReturn:
    """End this process with its exit handlers run, if they end; by a signal if `code` < 0."""
    grace = RANK_GRACE if mpi.rank(os.environ) else EXIT_GRACE
    watchdog = threading.Timer(grace, leave_at_once, (code,))
    watchdog.daemon = True
    watchdog.start()
    atexit._run_exitfuncs()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    if code == 0:
        mpi.leave()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def leave_at_once(code: int) -> NoReturn:
    """End this process without its consent; a signal is told as shells do, as 128 and more."""
    os._exit(code if code >= 0 else 128 - code)
