"""F4 and F5: the controller is killed under work, alone or with an engine; and the client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from enginery import Client, Cluster
from enginery.client.results import AsyncResult
from enginery.cluster import guard
from tests.faults.killing import Counts, Watched, kill_controller, noted, right, starts, watched

from .scale import scaled

Figures = Callable[[str, str, str], None]

SECONDS = 120.0
"""In which a part of the tasks must be done, also on a busy machine."""

CLIENT = """
import json, sys
from functools import partial
from enginery import Client
from tests.faults.killing import noted

file, notes, tasks = sys.argv[1:]
rc = Client(file)
result = rc[None].map_async(partial(noted, notes), range(int(tasks)), chunksize=1)
rc.result_status(result.msg_ids[-1:])  # it is answered when all has been submitted
print(json.dumps(result.msg_ids), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where each start of a task is noted."""
    path = tmp_path / "notes"
    path.mkdir()
    return path


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller is started again however often it was killed; that there is an end is not the
    point here.
    """
    monkeypatch.setattr(guard, "OFTEN", 1000)


def during(rc: Client, result: AsyncResult, times: int, kill: Callable[[], None]) -> None:
    """Kill something so many times, spread over a map."""
    for k in range(times):
        due = result.total * (k + 1) // (times + 2)
        assert rc.link.wait(lambda due=due: result.progress >= due, SECONDS), f"{result!r} hangs"
        kill()
    assert not result.ready(), "all was done too early to be disturbed"


def told(watch: Watched, notes: Path) -> tuple[Counts, str]:
    """The four counts, and a text with these and how often a task was started."""
    times = Counter(item for items in starts(notes).values() for item in items)
    counts = watch.counts(times)
    text = ", ".join(f"{name} {n}" for name, n in counts._asdict().items())
    return counts, f"{text}; started at most {max(times.values())} times"


@pytest.mark.usefixtures("patient")
def test_the_controller_is_killed(tmp_path: Path, notes: Path, figures: Figures) -> None:
    tasks, kills = scaled(100_000), scaled(20)
    cluster = Cluster(n=4, profile_dir=tmp_path / "profile_f4")
    with cluster as rc:
        f = partial(noted, str(notes))
        result = rc[None].map_async(f, range(tasks), ordered=False, chunksize=1)
        with watched(result) as watch:
            during(rc, result, kills, lambda: kill_controller(cluster))
    counts, text = told(watch, notes)
    figures("F4 the controller is killed under work", f"{tasks:,} tasks, {kills} SIGKILLs", text)
    assert counts == (0, 0, 0, 0)
    assert watch.errors == []


@pytest.mark.usefixtures("patient")
def test_engine_and_controller_are_killed_together(
    tmp_path: Path, notes: Path, figures: Figures
) -> None:
    tasks, kills = scaled(20_000), scaled(20)
    cluster = Cluster(n=4, profile_dir=tmp_path / "profile_f5")
    with cluster as rc:
        view = rc.load_balanced_view(retries=5)
        f = partial(noted, str(notes))
        result = view.map_async(f, range(tasks), ordered=False, chunksize=1)
        victims = iter(range(kills))

        def kill() -> None:
            engine = rc.link.engines[next(victims) % 4]
            os.kill(engine.pid, signal.SIGKILL)
            kill_controller(cluster)

            def replaced() -> bool:
                now = rc.link.engines.get(engine.id)
                return now is not None and now.incarnation != engine.incarnation

            assert rc.link.wait(replaced, SECONDS), f"engine {engine.id} was not replaced"

        with watched(result) as watch:
            during(rc, result, kills, kill)
        ids = rc.ids
    counts, text = told(watch, notes)
    how = f"{tasks:,} tasks, {kills} times both at once, retries=5"
    figures("F5 an engine and the controller are killed together", how, text)
    assert counts[:3] == (0, 0, 0)
    assert watch.errors == []
    assert ids == [0, 1, 2, 3]


def test_the_client_is_killed(tmp_path: Path, notes: Path, figures: Figures) -> None:
    tasks = scaled(10_000)
    cluster = Cluster(n=4, profile_dir=tmp_path / "profile_f5_client")
    with cluster as rc:
        command = [sys.executable, "-c", CLIENT, str(cluster.client_connection_file)]
        with subprocess.Popen(
            [*command, str(notes), str(tasks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as client:
            assert client.stdout is not None
            ids = json.loads(client.stdout.readline())
            client.kill()
        result = rc.get_result(ids)
        assert not result.ready(), "all was done before the client was killed"
        values = result.get(5 * SECONDS)
    times = Counter(item for items in starts(notes).values() for item in items)
    wrong = sum(value != (item, right(item)) for item, value in enumerate(values))
    twice = len(values) - len(set(values))
    how = f"{tasks:,} tasks of a client that gets SIGKILL; another one fetches them"
    figures(
        "F5 a dead client's tasks finish", how,
        f"lost {tasks - len(values)}, duplicated {twice}, unexpected {wrong}, recovered 0; "
        f"started at most {max(times.values())} times",
    )  # fmt: skip
    assert (len(values), wrong, max(times.values())) == (tasks, 0, 1)
