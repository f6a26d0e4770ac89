"""The controller's end of its database, when the process cannot be started."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from enginery.controller.config import ControllerConfig
from enginery.controller.store.child import Child
from enginery.core.events import Consult, DatabaseClosed, DatabaseOpened, Question


def test_a_process_that_cannot_be_started_costs_a_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    lines: list[tuple[str, str]] = []

    def log(level: str, event: str, fields: dict[str, Any]) -> None:
        lines.append((event, fields["reason"]))

    child = Child(ControllerConfig(profile_dir=tmp_path), tmp_path, "journal", log)
    child.ask(Consult(1, Question("outcomes", 0)))
    assert [type(event) for event in child.events()] == [DatabaseOpened, DatabaseClosed]
    child.ask(Consult(2, Question("outcomes", 0)))  # it is not tried again at once
    assert [event for event, _ in lines] == ["database.failed"]
    assert "cannot be started" in lines[0][1]
    assert child.start_at is not None
    assert child.start_at > time.monotonic()
    child.close(over=True)
