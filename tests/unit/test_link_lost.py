"""When a wait gives up: when nobody was there for long, not when one of two connections is back."""

import time
from types import SimpleNamespace

import pytest

from enginery.client.link import PATIENCE, Link
from enginery.core.events import Closed, Joined
from enginery.core.messages import Welcome
from enginery.error import ControllerLost


@pytest.fixture
def link():
    """What a link knows that lost both connections long ago."""
    return SimpleNamespace(
        ended="", closed=False, welcome=None, _joined=set(), _core=SimpleNamespace(joined=set()),
        lost_since=time.monotonic() - 2 * PATIENCE, _half_back=False, file=SimpleNamespace(url="tcp://h1:7"),
        _tunnel_trouble=lambda: "",
    )  # fmt: skip


def joins(link, *lanes):
    """The controller has welcomed it on these."""
    link._core.joined = set(lanes)
    Link._note(link, Joined(Welcome("c", "7f3a2c", role="client")), time.time())


def test_a_wait_goes_on_once_one_connection_is_back(link):
    with pytest.raises(ControllerLost):
        Link._give_up(link, time.monotonic())
    joins(link, "tasks")
    Link._give_up(link, time.monotonic())
    joins(link, "tasks", "control")
    assert link.lost_since is None


def test_the_other_one_has_its_time_too(link):
    joins(link, "control")
    with pytest.raises(ControllerLost):
        Link._give_up(link, time.monotonic() + PATIENCE)


def test_one_that_comes_back_again_and_again_is_not_enough(link):
    joins(link, "tasks")
    link.lost_since -= 2 * PATIENCE
    joins(link, "tasks")
    with pytest.raises(ControllerLost):
        Link._give_up(link, time.monotonic())
    joins(link, "tasks", "control")
    Link._note(link, Closed("tasks"), time.time())
    link.lost_since -= 2 * PATIENCE
    joins(link, "tasks")
    Link._give_up(link, time.monotonic())


def test_the_first_loss_begins_it(link):
    joins(link, "tasks", "control")
    Link._note(link, Closed("tasks"), time.time())
    since = link.lost_since
    assert since is not None
    Link._note(link, Closed("control"), time.time())
    assert link.lost_since == since
