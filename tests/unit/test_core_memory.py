"""Who shares memory with the controller: decided in the cores, from what the shells could open."""

from enginery.core import events as e
from enginery.core import messages as m
from enginery.core.client import Client
from enginery.core.engine import Engine
from enginery.version import PROTOCOL

from .hand_controller import Hand, kinds, secret

OURS = m.Segment(1, 3, 64, b"c" * 16)
THEIRS = m.Segment(77, 5, 64, b"p" * 16)


def hand(memory=OURS):
    made = Hand()
    made.core.memory = memory
    return made


def greet(made, kind, memory=THEIRS, conn="", lane="tasks"):
    """Say hello; the welcome that follows."""
    name = "engine" if kind == "engine" else "ann"
    life = secret("life") if kind == "engine" else b""
    hello = m.Hello(PROTOCOL, "0", kind, lane, secret(name), life, memory=memory)
    said = made.say(conn or f"{name}/{lane}", hello)
    return next(each for each in said if isinstance(each, m.Welcome))


def test_who_has_shown_a_probe_is_shown_one():
    for kind, conn in (("engine", "engine/tasks"), ("client", "ann/tasks")):
        made = hand()
        assert greet(made, kind).memory == OURS
        assert made.core.lender(conn) == 77
        assert not made.core.shares(conn)  # it may not be able to open ours
        made.say(conn, m.Shares())
        assert made.core.shares(conn)


def test_who_could_show_none_is_shown_none():
    for made, memory in ((hand(), None), (hand(None), THEIRS)):
        assert greet(made, "engine", memory).memory is None
        made.say("engine/tasks", m.Shares())
        assert (made.core.lender("engine/tasks"), made.core.shares("engine/tasks")) == (0, False)


def test_nothing_is_shared_with_who_is_not_known():
    made = hand()
    assert (made.core.lender("somebody"), made.core.shares("somebody")) == (0, False)
    assert kinds(made.say("somebody", m.Shares())) == [m.Again]
    greet(made, "client")
    made.say("ann/tasks", m.Shares())
    made.close("ann/tasks")
    assert (made.core.lender("ann/tasks"), made.core.shares("ann/tasks")) == (0, False)


def test_another_connection_shows_it_anew():
    made = hand()
    greet(made, "client")
    made.say("ann/tasks", m.Shares())
    greet(made, "client", None, conn="ann/later")
    assert (made.core.lender("ann/later"), made.core.shares("ann/later")) == (0, False)


def test_what_cannot_be_opened_is_refused_to_who_is_known():
    made = hand()
    greet(made, "engine")
    told = made.core.unreadable("engine/tasks", "it is gone")
    assert told == e.Send("engine/tasks", m.Refused("it is gone", "ProtocolError"))
    # An engine that was given up does not know it yet: it is to come back, not to end.
    assert made.core.unreadable("another", "it is gone") == e.Send("another", m.Again())


def test_peers_name_their_probe_and_say_that_they_share():
    about = {"host": "h", "pid": 1, "version": "0", "python": "3"}
    engine, client = Engine(b"p" * 16, b"i" * 16, **about), Client(b"c" * 16, **about)
    for core, life in ((engine, b"i" * 16), (client, b"")):
        core.memory = THEIRS
        for lane, memory in (("tasks", THEIRS), ("control", None)):
            (hello,) = core.handle(e.Opened(lane), 0.0)
            assert hello.message.memory == memory
        for memory, said in ((None, False), (OURS, True)):
            welcome = m.Welcome("c", 0, incarnation=life, memory=memory)
            effects = core.handle(e.Received("tasks", "controller", welcome), 0.0)
            assert (e.Send("tasks", m.Shares()) in effects) == said
