"""How much work is sent ahead to an engine, when that is left to the controller (`hwm=AUTO`).

A task that waits at its engine is there when the one before it ends: no message has to come and go
in between, which for brief tasks would take longer than they do. But one that waits there may wait
in vain while another engine has nothing to do. So only as much waits there as is done in no time
(`WORTH`), by what such tasks took so far. Of those that take a little longer (`SHORT`) one waits at
each engine, as long as more of them wait for all engines than there are. A long one, or one of
which nothing is known yet, goes only to an engine that has nothing else. As soon as another engine
has nothing to do, what waits is called back: at once, or if brief ones were thought to be before
it, when they take long after all (`PATIENCE`).
"""

from __future__ import annotations

from math import ceil

AUTO = -1
"""The `hwm` of a controller that finds out by itself how much to send ahead."""

WORTH = 2000
"""Microseconds of work that an engine is sent ahead; what takes as long is not brief."""

SHORT = 50 * WORTH
"""Microseconds of which a task takes less that may wait behind another one. Where that one lets no
other thread run, an engine does not hear that what waits is called back: so not for long.
"""

LEAST, MOST = 8, 2 * SHORT
"""Microseconds that anything counts as at least, and at most: after one that took long, some
forty have to be brief until they are thought to be. What nothing is known of counts as `MOST`.
"""

ROW = 100
"""Microseconds of brief tasks that one engine is given in a row, as long as more than that waits
for every engine, or many do: about what it costs to send one more message.
"""

SPREAD = 64
"""How many are many. Fewer are spread one by one over the engines, as people expect of a few calls.
"""

PARTS = 4
"""One engine is given this part of its share of what waits in a row, if that is more: the last ones
are given in small rows, so that all engines end together.
"""

FUNCTIONS = 10_000
"""Functions of which this is remembered."""

PATIENCE = 0.005
"""Seconds without a result after which what waits behind brief ones is called back, if another
engine is idle.
"""


class Durations:
    """What the tasks of each function took, in microseconds, from `LEAST` to `MOST`.

    A longer one counts at once, shorter ones little by little: that a brief task waits in vain
    costs more than that a message is saved.
    """

    def __init__(self) -> None:
        self._took: dict[bytes, int] = {}

    def heard(self, function: bytes, seconds: float) -> bool:
        """One of them took so long; whether they are brief now, and were not thought to be."""
        took = self._took.get(function, 0)
        if took == LEAST and seconds * 1e6 <= LEAST:
            return False
        now = ceil(min(max(LEAST, seconds * 1e6), MOST))  # in this order nan is no time
        self._took[function] = now if now >= took else took - ((took - now + 7) >> 3)
        if len(self._took) > FUNCTIONS:
            del self._took[next(iter(self._took))]
        return not 0 < took < WORTH and self._took[function] < WORTH

    def heard_all(self, function: bytes, seconds: list[float]) -> bool:
        """The same of several, in their order."""
        if self._took.get(function) == LEAST and max(seconds) * 1e6 <= LEAST:
            return False
        return sum(self.heard(function, each) for each in seconds) > 0

    def expected(self, function: bytes) -> int:
        """What another one is thought to take."""
        return self._took.get(function, MOST)


def written(hwm: int) -> int | str:
    """What people write for it."""
    return "auto" if hwm == AUTO else hwm


def meant(hwm: int | str) -> int:
    """What they mean by it; ValueError when that is nothing."""
    if hwm == "auto":
        return AUTO
    if type(hwm) is int and hwm >= 0:
        return hwm
    raise ValueError(f'hwm is "auto" or a number from 0 up, not {hwm!r}')
