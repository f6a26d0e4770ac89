"""The machine of ssh tunnels: when it begins anew, and what it makes of ssh's words."""

from __future__ import annotations

import pytest

from enginery.core.tunnel import LONGEST_PAUSE, Trouble, Tunnel
from enginery.net.ssh import Server

REFUSED = "me@host: Permission denied (publickey)."
DOWN = "ssh: connect to host host port 22: Connection refused"


def failed(tunnel: Tunnel, line: str, now: float = 100.0) -> float | None:
    """An ssh says this and ends; how many seconds later the next begins."""
    tunnel.begun()
    tunnel.said(line)
    tunnel.ended(now)
    return None if tunnel.begin_at is None else tunnel.begin_at - now


def test_it_begins_at_once() -> None:
    assert Tunnel().begin_at == 0.0


def test_after_it_was_open_it_begins_at_once() -> None:
    tunnel = Tunnel()
    for _ in range(5):
        tunnel.begun()
        assert tunnel.begin_at is None
        tunnel.opened()
        assert tunnel.open
        tunnel.ended(50.0)
        assert not tunnel.open
        assert tunnel.begin_at == 50.0


def test_pauses_grow_to_a_bound_and_begin_anew_when_it_was_open() -> None:
    tunnel = Tunnel()
    pauses = [failed(tunnel, DOWN) for _ in range(8)]
    assert pauses == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, LONGEST_PAUSE, LONGEST_PAUSE])
    tunnel.begun()
    tunnel.opened()
    tunnel.ended(100.0)
    assert failed(tunnel, DOWN) == pytest.approx(0.1)


def test_a_key_that_is_refused_is_not_offered_again() -> None:
    tunnel = Tunnel()
    assert failed(tunnel, REFUSED) is None
    assert tunnel.hopeless
    assert tunnel.trouble == Trouble("key", REFUSED)


def test_what_was_open_is_never_hopeless() -> None:
    tunnel = Tunnel()
    tunnel.begun()
    tunnel.opened()
    tunnel.ended(1.0)
    assert failed(tunnel, REFUSED) is not None
    assert not tunnel.hopeless
    assert tunnel.trouble == Trouble("key", REFUSED)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("ssh: Could not resolve hostname nn: Name or service not known", "unknown"),
        ("ssh: Could not resolve hostname nn: Temporary failure in name resolution", "unreachable"),
        ("Host key verification failed.", "host-key"),
        ("channel_setup_fwd_listener_tcpip: cannot listen to port: 8888", "forwarding"),
        ("kex_exchange_identification: Connection closed by remote host", "unreachable"),
        ("command-line: line 0: Bad configuration option: localcommand", "option"),
        ("Connection to host closed by remote host.", "ended"),
        ("a banner\x1b[31m", "ended"),
    ],
)
def test_what_ssh_says_is_understood(line: str, kind: str) -> None:
    tunnel = Tunnel()
    failed(tunnel, line)
    assert tunnel.trouble is not None
    assert tunnel.trouble.kind == kind
    assert tunnel.trouble.said.isprintable()


def test_a_refusal_at_the_other_end_is_told_while_it_is_open() -> None:
    tunnel = Tunnel()
    tunnel.begun()
    tunnel.said("Permission denied, please look away")  # a banner, perhaps
    tunnel.opened()
    assert tunnel.trouble is None
    tunnel.said("Permission denied")
    assert tunnel.trouble is None
    tunnel.said("channel 2: open failed: connect failed: Connection refused\r")
    assert tunnel.trouble is not None
    assert tunnel.trouble.kind == "port"
    tunnel.ended(1.0)
    assert tunnel.trouble is not None
    assert tunnel.trouble.kind == "ended"


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("host", "host", ""),
        ("me@host", "me@host", ""),
        ("me@host:2222", "me@host", "2222"),
        ("me@[::1]:22", "me@::1", "22"),
        ("me@[::1]", "me@::1", ""),
        ("::1", "::1", ""),
        ("ssh://me@host:22", "ssh://me@host", "22"),
    ],
)
def test_the_name_of_a_server(name: str, host: str, port: str) -> None:
    assert Server(name).parts() == (host, port)
    command = Server(name, "~/key").command(["1:a:2", "3:b:4"])
    assert command[-1] == host
    assert command[-2] == "--"  # so that no name is taken for an option
    assert ("-p" in command) == bool(port)
    assert command.count("-L") == 2
    assert "~/key" not in command


def test_it_is_tried_for_as_long_as_there_is_no_network() -> None:
    tunnel = Tunnel()
    assert {failed(tunnel, DOWN) for _ in range(2000)} >= {LONGEST_PAUSE}
    assert failed(tunnel, DOWN) == LONGEST_PAUSE
