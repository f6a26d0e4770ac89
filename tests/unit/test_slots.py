"""Slots are known by their ids for as long as somebody holds them."""

import gc

from enginery.client.slots import ChunkSlot, KnownSlots, Slot
from enginery.core import messages as m


def test_a_slot_is_known_until_nobody_holds_it():
    known, slots = KnownSlots(), [Slot("ann-1"), Slot("ann-2")]
    known.add(slots)
    assert known.get("ann-1") is slots[0]
    assert known.values() == slots
    del slots[0]
    gc.collect()
    assert known.get("ann-1") is None
    assert "ann-1" not in known
    assert "ann-2" in known


def test_nothing_is_left_of_those_that_are_gone():
    known = KnownSlots()
    known.add([Slot(f"ann-{i}") for i in range(1000)])
    gc.collect()
    assert known.values() == []
    assert not known._refs


def test_a_newer_slot_of_the_same_task_stays_known():
    known, old, new = KnownSlots(), [Slot("ann-1")], [Slot("ann-1")]
    known.add(old)
    known.add(new)
    old.clear()
    gc.collect()
    assert known.get("ann-1") is new[0]


def test_a_share_that_has_ended_is_told_once_whatever_ended_since():
    chunk = ChunkSlot("ann-1", items=(0, 9))
    first, second = (
        m.Outcome(f"ann-1.{start}", "ok", start=start, stop=start + 3) for start in (0, 3)
    )
    shares = [chunk.share_ended(outcome, 1.0) for outcome in (first, second)]
    assert chunk.share_ended(first, 2.0) is None
    assert chunk.shares == shares
    assert chunk.ended_share("ann-1.0") is shares[0]
    assert chunk.ended_share("ann-1.6") is None
