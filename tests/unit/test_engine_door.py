"""What a supervisor keeps goes to another one through its door."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest
import zmq

from enginery.core import messages as m
from enginery.engine import door as doors
from enginery.engine.copies import Copies
from enginery.net import sockets
from enginery.net.keys import ConnectionFile, KeyPair
from enginery.wire.pieces import PIECE

SIZES = (3 * PIECE + 5, PIECE, 1)


def file_of(keys):
    """The file of engines with these keys."""
    server = KeyPair.create().public.decode()
    return ConnectionFile(
        "engine", "tcp://127.0.0.1:1", server, keys.public.decode(), keys.secret.decode()
    )


ENGINE = KeyPair.create()

OWN_ADDRESS = sockets.own_address


class Keeper:
    """A supervisor's copies, and what it tells its controller."""

    def __init__(self, keys=ENGINE):
        self.context, self.poller = sockets.new_context(), zmq.Poller()
        self.copies = Copies(self.context, self.poller)
        self.copies.meet(file_of(keys))
        self.told = []

    def keep(self, *message, **fields):
        self.told += filter(None, [self.copies.keep(m.Keep(*message, **fields))])

    def turn(self):
        self.told += self.copies.serve(dict(self.poller.poll(1)))

    def bytes(self, number, at):
        view = self.copies._kept[number]
        return [bytes(view[i : i + size]) for i, size in zip(at, SIZES, strict=True)]

    def close(self):
        self.copies.close()
        self.context.term()


@contextmanager
def keepers(count=2):
    made = [Keeper() for _ in range(count)]
    try:
        yield made
    finally:
        for keeper in made:
            keeper.close()


def until(condition, *those, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        for keeper in those:
            keeper.turn()


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller is reached by 127.0.0.1, and this counts as an address of the network."""
    monkeypatch.setattr(sockets, "own_address", lambda url: "127.0.0.1")


@pytest.fixture
def pair() -> Iterator[tuple[Keeper, Keeper, m.Door]]:
    """One that lends its copy number 1, one that has none, and the door."""
    with keepers() as (one, two):
        one.data = [os.urandom(size) for size in SIZES]
        one.keep(1, tuple(map(m.Buffer, one.data)), [1], lent=[1])
        yield one, two, one.told[0].door


def test_a_copy_goes_from_door_to_door(pair):
    one, two, door = pair
    two.keep(7, (), [7], door=door, sizes=SIZES, lent=[7])
    assert not two.told
    until(lambda: two.told, one, two)
    [kept] = two.told
    assert kept.segment is not None
    assert two.bytes(7, kept.at) == one.data
    assert kept.door.address != door.address
    with keepers(1) as (three,):
        three.keep(9, (), [9], door=kept.door, sizes=SIZES)
        until(lambda: three.told, two, three)
        assert three.bytes(9, three.told[0].at) == one.data
        assert three.told[0].door is None


@pytest.mark.parametrize("wrong", ["ticket", "sizes", "index"])
def test_what_is_not_there_is_told_at_once(pair, wrong):
    one, two, door = pair
    sizes = SIZES
    if wrong == "ticket":
        door = m.Door(door.address, door.key, b"another")
    elif wrong == "sizes":
        sizes = (SIZES[0] + PIECE, *SIZES[1:])
    else:
        sizes = (*SIZES, 10)
    two.keep(7, (), [7], door=door, sizes=sizes)
    until(lambda: two.told, one, two, seconds=doors.STALLED - 1)
    assert two.told == [m.Kept(7, None, [], door)]


def test_who_takes_the_door_for_another_does_not_get_in(pair):
    one, two, door = pair
    door = m.Door(door.address, KeyPair.create().public.decode(), door.ticket)
    two.keep(7, (), [7], door=door, sizes=SIZES)
    until(lambda: two.told, one, two, seconds=doors.STALLED + 5)
    assert two.told == [m.Kept(7, None, [], door)]


def test_who_has_no_key_of_an_engine_does_not_get_in(pair):
    one, _, door = pair
    with closing(Keeper(KeyPair.create())) as stranger:
        stranger.keep(7, (), [7], door=door, sizes=SIZES)
        until(lambda: stranger.told, one, stranger, seconds=doors.STALLED - 1)
        assert stranger.told == [m.Kept(7, None, [], door)]


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:1", "tcp://192.0.2.1:1"])
def test_where_nobody_listens(pair, address):
    _, two, door = pair
    door = m.Door(address, door.key, door.ticket)
    two.keep(7, (), [7], door=door, sizes=SIZES)
    until(lambda: two.told, two)
    assert two.told == [m.Kept(7, None, [], door)]
    assert two.copies.look() is None


def test_the_door_closes_with_the_last_copy(pair):
    one, two, door = pair
    port = int(door.address.rpartition(":")[2])
    one.keep(2, (m.Buffer(b"x" * 10),), [1, 2], lent=[1, 2])
    one.keep(0, (), [1, 2], lent=[2])
    two.keep(7, (), [7], door=door, sizes=SIZES)  # which is over, though there is a door
    until(lambda: two.told, one, two)
    assert two.told == [m.Kept(7, None, [], door)]
    one.keep(0, (), [1, 2])
    deadline = time.monotonic() + 10

    def refused():
        assert time.monotonic() < deadline
        with suppress(ConnectionError), closing(sockets.plain.socket()) as knocking:
            knocking.connect(("127.0.0.1", port))
            return False
        return True

    until(refused)


def test_a_fetch_ends_when_it_is_not_needed_any_more(pair):
    one, two, door = pair
    two.keep(7, (), [7], door=door, sizes=SIZES)
    two.keep(0, (), [])
    for _ in range(20):
        one.turn()
        two.turn()
    assert not two.told
    assert two.copies.look() is None


def test_a_host_without_room_says_so(pair):
    _, two, door = pair
    two.keep(7, (), [7], door=door, sizes=(1 << 60,))
    assert two.told == [m.Kept(7, None, [])]


def test_nothing_is_lent_where_nobody_can_come(monkeypatch):
    monkeypatch.setattr(sockets, "own_address", lambda url: "")
    with keepers(1) as (one,):
        one.keep(1, (m.Buffer(b"x" * 10),), [1], lent=[1])
        assert one.told[0].segment is not None
        assert one.told[0].door is None


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://no-host.invalid:1"])
def test_no_other_host_comes_to_this_one_by_itself(url):
    assert OWN_ADDRESS(url) == ""
