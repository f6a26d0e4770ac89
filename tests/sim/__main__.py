"""`python -m tests.sim SEED [--trace]` plays one history again; `--seeds N` plays many."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.pool import Pool
from typing import Any

from enginery.core import tasks

from .faults import FAULTS, RESTARTS
from .workload import ACTIONS
from .world import World


@dataclass
class Report:
    """What some histories came to."""

    histories: int = 0
    events: int = 0
    tasks: int = 0
    recovered: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)  # lost, duplicated, unexpected
    failures: dict[int, str] = field(default_factory=dict)  # seed -> why
    ended: Counter[str] = field(default_factory=Counter)
    moves: Counter[Any] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    victims: Counter[Any] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Take in another report."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, dict):
                mine.update(value)
            else:
                setattr(self, name, mine + value)


def play(seed: int) -> Report:
    """One history."""
    world = World(seed)
    report = Report(histories=1)
    try:
        world.run()
    except Exception as error:  # whatever a machine raises is the verdict
        word = str(error).split(":")[0]
        kind = word if word in {"lost", "duplicated"} else "unexpected"
        report.verdicts[kind] += 1
        report.failures[seed] = f"{type(error).__name__}: {error}"[:400]
    report.events = world.events
    report.tasks = len(world.ledger.tasks)
    report.recovered = world.ledger.recovered
    report.ended = world.ledger.ended
    report.moves = world.moves.count
    report.faults, report.actions, report.victims = world.faults, world.actions, world.victims
    return report


def play_many(
    pool: Pool, seeds: Iterable[int], enough: Callable[[Report], bool] | None = None
) -> Report:
    """Many histories, until there are `enough`; the pool can do nothing else afterwards."""
    total = Report()
    for report in pool.imap_unordered(play, seeds):
        total.add(report)
        if enough is not None and enough(total):
            break
    pool.terminate()
    return total


def table(report: Report) -> str:
    """What was covered."""
    lines = ["", "transitions"]
    for (state, move), after in tasks.TRANSITIONS.items():
        lines.append(f"  {state:>8} --{move}--> {after:<8} {report.moves[state, move]:>10,}")
    lines += ["", "faults, and what the engine was doing"]
    for fault in FAULTS | RESTARTS:
        doing = ", ".join(
            f"{k[1]} {n:,}" for k, n in sorted(report.victims.items()) if k[0] == fault
        )
        lines.append(f"  {fault:<16} {report.faults[fault]:>8,}  {doing}")
    lines += ["", "actions of users"]
    lines += [f"  {action:<16} {report.actions[action]:>8,}" for action in ACTIONS]
    lines += ["", "outcomes"]
    lines += [f"  {status:<16} {n:>8,}" for status, n in report.ended.most_common()]
    return "\n".join(lines)


def replay(seed: int, trace: bool) -> int:
    """Play one history and tell it."""
    world = World(seed, trace=True, every=1)
    error: Exception | None = None
    try:
        world.run()
    except Exception as caught:  # told below
        error = caught
    story = world.trace or []
    print("\n".join(story if trace else story[-60:] if error else []))
    print(f"seed {seed}: {len(world.ledger.tasks)} tasks, {world.events:,} events, "
          f"{world.clock.now:.1f} s; {world.settings}")  # fmt: skip
    if error is not None:
        traceback.print_exception(error)
        print(f"to see it all: python -m tests.sim {seed} --trace")
        return 1
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    parser.add_argument("--seeds", type=int, default=0, help="play so many histories")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if args.seed is not None:
        return replay(args.seed, args.trace)
    began = time.monotonic()
    with Pool(args.jobs) as pool:
        report = play_many(pool, range(args.start, args.start + (args.seeds or 100)))
    seconds = time.monotonic() - began
    print(table(report))
    for seed, why in sorted(report.failures.items()):
        print(f"\nseed {seed}: {why}\n  python -m tests.sim {seed} --trace")
    counts = [f"{word} {report.verdicts[word]}" for word in ("lost", "duplicated", "unexpected")]
    print(f"\n{report.histories:,} histories, {report.tasks:,} tasks, {report.events:,} events, ")
    print(f"{report.events / seconds:,.0f} events/s; the verdicts:")
    print(f"{', '.join(counts)}, recovered {report.recovered:,}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
