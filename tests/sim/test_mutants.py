"""The simulator is any good: it finds every bug that was put into the machines by hand."""

from __future__ import annotations

import pytest

from .conftest import HUNTS, Hunts
from .mutants import MUTANTS, RARE


@pytest.fixture
def hunts(pytestconfig: pytest.Config) -> Hunts:
    """What becomes of each that is hunted."""
    return pytestconfig.stash[HUNTS]


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in RARE])
def test_is_caught(hunts: Hunts, name: str) -> None:
    assert hunts[name].result() == ""


@pytest.mark.parametrize("name", RARE)
def test_a_rare_one_is_caught_by_a_test_of_the_machine(hunts: Hunts, name: str) -> None:
    assert hunts[name].result() == ""
