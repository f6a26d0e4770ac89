"""A plugin of pytest that puts a mutant into the machines, for the tests that are to catch it.

`MUTANT="any result counts" python -m pytest -p tests.sim.planted tests/unit`
"""

from __future__ import annotations

import os

from .mutants import MUTANTS, mutated


def pytest_configure() -> None:
    """Put it there for the time of this process."""
    mutant = MUTANTS[os.environ["MUTANT"]]
    setattr(mutant[0], mutant[1], mutated(mutant))
