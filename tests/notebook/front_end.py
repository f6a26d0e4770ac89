"""A front end that reacts: runs a notebook, and opens a gate when it is shown what it waits for.

Run as a program, in a process of its own as `execution` says: reads JSON with the notebook and its
`gates` (pairs of a text and the path of a FIFO, opened for good once that text is shown, in this
order), and prints JSON with the notebook as it ended and every display message in its order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from .execution import CELL_LIMIT, environment

DISPLAYS = {"display_data", "update_display_data"}


@dataclass(frozen=True)
class Message:
    """A display message, or one that replaces what was displayed."""

    update: bool
    id: str
    text: str
    html: str
    kinds: frozenset[str]


def play(
    cells: list[str], gates: list[tuple[str, Path]], home: Path
) -> tuple[nbformat.NotebookNode, list[Message]]:
    """Run these cells; the notebook as it ended, and all that was displayed meanwhile."""
    home.mkdir(parents=True, exist_ok=True)
    for _, gate in gates:
        os.mkfifo(gate)
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    asked = {
        "notebook": nbformat.writes(notebook),
        "gates": [[told, str(gate)] for told, gate in gates],
        "home": str(home),
    }
    ran = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(asked),
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"the notebook did not run to its end\n{ran.stderr}")
    told = json.loads(ran.stdout)
    return nbformat.reads(told["notebook"], as_version=4), [_message(m) for m in told["messages"]]


def _message(message: dict[str, Any]) -> Message:
    content = message["content"]
    data = content["data"]
    return Message(
        message["type"] == "update_display_data",
        content["transient"].get("display_id", ""),
        data.get("text/plain", ""),
        data.get("text/html", ""),
        frozenset(data),
    )


def _main() -> None:
    from nbclient import NotebookClient

    asked = json.load(sys.stdin)
    gates: list[tuple[str, str]] = asked["gates"]
    seen: list[dict[str, Any]] = []
    held: list[int] = []  # open ends of gates: who comes later must find one

    class Reacting(NotebookClient):
        """Notes what is displayed, and opens gates."""

        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if msg["msg_type"] in DISPLAYS:
                seen.append({"type": msg["msg_type"], "content": msg["content"]})
                shown = msg["content"]["data"].get("text/plain", "")
                while gates and gates[0][0] in shown:
                    held.append(os.open(gates.pop(0)[1], os.O_RDWR))
            return super().process_message(msg, cell, cell_index)

    client = Reacting(
        nbformat.reads(asked["notebook"], as_version=4),
        timeout=CELL_LIMIT,
        resources={"metadata": {"path": asked["home"]}},
    )
    notebook = nbformat.writes(client.execute())
    json.dump({"notebook": notebook, "messages": seen}, sys.stdout)


if __name__ == "__main__":
    _main()
