"""A PostgreSQL server for the tests, in a directory of its own, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def programs() -> Path | None:
    """Where the server's programs are, of the newest version; None when there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb and shutil.which("postgres") else None


@contextlib.contextmanager
def running(bin: Path) -> Iterator[str]:
    """The URL of a server that runs meanwhile; everybody of this host may come in."""
    # The directory of the run is open to nobody else, and the server may be somebody else.
    with tempfile.TemporaryDirectory(prefix="enginery-postgresql-", dir="/tmp") as home:
        user: list[str] = []
        if os.geteuid() == 0:  # which it refuses to run as
            shutil.chown(home, "nobody")
            user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [*user, bin / program, "-D", f"{home}/data", *arguments],
                cwd=home, env={**os.environ, "HOME": home, "LC_ALL": "C.UTF-8"}, check=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60,
            )  # fmt: skip

        run("initdb", "-A", "trust", "-U", "test", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home} -c fsync=off"
        run("pg_ctl", "-w", "-l", f"{home}/log", "-o", options, "start")
        try:
            yield f"postgresql://test@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
