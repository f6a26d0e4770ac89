"""A client as a process of its own: `python -m tests.nightly.client FILE NOTES ITEMS` runs a load.

It says "begun" when that is on its way, and at its end the four counts as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from enginery import Client

from .load import Load


def main(file: str, notes: str, items: str) -> None:
    """Run it."""
    with Client(file) as rc:
        load = Load(rc, Path(notes), int(items), retries=5)
        load.begun()
        print("begun", flush=True)
        counts = load.counts()
        print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
