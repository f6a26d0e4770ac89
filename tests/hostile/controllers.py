"""Controller processes of their own, with little room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from enginery.net.keys import ConnectionFile

CONTROLLER = """
import json, os, sys
from pathlib import Path
from enginery.controller.config import ControllerConfig
from enginery.controller.service import run

profile, owner, settings = sys.argv[1:]
config = ControllerConfig(
    Path(profile), owner_pid=int(owner), ready_fd=os.dup(1), **json.loads(settings)
)
sys.exit(run(config))
"""


@contextmanager
def controller(
    profile: Path, **settings: int
) -> Iterator[tuple[psutil.Process, dict[str, ConnectionFile]]]:
    """A controller with these settings, until the end of the block; and its keys, by role."""
    command = [sys.executable, "-c", CONTROLLER, str(profile), str(os.getpid())]
    with subprocess.Popen([*command, json.dumps(settings)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        files = {role: ConnectionFile.read(path) for role, path in ready["files"].items()}
        try:
            yield psutil.Process(process.pid), files
        finally:
            process.terminate()
