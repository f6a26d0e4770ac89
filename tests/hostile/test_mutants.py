"""H4: most of a million mutated batches through decoding and the controller, in a minute."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from .mutants import play

MUTANTS = 800_000
"""With those of test_nonsense.py, which are looked at more closely, a million."""


@pytest.mark.timeout(300)
def test_a_million_mutants() -> None:
    parts = 8
    with ProcessPoolExecutor(2) as pool:
        told = [pool.submit(play, seed, MUTANTS // parts) for seed in range(parts)]
        counts = sum((each.result() for each in told[1:]), told[0].result())
    print(dict(counts))
    assert counts.total() == MUTANTS
    assert counts["not understood"] > MUTANTS // 10
    assert counts["heard"] > MUTANTS // 10
