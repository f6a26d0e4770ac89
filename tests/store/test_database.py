"""The tables are made as a whole, or not at all."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from enginery.controller.store import database
from enginery.controller.store.database import Database


def test_tables_that_were_not_all_made_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(table: object) -> None:
        raise InterruptedError

    with closing(Database("sqlite", str(tmp_path / "history.sqlite"))) as made:
        with monkeypatch.context() as patch:
            patch.setattr(database, "insert", killed)
            with pytest.raises(InterruptedError):
                made.create()
        made.create()
        made.create()
