"""A cluster whose engines and client reach it through a bad network, each port by a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from sys import executable

from enginery import Client, Cluster
from enginery.net.keys import ConnectionFile

from .proxy import Faults, Proxy

PATIENCE = 120.0
"""Seconds that all of it has to come about."""


class Site:
    """A controller, and proxies before both of its ports; engines and a client behind them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        profile = directory / "profile_n4"
        profile.mkdir()
        (profile / "ipcontroller_config.py").write_text("c.IPController.shared_memory = False\n")
        cluster = self.cluster = Cluster(n=0, profile_dir=profile)
        cluster.start_cluster_sync()
        stack.callback(cluster.stop_cluster_sync)
        self.proxies: list[Proxy] = []
        files = {}
        for role in ("client", "engine"):
            there = Path(cluster.client_connection_file)
            file = ConnectionFile.read(there.with_name(there.name.replace("client", role)))
            port = int(file.url.rpartition(":")[2])
            self.proxies.append(stack.enter_context(closing(Proxy(port))))
            files[role] = directory / f"{role}.json"
            replace(file, url=f"tcp://127.0.0.1:{self.proxies[-1].port}").write(files[role])
        command = [executable, "-m", "enginery", "engine", "-n", "2", f"--file={files['engine']}"]
        engines = stack.enter_context(Popen([*command, f"--profile-dir={profile}"]))
        stack.callback(engines.terminate)
        self.rc = stack.enter_context(Client(files["client"], timeout=PATIENCE))
        self.rc.wait_for_engines(2, timeout=PATIENCE)


@contextmanager
def behind(directory: Path, faults: Faults) -> Iterator[Site]:
    """A cluster in a network like that."""
    with ExitStack() as stack:
        site = Site(directory, stack)
        for proxy in site.proxies:
            proxy.faults = faults
        yield site
