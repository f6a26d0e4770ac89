"""Bare Python processes that import what an engine needs: what starting must cost at least."""

from __future__ import annotations

import subprocess
import sys
import time

COMMAND = [sys.executable, "-c", "import IPython, zmq, cloudpickle"]


def start(engines: int) -> float:
    """Seconds from the start of the first to the end of the last."""
    begin = time.perf_counter()
    processes = [subprocess.Popen(COMMAND) for _ in range(engines)]
    codes = [process.wait() for process in processes]
    seconds = time.perf_counter() - begin
    if any(codes):
        raise RuntimeError(f"exit codes {codes}")
    return seconds
