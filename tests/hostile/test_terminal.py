"""What others have named is shown on a terminal, and does not speak to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from enginery import Cluster
from enginery.core import messages as m
from enginery.core.names import content_hash
from enginery.wire import payload
from enginery.wire.functions import FunctionCache

from ..integration.asking import Ask
from .peer import Peers

BLOB = FunctionCache(1 << 20).serialize(os.kill)[1]
HASH = content_hash(BLOB)
WILD = "\x1b[31m\x07"


@pytest.fixture
def ask(target: Cluster) -> Ask:
    """Runs `enginery` with these arguments."""
    return Ask(Path(target.profile.path).parent)


def test_names_do_not_speak_to_the_terminal(target: Cluster, peers: Peers, ask: Ask) -> None:
    id = f"{WILD}-1"
    client, _ = peers.known("task")
    arguments = payload.dumps(((), {}))[0]  # too few: it fails
    task = m.Task(id, HASH, arguments, name=f"name {WILD}", label=f"label {WILD}")
    client.say(m.Define(HASH, BLOB), m.Submit(1, [task]))
    assert client.hear(m.Deliver).outcomes[0].status == "error"
    stays = peers.known("engine", host=f"host {WILD}")
    lost, _ = peers.known("engine", host=f"host {WILD}")
    watcher, _ = peers.known("client")
    assert len(watcher.hear(m.Engines).engines) == 4
    lost.say(m.Goodbye(f"reason {WILD}"))
    while len(watcher.hear(m.Engines).engines) > 3:
        pass
    where = (f"--profile-dir={target.profile.path}", f"--cluster-id={target.cluster_id}")
    for words in (
        "list tasks", "list engines", "show last", "explain last", "errors", "status",
        "progress last", "logs --task nothing",
    ):  # fmt: skip
        done = ask(*words.split(), *where)
        said = done.stdout + done.stderr
        assert r"\x1b[31m" in said, words
        assert not set(said) & set("\x1b\x07"), words
    del stays  # its connection is closed with it
