"""How a workload is measured: every sample in a process of its own, the systems taking turns.

Turns, so that whatever else the machine does hits all of them alike; a new process for each
sample, so that none inherits the threads, caches or garbage of another. What counts is the median.
A system that is not there, fails or hangs is named in the table, and does not hide the others.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from . import processes

OURS = "cluster"
ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv-peers"
"""Where `make bench-peers` puts an environment for each system that has to be installed."""

ADAPTERS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True)
class Figure:
    """One thing that a workload measures, and what we want to be.

    `targets` gives, for some of the other systems, what our figure divided by its is to be: at
    least that where more is better, else at most. `limit` is what our figure itself is to be.
    """

    title: str
    unit: str
    more_is_better: bool = False
    targets: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None

    def meets(self, value: float, wanted: float) -> bool:
        """Whether a value is on the wanted side."""
        return value >= wanted if self.more_is_better else value <= wanted

    def wish(self, wanted: float) -> str:
        """The target in words."""
        return f"at {'least' if self.more_is_better else 'most'} {wanted:,.10g}"


@dataclass(frozen=True)
class Workload:
    """What is measured, and on whom besides us.

    `sample(peer)` runs once on the system of that adapter, checks its results, and returns a
    value for each of the figures that make sense for it. `quick` peers need nothing installed,
    `heavy` ones an environment of their own. `patience`: seconds after which a sample hangs.
    """

    name: str
    figures: Mapping[str, Figure]
    sample: Callable[[str], dict[str, float]]
    quick: Sequence[str] = ()
    heavy: Sequence[str] = ()
    repeat: int = 5
    patience: float = 120.0

    def peers(self, heavy: bool) -> list[str]:
        """Ours first."""
        return [OURS, *self.quick, *(self.heavy if heavy else ())]


@dataclass
class Samples:
    """What one system has given in one workload; `failure` says why there is nothing more."""

    taken: list[dict[str, float]] = field(default_factory=list)
    failure: str = ""

    def median(self, figure: str) -> float | None:
        """None where the system has failed, or does not have this figure."""
        values = [sample[figure] for sample in self.taken if figure in sample]
        return None if self.failure or not values else median(values)


@dataclass(frozen=True)
class Comparison:
    """Our figure beside that of another system, or beside its limit (`peer` is "" then)."""

    workload: str
    figure: Figure
    peer: str
    ours: float | None
    theirs: float | None
    failure: str = ""

    @property
    def ratio(self) -> float | None:
        """Our figure divided by theirs, where that says anything."""
        if self.ours is None or self.theirs is None or self.theirs <= 0:
            return None
        return self.ours / self.theirs

    @property
    def target(self) -> float | None:
        """What is wanted, if anything is: of the ratio, or of our figure."""
        return self.figure.targets.get(self.peer) if self.peer else self.figure.limit

    @property
    def met(self) -> bool | None:
        """Whether it is what was wanted; None: nothing was, or it could not be measured."""
        value = self.ratio if self.peer else self.ours
        if self.target is None or value is None:
            return None
        return self.figure.meets(value, self.target)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong: no target missed, nothing left unmeasured."""
        return not self.failure and (self.target is None or self.met is True)

    def row(self, first: bool = True) -> str:
        """One line of the table; `first` of its figure, which says what it is about."""
        head = f"| {self.figure.title} | {self._value(self.ours)}" if first else "| |"
        theirs = self._value(self.theirs) if self.theirs is not None else self.failure
        beside = f"{self.peer}: {theirs}" if self.peer else self.failure
        ratio = "" if self.ratio is None else digits(self.ratio)
        wanted = "" if self.target is None else self.figure.wish(self.target)
        return f"{head} | {cell(beside)} | {ratio} | {wanted} | {self._verdict()} |"

    def _value(self, value: float | None) -> str:
        return "not measured" if value is None else f"{digits(value)} {self.figure.unit}".strip()

    def _verdict(self) -> str:
        if self.failure or (self.target is not None and self.met is None):
            return "**not measured**"
        return "" if self.met is None else "met" if self.met else "**missed**"


def digits(x: float) -> str:
    """As many digits as mean something."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def cell(text: str) -> str:
    """The text, so that it does not end the cell of the table."""
    return text.replace("|", "\\|").replace("\n", " ").strip()


HEADER = """\
| workload | enginery | beside | ratio | target | |
|---|---|---|---|---|---|"""


def table(comparisons: Sequence[Comparison]) -> str:
    """All of it in Markdown."""
    lines, last = [HEADER], ""
    for comparison in comparisons:
        title = comparison.figure.title
        lines.append(comparison.row(first=title != last))
        last = title
    return "\n".join(lines)


def compare(
    workload: Workload, peers: Sequence[str], samples: Mapping[str, Samples]
) -> Iterator[Comparison]:
    """What there is to say about these samples: each figure beside its limit, then beside all."""
    ours = samples[OURS]
    for name, figure in workload.figures.items():
        mine = ours.median(name)
        others = [p for p in peers if p != OURS and (samples[p].failure or has(samples[p], name))]
        if figure.limit is not None or ours.failure or not others:
            yield Comparison(workload.name, figure, "", mine, None, ours.failure)
        for peer in others:
            theirs = samples[peer]
            yield Comparison(workload.name, figure, peer, mine, theirs.median(name), theirs.failure)


def has(samples: Samples, figure: str) -> bool:
    """Whether the system has this figure at all."""
    return any(figure in sample for sample in samples.taken)


def measure(
    workload: Workload, peers: Sequence[str], repeat: int, tell: Callable[[str], None]
) -> list[Comparison]:
    """Let the systems take turns, `repeat` times each; `tell` is told every sample."""
    samples = {peer: Samples() for peer in peers}
    for _ in range(repeat):
        for peer, those in samples.items():
            if those.failure:
                continue
            try:
                taken = sample_elsewhere(workload, peer)
            except Unmeasured as error:
                those.failure = str(error)
                tell(f"{workload.name} {peer}: {error}\n{error.output}".rstrip())
            else:
                those.taken.append(taken)
                values = (f"{digits(x)} {workload.figures[name].unit}" for name, x in taken.items())
                tell(f"{workload.name} {peer}: {', '.join(values)}")
    return list(compare(workload, peers, samples))


class Unmeasured(Exception):
    """A sample could not be taken; `output` is what its processes wrote."""

    def __init__(self, why: str, output: str = "") -> None:
        super().__init__(why)
        self.output = output


def sample_elsewhere(workload: Workload, peer: str) -> dict[str, float]:
    """One sample, taken in a new process and session, of which nothing is left afterwards.

    Raises Unmeasured when there is no environment for it, it failed, or it hung.
    """
    python = interpreter(peer)
    scratch = Path(tempfile.mkdtemp(prefix="bench-"))  # short: sockets are made in it
    answer, output = scratch / "answer", scratch / "output"
    command = [str(python), "-m", "bench", "--sample", workload.name, peer, str(answer)]
    try:
        code = run(command, output, surroundings(python, scratch), workload.patience)
        said = output.read_text(errors="replace")
        if code is None:
            raise Unmeasured(f"hung for {workload.patience:g} s", said)
        if code != 0 or not answer.exists():
            raise Unmeasured(last_line(said) or f"ended with exit code {code}", said)
        return {name: float(value) for name, value in json.loads(answer.read_text()).items()}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run(
    command: Sequence[str], output: Path, environment: Mapping[str, str], patience: float
) -> int | None:
    """The exit code of a program, or None if it had to be killed; with it ends all it started."""
    others = processes.children()
    with output.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=output.parent,
            env=environment,
            start_new_session=True,
        )
    grace = 0.0
    try:
        code = process.wait(patience)
        grace = processes.GRACE
    except subprocess.TimeoutExpired:
        code = None
    finally:
        processes.end_leftovers(process.pid, others, grace)
        process.wait()
    return code


def interpreter(peer: str) -> Path:
    """The Python that runs this adapter; Unmeasured when it has yet to be installed."""
    if not (ADAPTERS / f"{peer}.txt").exists():
        return Path(sys.executable)
    python = ENVIRONMENTS / peer / "bin" / "python"
    if not (ENVIRONMENTS / peer / "complete").exists():
        raise Unmeasured("not installed; make bench-peers does that")
    return python


def surroundings(python: Path, scratch: Path) -> dict[str, str]:
    """Environment variables: `bench` can be imported everywhere, all files go to one place."""
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(scratch),
        "IPYTHONDIR": str(scratch / "ipython"),
    }


def last_line(output: str) -> str:
    """What a program said last, which is what went wrong when it ended with a traceback."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def take(workload: Workload, peer: str, answer: Path) -> None:
    """Take the sample here, in the process that was made for it, and write down what it gave."""
    processes.adopt_orphans()
    values = workload.sample(peer)
    answer.write_text(json.dumps(values))
