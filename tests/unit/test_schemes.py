"""Each scheme chooses as its name says, never what it may not, and fast among many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginery.core.messages import Task
from enginery.schemes import (
    SCHEMES,
    Chance,
    LeastLoad,
    LeastRecentlyUsed,
    Load,
    PlainRandom,
    Scheme,
    TwoBin,
    Weighted,
    Weights,
)


@dataclass(eq=False)
class Engine:
    """An engine as schemes see it."""

    id: int
    load: int = 0
    used: int = 0


class Highest(Scheme):
    """A scheme as users write them."""

    def choose(self, engines: Sequence[Load]) -> Load:
        return max(engines, key=lambda e: e.id)


ALL = [*SCHEMES.values(), Highest]


def with_room(scheme: Scheme, engines: Iterable[Engine]) -> Scheme:
    """The scheme, told that these engines have room."""
    for engine in engines:
        scheme.update(engine, True)
    return scheme


def scripted(scheme: Scheme, *numbers: float) -> Scheme:
    """The scheme, with these numbers for its chance."""
    scheme.chance = iter(numbers).__next__
    return scheme


def chosen(scheme: Scheme, **conditions: Collection[int]) -> int:
    """The id of the engine that is chosen."""
    engine = scheme.best(**conditions)
    assert engine is not None
    return engine.id


def drawn(scheme: Scheme, times: int, **conditions: Collection[int]) -> Counter[int]:
    """How often each engine is chosen while nothing changes."""
    return Counter(chosen(scheme, **conditions) for _ in range(times))


def near(part: int, whole: int, share: float) -> bool:
    """Whether this is about that share; five standard deviations are allowed."""
    return abs(part - share * whole) <= 5 * (whole * share * (1 - share)) ** 0.5


# --- what each chooses ----------------------------------------------------------------------------


def test_the_names() -> None:
    assert list(SCHEMES) == ["leastload", "lru", "plainrandom", "twobin", "weighted"]
    assert all(SCHEMES[name].name == name for name in SCHEMES)


def test_leastload_takes_the_fewest_tasks_then_the_least_recently_used() -> None:
    engines = [Engine(0, 1, 1), Engine(1, 0, 9), Engine(2, 0, 5), Engine(3, 2, 0)]
    scheme = with_room(LeastLoad(), engines)
    assert chosen(scheme) == 2
    assert chosen(scheme, excluded=[2]) == 1
    assert chosen(scheme, allowed=[0, 3]) == 0
    engines[2].load = 3
    scheme.update(engines[2], True)
    assert chosen(scheme) == 1


def test_lru_takes_each_in_its_turn_whatever_its_load() -> None:
    engines = [Engine(id, load=id % 3) for id in range(5)]
    scheme = with_room(LeastRecentlyUsed(), engines)
    order = []
    for now in range(1, 16):
        engine = engines[chosen(scheme)]
        order.append(engine.id)
        engine.used, engine.load = now, engine.load + engine.id
        scheme.update(engine, True)
    assert order == [0, 1, 2, 3, 4] * 3


def test_plainrandom_takes_all_alike_whatever_their_load() -> None:
    scheme = with_room(PlainRandom(), [Engine(id, id * 10, id) for id in range(5)])
    found = drawn(scheme, 10_000)
    assert sorted(found) == list(range(5))
    assert all(near(count, 10_000, 1 / 5) for count in found.values())
    assert set(drawn(scheme, 100, allowed=[1, 3])) == {1, 3}


@pytest.mark.parametrize("n", [2, 3, 5])
def test_twobin_takes_the_least_recently_used_of_two_different_ones(n: int) -> None:
    """Of all pairs, alike likely, the engine that was used k-th last wins n-1-k."""
    scheme = with_room(TwoBin(), [Engine(id, load=9 - id, used=id) for id in range(n)])
    found = drawn(scheme, 10_000)
    assert n - 1 not in found  # the other one is always better
    for id in range(n - 1):
        assert near(found[id], 10_000, (n - 1 - id) / (n * (n - 1) / 2))


def test_twobin_draws_every_pair() -> None:
    engines = [Engine(id, used=id) for id in range(4)]
    pairs = set()
    for x, y in product((0.0, 0.3, 0.6, 0.9), (0.0, 0.4, 0.9)):
        scheme = with_room(scripted(TwoBin(), x, y, x, y), engines)
        better = chosen(scheme)
        for engine in engines:
            engine.used = -engine.used
        pairs.add((better, chosen(scheme)))
        for engine in engines:
            engine.used = -engine.used
    assert pairs == {(a, b) for a in range(4) for b in range(a + 1, 4)}


def test_weighted_prefers_lower_loads_of_two_different_ones() -> None:
    loads = [0, 1, 3]
    scheme = with_room(Weighted(), [Engine(id, load) for id, load in enumerate(loads)])
    weights = [1 / (1 + load) for load in loads]
    whole = sum(weights)
    share = Counter[int]()
    for a, b in ((0, 1), (0, 2), (1, 2)):  # drawn in either order, the second among the others
        for first, second in ((a, b), (b, a)):
            chance = weights[first] / whole * weights[second] / (whole - weights[first])
            share[min(a, b)] += chance  # type: ignore[assignment]
    found = drawn(scheme, 10_000)
    assert set(found) == {0, 1}
    assert near(found[0], 10_000, share[0])
    assert near(found[1], 10_000, share[1])
    again = drawn(scheme, 10_000, allowed=[0, 1, 2])  # the same by the way for conditions
    assert set(again) == {0, 1}
    assert near(again[0], 10_000, share[0])


def test_weighted_draws_by_inverse_load() -> None:
    scheme = Weighted()
    assert isinstance(scheme, Weighted)
    with_room(scheme, [Engine(0, 0), Engine(1, 1), Engine(2, 4)])
    chance = Chance()
    found = Counter(scheme.weights.draw(chance()) for _ in range(10_000))
    for seat, weight in enumerate((1, 1 / 2, 1 / 5)):
        assert near(found[seat], 10_000, weight / 1.7)


def test_weighted_breaks_a_tie_by_use() -> None:
    scheme = with_room(Weighted(), [Engine(0, 2, used=7), Engine(1, 2, used=3)])
    assert set(drawn(scheme, 100)) == {1}


@pytest.mark.parametrize("scheme", ALL)
def test_a_single_engine_and_none(scheme: type[Scheme]) -> None:
    one, only = scheme(), Engine(7, 3, 2)
    assert one.best() is None
    one.update(only, True)
    assert one.best() is only
    assert one.best((), [7]) is only
    assert one.best((7, 8), [7], [8]) is only
    assert one.best((), (), [7]) is None
    assert one.best([8]) is None
    one.update(only, False)
    assert one.best() is None


# --- chance and rank ------------------------------------------------------------------------------


def test_chance_repeats_itself_and_is_between_0_and_1() -> None:
    one, other = Chance(), Chance()
    numbers = [one() for _ in range(10_000)]
    assert numbers == [other() for _ in range(10_000)]
    assert all(0 <= x < 1 for x in numbers)
    assert [Chance(2)() for _ in range(3)] != numbers[:3]
    tenths = Counter(int(x * 10) for x in numbers)
    assert all(near(tenths[k], 10_000, 1 / 10) for k in range(10))


@pytest.mark.parametrize("scheme", [PlainRandom, TwoBin, Weighted])
def test_a_scheme_draws_from_the_chance_it_is_given(scheme: type[Scheme]) -> None:
    engines = [Engine(id) for id in range(10)]
    low = with_room(scripted(scheme(), *[0.0] * 2), engines)
    high = with_room(scripted(scheme(), *[0.999] * 2), engines)
    assert chosen(low) == 0
    assert chosen(high) >= 8


def test_tasks_stand_by_their_priority_unless_a_scheme_says_otherwise() -> None:
    class ByName(Highest):
        def rank(self, task: object) -> float:
            return len(task.name)  # type: ignore[attr-defined]

    task = Task("id", b"", b"", name="fit")
    assert LeastLoad().rank(task) == 0
    assert ByName().rank(task) == 3


# --- what always holds ----------------------------------------------------------------------------

IDS = range(6)
some = st.lists(st.sampled_from(IDS), unique=True, max_size=4)
steps = st.lists(
    st.tuples(st.sampled_from(IDS), st.integers(0, 3), st.booleans(), some, some, some), max_size=40
)


@pytest.mark.parametrize("kind", ALL)
@given(steps=steps)
def test_the_choice_is_always_allowed(
    kind: type[Scheme],
    steps: list[tuple[int, int, bool, list[int], list[int], list[int]]],
) -> None:
    scheme, engines, open = kind(), [Engine(id) for id in IDS], set[int]()
    for now, (id, load, room, allowed, avoid, excluded) in enumerate(steps):
        engines[id].load, engines[id].used = load, now
        scheme.update(engines[id], room)
        (open.add if room else open.discard)(id)
        for a, b, c in product(((), allowed), ((), avoid), ((), excluded)):
            able = open & set(a or IDS) - set(c)
            able = able - set(b) or able
            engine = scheme.best(a, b, c)
            assert (engine is None) == (not able)
            assert engine is None or (engine.id in able and engine is engines[engine.id])


NAIVE = {
    LeastLoad: lambda e: (e.load, e.used, e.id),
    LeastRecentlyUsed: lambda e: (e.used, e.id),
    Highest: lambda e: -e.id,
}


@pytest.mark.parametrize("kind", list(NAIVE))
@given(
    history=st.lists(st.tuples(st.sampled_from("tttdr"), st.sampled_from(IDS), some), max_size=80),
    hwm=st.integers(0, 3),
)
def test_the_same_as_a_search_through_all(
    kind: type[Scheme], history: list[tuple[str, int, list[int]]], hwm: int
) -> None:
    """Tasks are given out and end, engines come and go; a model looks at every engine."""
    scheme, engines, here = kind(), [Engine(id) for id in IDS], set(IDS)

    def changed(engine: Engine) -> None:
        scheme.update(engine, room(engine))

    def room(engine: Engine) -> bool:
        return engine.id in here and (not hwm or engine.load < hwm)

    for engine in engines:
        changed(engine)
    for now, (what, id, avoid) in enumerate(history, 1):
        if what == "t":
            able = [e for e in engines if room(e)]
            able = [e for e in able if e.id not in avoid] or able
            expected = min(able, key=NAIVE[kind], default=None)
            assert scheme.best((), avoid) is expected
            if expected is not None:
                expected.load, expected.used = expected.load + 1, now
                changed(expected)
        elif what == "d":
            engines[id].load = max(0, engines[id].load - 1)
            changed(engines[id])
        else:
            here ^= {id}
            changed(engines[id])


@given(
    steps=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=60),
    x=st.floats(0, 1),
)
def test_weights_draw_as_a_search_through_all(steps: list[tuple[int, int]], x: float) -> None:
    weights, model = Weights(), dict[int, float]()
    for seat, weight in steps:
        weights[seat] = model[seat] = float(weight)
    whole = sum(model.values())
    if not whole:
        assert weights.sums[1] == 0
        return
    seat, before = weights.draw(x), 0.0
    assert model[seat] > 0
    before = sum(w for s, w in model.items() if s < seat)
    assert before <= x * whole * (1 + 1e-12)
    assert x * whole <= (before + model[seat]) * (1 + 1e-12)


def test_an_empty_seat_is_never_drawn_even_when_rounding_leads_to_the_end() -> None:
    weights = Weights()
    for seat in range(3):  # there is place for four
        weights[seat] = 0.1
    assert weights.draw(1.0) == 2
    weights[2] = 0.0
    assert weights.draw(1.0) == 1


@given(changes=st.lists(st.tuples(st.sampled_from(IDS), st.integers(0, 3), st.booleans())))
def test_every_seat_of_the_row_has_the_weight_of_who_sits_there(
    changes: list[tuple[int, int, bool]],
) -> None:
    scheme, engines = Weighted(), [Engine(id) for id in IDS]
    for id, load, room in changes:
        engines[id].load = load
        scheme.update(engines[id], room)
        assert {engine.id for engine in scheme.row} == set(scheme.open) == set(scheme.seats)
        weights = scheme.weights.sums[scheme.weights.size :]
        seated = [1 / (1 + engine.load) for engine in scheme.row]
        assert weights == seated + [0.0] * (len(weights) - len(seated))


class Counting:
    """An engine that counts how often it is looked at."""

    looks = 0

    def __init__(self, id: int) -> None:
        self.id = id
        self.used = 0
        self._load = 0

    @property
    def load(self) -> int:
        Counting.looks += 1
        return self._load


@pytest.mark.parametrize("kind", list(SCHEMES.values()))
def test_a_choice_among_a_thousand_looks_at_few(kind: type[Scheme]) -> None:
    scheme, engines = kind(), [Counting(id) for id in range(1000)]
    for engine in engines:
        scheme.update(engine, True)
    Counting.looks = 0
    for now in range(1, 2001):
        engine = scheme.best()
        assert isinstance(engine, Counting)
        engine.used, engine._load = now, engine._load + 1
        scheme.update(engine, True)
    assert Counting.looks <= 10 * 2000


def test_what_is_kept_does_not_grow_with_time() -> None:
    scheme, engines = LeastLoad(), [Engine(id) for id in range(10)]
    for now in range(10_000):
        engine = engines[now % 10]
        engine.used = now
        scheme.update(engine, True)
    assert isinstance(scheme, LeastLoad)
    assert len(scheme.heap) <= 8 * 10 + 65
