"""Measure the workloads and print a table in Markdown; exit code 1 when a target is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys

from .harness import HEADER, measure
from .workloads import WORKLOADS


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--repeat", type=int, help="samples per system")
    parser.add_argument("--sample", nargs=2, metavar=("WORKLOAD", "PEER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sample:
        name, peer = arguments.sample
        print(json.dumps(WORKLOADS[name].sample(peer)))
        return 0
    if unknown := set(arguments.workload) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    chosen = [WORKLOADS[name] for name in arguments.workload or WORKLOADS]
    comparisons = [
        comparison
        for workload in chosen
        for comparison in measure(workload, arguments.repeat or workload.repeat, tell)
    ]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, medians\n\n{HEADER}")
    for comparison in comparisons:
        print(comparison.row())
    return 0 if all(comparison.met for comparison in comparisons) else 1


def tell(line: str) -> None:
    """Show that something is happening, apart from the table."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
