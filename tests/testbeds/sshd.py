"""A real OpenSSH server on loopback, with keys of its own; nobody's ~/.ssh is read or written.

Its `bin` holds an `ssh` that knows the server by the name NODE, to be put first on the PATH.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

NODE = "node1"
SSHD = "/usr/sbin/sshd"

LONG = 30.0
"""Seconds that nothing here should ever take."""


def missing() -> str:
    """What is not here that it takes; "" when all is."""
    if not os.access(SSHD, os.X_OK) or shutil.which("ssh") is None:
        return "OpenSSH's client and server"
    return ""


class Sshd:
    """See the module's text."""

    def __init__(
        self, directory: Path, ip: str = "127.0.0.1", through: tuple[str, ...] = ()
    ) -> None:
        self.directory, self.ip = directory, ip
        self.port = _free_port() if ip == "127.0.0.1" else 22
        directory.mkdir(mode=0o700)
        for name in ("host_key", "id", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=LONG)
        shutil.copy(directory / "id.pub", directory / "authorized_keys")
        (directory / "sshd_config").write_text(self._server_config())
        (directory / "config").write_text(self._client_config())
        self.bin = directory / "bin"
        self.bin.mkdir()
        wrapper = self.bin / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {directory}/config "$@"\n')
        wrapper.chmod(0o700)
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self._process = psutil.Popen(
            [*through, SSHD, "-D", "-e", "-f", directory / "sshd_config"],
            stderr=(directory / "sshd.log").open("wb"),
        )
        self._await_login()

    def _server_config(self) -> str:
        return "\n".join(
            [
                f"ListenAddress {self.ip}:{self.port}",
                f"HostKey {self.directory}/host_key",
                "PidFile none",
                f"AuthorizedKeysFile {self.directory}/authorized_keys",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin prohibit-password",
                "StrictModes no",
                "UsePAM no",
                "UseDNS no",
                "PrintMotd no",
                "MaxStartups 100",
                "",
            ]
        )

    def _client_config(self) -> str:
        key = " ".join((self.directory / "host_key.pub").read_text().split()[:2])
        known = self.directory / "known_hosts"
        known.write_text(f"[{self.ip}]:{self.port} {key}\n{self.ip} {key}\n")
        return "\n".join(
            [
                f"Host {NODE}",
                f"    HostName {self.ip}",
                f"    Port {self.port}",
                f"    IdentityFile {self.directory}/id",
                "Host *",
                f"    User {getpass.getuser()}",
                "    IdentitiesOnly yes",
                "    IdentityAgent none",
                f"    UserKnownHostsFile {known}",
                "    GlobalKnownHostsFile /dev/null",
                "    StrictHostKeyChecking yes",
                "",
            ]
        )

    def _await_login(self) -> None:
        deadline = time.monotonic() + LONG
        command = [self.bin / "ssh", "-o", "BatchMode=yes", NODE, "true"]
        while self.ip == "127.0.0.1" and subprocess.run(command, check=False).returncode:
            log = (self.directory / "sshd.log").read_text()
            assert self._process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)

    def connections(self) -> int:
        """How many are logged in."""
        return len(self._process.children())

    def drop(self, connections: int) -> None:
        """Cut that many connections, as soon as there are so many; the server goes on."""
        deadline = time.monotonic() + LONG
        while len(there := self._process.children()) < connections:
            assert time.monotonic() < deadline, f"{len(there)} of {connections} are logged in"
            time.sleep(0.02)  # nothing tells
        for child in self._process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def close(self) -> None:
        """End it, and every connection."""
        everyone = self._process.children(recursive=True)
        self._process.terminate()
        for child in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait(LONG)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
