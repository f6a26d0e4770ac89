"""Asking a running cluster on the command line, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema

from enginery import Client, Cluster

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "commands-1.json").read_text()
)


class Ask:
    """Runs `enginery` in a directory of profiles, to its end."""

    def __init__(self, home: Path, **more: str) -> None:
        self.env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        self.env |= {"IPYTHONDIR": str(home), "TERM": "xterm", **more}

    def __call__(self, *words: str, **form: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(words), capture_output=True, text=True, timeout=30, check=False,
            env=self.env, **form,
        )  # fmt: skip

    def command(self, words: tuple[str, ...]) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "enginery", *words]

    def text(self, *words: str, code: int = 0, **form: Any) -> str:
        """What it prints; nothing else must be wrong."""
        done = self(*words, **form)
        assert (done.returncode, done.stderr) == (code, "")
        return done.stdout

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        """The one object that it prints as JSON, which is as the stored schema has it."""
        told: dict[str, Any] = json.loads(self.text(*words, "-o", "json", code=code))
        what = " ".join(words[:2]) if words[0] == "list" else words[0]
        name = "failure" if "error" in told else what
        jsonschema.validate(told, {**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{quote(name)}"}]})
        return told

    def ids(self, *words: str) -> list[str]:
        """The ids that it prints."""
        return self.text(*words, "-o", "ids").splitlines()


@contextmanager
def default_cluster(home: Path) -> Iterator[Client]:
    """A client of two engines, whose cluster is the default one of this directory of profiles."""
    cluster = Cluster(n=2, profile_dir=home / "profile_default", cluster_id="")
    cluster.start_cluster_sync()
    try:
        with cluster.connect_client_sync() as client:
            client.wait_for_engines(2, timeout=30)
            yield client
    finally:
        cluster.stop_cluster_sync()


def fit(x: int) -> int:
    """Ordinary work, that fails for 5."""
    if x == 5:
        raise ValueError("bad item 5")
    return x * x


def occupy(path: str) -> str:
    """Be busy until somebody closes the other end of this pipe."""
    with open(path) as pipe:
        return pipe.read()


def submit(rc: Client, label: str, f: Callable[..., Any], items: Any, **flags: Any) -> Any:
    """Map over a balanced view, with a label; the controller has the tasks when this returns."""
    result = rc.load_balanced_view(label=label, **flags).map(f, items, chunksize=1)
    deadline = time.monotonic() + 30
    while not set(result.msg_ids) <= set(rc.hub_history()):
        assert time.monotonic() < deadline
    return result
