"""Measure the workloads and print a table in Markdown.

Exit code 1: a target was missed, or something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from . import processes
from .harness import Comparison, measure, table, take
from .workloads import WORKLOADS


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--repeat", type=int, help="samples per system")
    parser.add_argument(
        "--peers", action="store_true", help="also beside the systems that have to be installed"
    )
    parser.add_argument("--only", nargs="+", metavar="PEER", help="beside these only")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios: PNG or SVG")
    parser.add_argument(
        "--sample", nargs=3, metavar=("WORKLOAD", "PEER", "FILE"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.sample:
        name, peer, file = arguments.sample
        take(WORKLOADS[name], peer, Path(file))
        return 0
    if unknown := set(arguments.workload) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    processes.adopt_orphans()
    comparisons: list[Comparison] = []
    for name in arguments.workload or WORKLOADS:
        workload = WORKLOADS[name]
        first, *others = workload.peers(heavy=arguments.peers or bool(arguments.only))
        peers = [first, *(p for p in others if not arguments.only or p in arguments.only)]
        comparisons += measure(workload, peers, arguments.repeat or workload.repeat, tell)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, medians\n")
    print(table(comparisons))
    if arguments.plot:
        from .plot import draw

        draw(comparisons, arguments.plot)
    return 0 if all(comparison.good for comparison in comparisons) else 1


def tell(line: str) -> None:
    """Show that something is happening, apart from the table."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
