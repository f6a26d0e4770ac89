"""The simulator is any good: it finds every bug that was put into the machines by hand."""

from concurrent.futures import ProcessPoolExecutor

import pytest

from .mutants import MUTANTS, RARE, hunt


@pytest.fixture(scope="module")
def hunts():
    """All hunts, at the same time as far as there are processors."""
    with ProcessPoolExecutor(2) as pool:
        yield {name: pool.submit(hunt, name) for name in MUTANTS if name not in RARE}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in RARE])
def test_is_caught(hunts, name):
    assert hunts[name].result() is not None, f"nobody notices that {name}"
