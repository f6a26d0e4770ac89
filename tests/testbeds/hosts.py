"""Several hosts on one machine: network, process and mount namespaces, joined by a bridge.

Hosts are named h1, h2, …, with addresses 10.78.0.1, 10.78.0.2, …. The bridge is in a namespace of
its own too, so the machine's own network is not touched. A host exists as long as its first
process: whatever runs on it ends with that, and nothing is left of it. Takes root.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

TOOLS = ("unshare", "nsenter", "ip", "nft")

FIRST = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has no parent any more is reaped at once
os.write(1, b"up")
while True:
    signal.pause()
"""

RULES = """
add table bridge faults
add chain bridge faults forward { type filter hook forward priority 0; }
"""

CLONE_NEWNET = 0x40000000

ROOT = Path(__file__).parents[2]
"""Where the tests are imported from, there too."""

LONG = 30.0
"""Seconds that nothing here should ever take."""


def missing() -> str:
    """What is not here that it takes; "" when all is."""
    if os.getuid() != 0:
        return "root"
    return ", ".join(tool for tool in TOOLS if shutil.which(tool, path=_path()) is None)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def run(*command: str, input: str | None = None) -> str:
    """Run a tool to its end; what it says."""
    done = subprocess.run(
        command, input=input, capture_output=True, text=True, timeout=LONG, check=False,
        env={**os.environ, "PATH": _path()},
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _enter(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """What the first process of a host, or of the bridge, lives in."""

    def __init__(self, *kinds: str) -> None:
        self._process = subprocess.Popen(
            [shutil.which("unshare", path=_path()) or "unshare", "--fork", "--kill-child",
             *kinds, sys.executable, "-S", "-E", "-c", FIRST],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.read(2) == b"up"
        (self.first,) = psutil.Process(self._process.pid).children()

    def inside(self, *kinds: str) -> list[str]:
        """What to put in front of a command, so that it runs in there."""
        nsenter = shutil.which("nsenter", path=_path()) or "nsenter"
        return [nsenter, f"--target={self.first.pid}", *kinds, "--"]

    def ip(self, *arguments: str) -> str:
        """`ip` in there."""
        return run(*self.inside("--net"), "ip", *arguments)

    @contextmanager
    def network(self) -> Iterator[None]:
        """Let this thread, and those that it starts, be in that network for the time of the block.

        So a client that is made here connects from there, now and whenever it has to again.
        """
        with open("/proc/thread-self/ns/net") as here:
            with open(f"/proc/{self.first.pid}/ns/net") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())

    def close(self) -> None:
        """End all that runs there."""
        with suppress(psutil.NoSuchProcess):
            self.first.kill()
        self._process.wait(LONG)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Host(Namespace):
    """One host; commands run there by `popen`."""

    def __init__(self, number: int, directory: Path) -> None:
        super().__init__("--net", "--uts", "--mount", "--pid", "--mount-proc")
        self.name, self.ip_address = f"h{number}", f"10.78.0.{number}"
        self.home = directory / self.name
        self._begun: list[subprocess.Popen[Any]] = []
        self.home.mkdir()
        run(*self.inside("--uts"), "hostname", self.name)

    def command(self, *command: str) -> list[str]:
        """This command, to be run there."""
        return [*self.inside("--net", "--uts", "--mount", "--pid"), *command]

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """Begin a command there, whose HOME is of this host."""
        home = {
            "HOME": str(self.home),
            "IPYTHONDIR": str(self.home / ".ipython"),
            "PYTHONPATH": str(ROOT),
        }
        begun = subprocess.Popen(
            self.command(*command), env={**os.environ, **home}, cwd=self.home, **options
        )
        self._begun.append(begun)
        return begun

    def enginery(self, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        """Begin a command of enginery there."""
        return self.popen(sys.executable, "-m", "enginery", *arguments, **options)

    def process(self, pid: int) -> psutil.Process:
        """The process that has this number there."""
        for process in self.first.children(recursive=True):
            with suppress(OSError, psutil.NoSuchProcess):
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                numbers = next(line for line in lines if line.startswith("NSpid:")).split()
                if int(numbers[-1]) == pid:
                    return process
        raise AssertionError(f"{self.name} has no process {pid}")

    def close(self) -> None:
        """End all that runs there."""
        super().close()
        for begun in self._begun:
            with begun:  # which closes what it was read from
                begun.wait(LONG)

    def security(self, profile: str = "default") -> Path:
        """Where the connection files of a profile are there."""
        return self.home / ".ipython" / f"profile_{profile}" / "security"


class Hosts:
    """So many hosts; see the module's text."""

    def __init__(self, count: int, directory: Path) -> None:
        self._bridge = Namespace("--net")
        self._all: list[Host] = []
        try:
            self._bridge.ip("link", "add", "br0", "type", "bridge")
            self._bridge.ip("link", "set", "br0", "up")
            self._nft(RULES)
            for number in range(1, count + 1):
                self._join(Host(number, directory))
        except BaseException:
            self.close()
            raise

    def _join(self, host: Host) -> None:
        self._all.append(host)
        self._bridge.ip(
            "link", "add", f"p-{host.name}", "type", "veth", "peer", "name", "eth0",
            "netns", str(host.first.pid),
        )  # fmt: skip
        self._bridge.ip("link", "set", f"p-{host.name}", "master", "br0", "up")
        host.ip("link", "set", "lo", "up")
        host.ip("addr", "add", f"{host.ip_address}/24", "dev", "eth0")
        host.ip("link", "set", "eth0", "up")

    def __iter__(self) -> Iterator[Host]:
        return iter(self._all)

    # --- faults ---------------------------------------------------------------------------------

    def _nft(self, rules: str) -> None:
        run(*self._bridge.inside("--net"), "nft", "-f", "-", input=rules)

    def cut(self, host: Host, *, sends: bool = True, receives: bool = True) -> None:
        """Drop in silence what this host sends, receives, or both; its link stays up."""
        drops = [("iifname", sends), ("oifname", receives)]
        rules = [
            f'add rule bridge faults forward {way} "p-{host.name}" drop'
            for way, wanted in drops
            if wanted
        ]
        self._nft("\n".join(rules))

    def heal(self, host: Host | None = None) -> None:
        """Every host reaches every other again, or this one does."""
        if host is None:
            self._nft("flush chain bridge faults forward")
            return
        chain = ("list", "chain", "bridge", "faults", "forward")
        for rule in run(*self._bridge.inside("--net"), "nft", "-a", *chain).splitlines():
            if f'"p-{host.name}"' in rule:
                self._nft(f"delete rule bridge faults forward handle {rule.rpartition(' ')[2]}")

    @contextmanager
    def partition(self, host: Host, **ways: bool) -> Iterator[None]:
        """A host is cut off for the time of the block."""
        self.cut(host, **ways)
        try:
            yield
        finally:
            self.heal()

    def part(self, one: Host, other: Host) -> None:
        """Drop in silence what these two send to each other."""
        self._nft(
            "\n".join(
                f'add rule bridge faults forward iifname "p-{a.name}" oifname "p-{b.name}" drop'
                for a, b in ((one, other), (other, one))
            )
        )

    def received(self, host: Host) -> int:
        """Bytes that have reached this host."""
        return self._passed(host, "tx")

    def sent(self, host: Host) -> int:
        """Bytes that this host has sent."""
        return self._passed(host, "rx")

    def _passed(self, host: Host, way: str) -> int:
        """What the bridge has counted at its end of the host's cable."""
        (told,) = json.loads(self._bridge.ip("-j", "-s", "link", "show", f"p-{host.name}"))
        return int(told["stats64"][way]["bytes"])

    def close(self) -> None:
        """End them all."""
        for each in (*self._all, self._bridge):
            each.close()


def stop(process: subprocess.Popen[Any], signum: int = signal.SIGTERM) -> None:
    """Send a signal to what runs on a host, and wait for its end."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            child.send_signal(signum)
    process.wait(LONG)


def copy(path: Path, to: Path | Sequence[Path]) -> None:
    """Copy a connection file from one host to others, as scp does."""
    for directory in [to] if isinstance(to, Path) else to:
        directory.mkdir(parents=True, exist_ok=True)
        draft = directory / f"{path.name}.part"
        draft.touch(mode=0o600)
        draft.write_bytes(path.read_bytes())
        draft.rename(directory / path.name)
