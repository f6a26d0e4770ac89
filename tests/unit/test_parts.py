"""The parts of a map: each item is taken once, however a chunk was divided."""

import threading

from enginery.client.divided import in_parts
from enginery.client.parts import Parts
from enginery.client.slots import ChunkSlot
from enginery.core import messages as m
from enginery.wire import payload


def ended(start, *values):
    """A share that gives these."""
    value, buffers = payload.dumps(list(values))
    return m.Outcome(f"ann-1.{start}", "ok", value, buffers, start=start, stop=start + len(values))


def test_a_share_that_overlaps_others_gives_what_had_not_come():
    whole = ChunkSlot("ann-1", items=(0, 7))
    parts = Parts([whole], threading.Condition())
    whole.share_ended(ended(1, "b"), 0.0)
    whole.share_ended(ended(4, "e", "f"), 0.0)
    whole.share_ended(ended(0, "A", "B", "C", "D", "E"), 0.0)
    assert parts.where(6) is None
    whole.share_ended(ended(5, "F", "G"), 0.0)
    assert (parts.items, parts.all()) == (7, ["A", "b", "C", "D", "e", "f", "G"])
    whole.share_ended(ended(5, "x"), 0.0)
    assert (parts.items, len(parts.parts)) == (7, 5)


def test_a_chunk_whose_shares_overlap_is_taken_as_a_whole():
    whole = ChunkSlot("ann-1", items=(0, 4))
    whole.share_ended(ended(2, "c", "d"), 0.0)
    whole.share_ended(ended(0, "a", "b"), 0.0)
    assert in_parts(whole) == (whole,)  # it has not ended
    whole.end(m.Outcome("ann-1", "ok"), 0.0)
    assert [share.start for share in in_parts(whole)] == [0, 2]
    whole.share_ended(ended(1, "B"), 0.0)
    assert in_parts(whole) == (whole,)
