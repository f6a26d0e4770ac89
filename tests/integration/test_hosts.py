"""Controller, engines and clients on hosts of their own, as a user sets them up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from zlib import crc32

import psutil
import pytest

from enginery import Client, NoControllerError, Reference
from tests.testbeds.hosts import Host, Hosts, copy, run, stop

LONG = 30.0
"""Seconds that nothing here should ever take."""

ENGINE, CLIENT = "ipcontroller-engine.json", "ipcontroller-client.json"


def begin(host: Host, *options: str) -> subprocess.Popen[bytes]:
    """A controller on this host; its files are there."""
    controller = host.enginery("controller", *options)
    deadline = time.monotonic() + LONG
    while not (host.security() / "ipcontroller-monitor.json").exists():  # the last one
        assert controller.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)  # no event tells
    return controller


def test_files_are_copied_and_everything_works(hosts: Hosts) -> None:
    h1, h2, h3, h4 = hosts
    begin(h1, "--ip=0.0.0.0", f"--location={h1.ip_address}")
    copy(h1.security() / ENGINE, h2.security())
    copy(h1.security() / ENGINE, h3.home)
    copy(h1.security() / CLIENT, h4.home)
    h2.enginery("engine", "-n", "2")
    alone = h3.enginery("engine", f"--file={h3.home / ENGINE}")
    with h4.network():
        rc = Client(h4.home / CLIENT, timeout=LONG)
    with rc:
        rc.wait_for_engines(3, timeout=LONG)
        assert sorted(engine.host for engine in rc.link.engines.values()) == ["h2", "h2", "h3"]
        assert sorted(rc[:].apply_sync(socket.gethostname)) == ["h2", "h2", "h3"]
        big = os.urandom(3_000_000)
        assert rc[:].apply_sync(len, big) == [len(big)] * 3
        assert rc[0].apply_sync(bytes, big) == big
        lview = rc.load_balanced_view()
        assert lview.map_sync(abs, range(-100, 0)) == list(range(100, 0, -1))
        stop(alone)
        assert rc.link.wait(lambda: len(rc.link.engines) == 2, LONG)


def received(host: Host) -> int:
    """Bytes that have come to a host over the network."""
    (told,) = json.loads(host.ip("-s", "-j", "link", "show", "eth0"))
    return int(told["stats64"]["rx"]["bytes"])


def test_what_several_engines_of_a_host_get_goes_there_once(hosts: Hosts) -> None:
    h1, h2, _, _ = hosts
    begin(h1, "--ip=0.0.0.0", f"--location={h1.ip_address}")
    copy(h1.security() / ENGINE, h2.security())
    h2.enginery("engine", "-n", "4")
    with h1.network():
        rc = Client(h1.security() / CLIENT, timeout=LONG)
    with rc:
        rc.wait_for_engines(4, timeout=LONG)
        dview = rc[:]
        dview.apply_sync(abs, 1)
        for _ in range(3):  # what was kept is given back
            big, before = os.urandom(8 << 20), received(h2)
            dview.push({"big": big}, block=True)
            assert received(h2) - before < 2 * len(big)
            assert dview.apply_sync(crc32, Reference("big")) == [crc32(big)] * 4
        big, before = os.urandom(8 << 20), received(h2)
        assert dview.apply_sync(lambda: crc32(big)) == [crc32(big)] * 4
        assert received(h2) - before < 2 * len(big)
        before = received(h2)
        dview.scatter("parts", list(range(100)), block=True)
        assert dview.gather("parts", block=True) == list(range(100))
        rc[0].apply_sync(len, big)
        assert received(h2) - before < 2 * len(big)


@pytest.mark.parametrize("way", ["open", "closed"])
def test_what_many_hosts_get_they_give_to_each_other(tmp_path: Path, way: str) -> None:
    with closing(Hosts(5, tmp_path)) as hosts:
        h1, *others = hosts
        begin(h1, "--ip=0.0.0.0", f"--location={h1.ip_address}")
        for host in others:
            copy(h1.security() / ENGINE, host.security())
            host.enginery("engine", "-n", "1")
        if way == "closed":
            for i, one in enumerate(others):
                for other in others[:i]:
                    hosts.part(one, other)
        with h1.network():
            rc = Client(h1.security() / CLIENT, timeout=LONG)
        with rc:
            rc.wait_for_engines(len(others), timeout=LONG)
            dview = rc[:]
            dview.apply_sync(abs, 1)
            big, before = os.urandom(16 << 20), hosts.sent(h1)
            dview.push({"big": big}, block=True)
            copies = (hosts.sent(h1) - before) / len(big)
            assert dview.apply_sync(crc32, Reference("big")) == [crc32(big)] * len(others)
            if way == "open":
                assert copies < 2.5
            else:
                assert copies >= len(others)
            # The doors are closed again.
            deadline = time.monotonic() + LONG
            while any(map(listening, others)):
                assert time.monotonic() < deadline
                time.sleep(0.1)
                dview.apply_sync(abs, 1)


def listening(host: Host) -> str:
    """What listens on a host's address in the network."""
    told = run(*host.inside("--net"), "ss", "-Hltn")
    return "".join(line for line in told.splitlines() if host.ip_address in line)


def test_engines_get_what_their_supervisor_cannot_keep(hosts: Hosts) -> None:
    h1, h2, _, _ = hosts
    begin(h1, "--ip=0.0.0.0", f"--location={h1.ip_address}")
    copy(h1.security() / ENGINE, h2.security())
    entered = h2.enginery("engine", "-n", "2")
    with h1.network():
        rc = Client(h1.security() / CLIENT, timeout=LONG)
    with rc:
        rc.wait_for_engines(2, timeout=LONG)
        dview = rc[:]
        (supervisor,) = psutil.Process(entered.pid).children()
        supervisor.suspend()
        try:
            big = os.urandom(1 << 20)
            dview.push({"big": big}, block=True)
            assert dview.apply_sync(crc32, Reference("big")) == [crc32(big)] * 2
        finally:
            supervisor.resume()
            psutil.Process(entered.pid).resume()  # it stops with what it has begun


def test_a_controller_on_loopback_is_reached_by_nobody_else(hosts: Hosts) -> None:
    h1, h2, _, _ = hosts
    begin(h1, f"--location={h1.ip_address}")
    with h2.network(), pytest.raises(NoControllerError, match="nothing listens there"):
        Client(h1.security() / CLIENT, timeout=LONG)
