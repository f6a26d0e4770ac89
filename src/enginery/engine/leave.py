"""How the process of an engine ends."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import NoReturn

EXIT_GRACE = 1.0
"""Seconds that the exit handlers of user code have."""


def leave(code: int) -> NoReturn:
    """End this process with its exit handlers run, if they end; by a signal if `code` < 0."""
    watchdog = threading.Timer(EXIT_GRACE, leave_at_once, (code,))
    watchdog.daemon = True
    watchdog.start()
    atexit._run_exitfuncs()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def leave_at_once(code: int) -> NoReturn:
    """End this process without its consent; a signal is told as shells do, as 128 and more."""
    os._exit(code if code >= 0 else 128 - code)
