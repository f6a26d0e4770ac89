"""An engine without a supervisor: this process itself, as in `mpirun -n 4 ipengine`."""

from __future__ import annotations

import os
import time
from typing import NoReturn

from ..core.engine import STOPPED
from ..net.keys import ConnectionFile
from ..net.owner import Owner
from .config import EngineConfig, enter, log_to
from .control import REJOIN
from .leave import leave
from .page import Page
from .runner import run_engine
from .search import INTERVAL, Search


def run_alone(config: EngineConfig) -> NoReturn:
    """Be an engine until told to stop; ends this process with its exit code.

    Raises NoControllerError when no controller was found in time, ConnectionFileError when the
    connection file cannot be used, and ClusterError when the controller refuses this engine.
    """
    log_to(config, os.getpid())
    enter(config)
    search = Search(config, time.monotonic())
    owner = Owner(config.owner_pid) if config.owner_pid else None
    try:
        while True:
            file = _find(search, owner)
            me = os.urandom(16), os.urandom(16)
            code = run_engine(file, *me, Page(), search=search, owner=owner)
            if code != REJOIN:
                break
    finally:
        search.close()
    leave(0 if code == STOPPED else code)


def _find(search: Search, owner: Owner | None) -> ConnectionFile:
    """Wait for the connection file; ends this process when its owner ends."""
    if search.way is not None:
        return search.way
    while (file := search.look(time.monotonic())) is None:
        search.check(time.monotonic())
        if owner is not None and owner.gone():
            search.close()
            leave(0)
        time.sleep(INTERVAL)  # nothing tells when a file appears
    return file
