"""Tasks that last until the test lets them end, so that no test guesses how long that takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


class Gate:
    """`held` is a function for engines: it returns once the gate has been opened."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path

        def held() -> None:
            with path.open():  # which waits until somebody has opened it for writing
                pass

        self.held = held
        self._writer: int | None = None

    def open(self) -> None:
        """Whoever waits goes on, and nobody waits from now on."""
        if self._writer is None:
            self._writer = os.open(self.path, os.O_RDWR)

    def close(self) -> None:
        """Takes the descriptor back."""
        if self._writer is not None:
            os.close(self._writer)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Closed at first; a test that fails leaves nobody waiting."""
    one = Gate(tmp_path / "gate")
    try:
        yield one
    finally:
        one.open()
        one.close()
