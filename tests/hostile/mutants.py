"""Batches with a few bytes changed, as many as time allows, through decoding and the controller.

`test_nonsense` looks at each refusal, and is slow; here the honest are looked at now and then.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from enginery.core import events as e
from enginery.core import laws
from enginery.error import ProtocolError
from enginery.wire import codec

from .small_cluster import SmallCluster
from .test_nonsense import Stranger, mutate

ROLES = ("engine", "engine", "task", "monitor")
"""None of them may disturb the honest."""

LIFE = 40_000
"""Mutants that one cluster hears."""

POOL = 400
"""Batches that are mutated, over and over."""


def play(seed: int, count: int) -> Counter[str]:
    """Let clusters hear so many mutants; what became of them. Any error but ProtocolError is
    raised, and so is a broken law, or a task of the honest that does not end as it should.
    """
    told: Counter[str] = Counter()
    for life in range(0, count, LIFE):
        told += _life(seed * 1_000_003 + life, min(LIFE, count - life))
    return told


def _life(seed: int, count: int) -> Counter[str]:
    told: Counter[str] = Counter()
    cluster = SmallCluster(seed)
    random = cluster.random
    secrets: list[bytes] = []
    strangers = [Stranger(cluster, role, secrets) for role in ROLES]
    cluster.submit(4)
    for number in range(count):
        if number % (POOL * 10) == 0:
            pool = [_batch(random.choice(strangers)) for _ in range(POOL)]
            cluster.now += random.choice((0.01, 2.0))
            cluster.tick()
        if number % 1000 == 0:
            cluster.work()
            cluster.submit(1)
            laws.check(cluster.controller)
        told[_mutant(random, *random.choice(pool))] += 1
        cluster.now += 0.0001
    cluster.finish()
    return told


def _batch(stranger: Stranger) -> tuple[Stranger, list[bytes]]:
    frames = codec.encode([stranger.sensible() for _ in range(stranger.random.choice((1, 1, 2)))])
    return stranger, [bytes(frame) for frame in frames]


def _mutant(random: Random, stranger: Stranger, frames: list[bytes]) -> str:
    """Say a mutant; what became of it."""
    first = bytearray(frames[0])
    if random.random() < 0.02:
        frames = mutate(random, frames)
    elif random.random() < 0.97:
        first[random.randrange(len(first))] ^= 1 << random.randrange(8)
        frames = [bytes(first), *frames[1:]]
    try:
        messages = codec.decode(frames)
    except ProtocolError:
        return "not understood"
    for message in messages:
        effects = stranger.say(message)
        if any(isinstance(x, e.Drop) and x.conn == stranger.conn for x in effects):
            stranger.cluster.closed(stranger.conn)
            stranger.come()
            return "cut off"
    return "heard"
