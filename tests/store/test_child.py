"""The controller's end of its database: when its process is started, and when it cannot be."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from enginery.controller.config import ControllerConfig
from enginery.controller.store import child as child_module
from enginery.controller.store.child import MUCH, SELDOM, Child
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


def test_the_process_waits_for_a_pause_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # it need not run for this
    monkeypatch.setattr(child_module, "time", clock)
    child = Child(ControllerConfig(profile_dir=tmp_path), tmp_path, "journal", lambda *_: None)

    def begins(now: float, weight: int = 1000) -> float | None:
        clock.now = now
        child.news(weight)
        return child.start_at

    assert [begins(now) for now in (101.0, 102.5, 104.0, 106.0)] == [103.0, 104.5, 106.0, 108.0]
    assert begins(109.5) == 110.0
    assert begins(103.0, MUCH + 1) == 103.0
    child.close(over=True)


def test_it_is_tried_for_as_long_as_the_controller_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # which is not there
    monkeypatch.setattr(child_module, "time", clock)
    child = Child(ControllerConfig(profile_dir=tmp_path), tmp_path, "journal", lambda *_: None)
    for _ in range(2000):
        assert child.start_at is not None
        clock.now = child.start_at
        list(child.events())
    assert child.start_at == clock.now + SELDOM
    child.close(over=True)
