"""A plugin of pytest that puts a mutant into the machines: `MUTANT="…" pytest -p tests.sim.planted`."""

from __future__ import annotations

import os

from .mutants import MUTANTS, mutated


def pytest_configure() -> None:
    """Put it there for the time of this process."""
    mutant = MUTANTS[os.environ["MUTANT"]]
    setattr(mutant[0], mutant[1], mutated(mutant))
