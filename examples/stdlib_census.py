"""A census of the Python standard library: taken here, on four engines, and balanced over them.

    python examples/stdlib_census.py              (or: make demo)
    python examples/stdlib_census.py DIRECTORY    the sources there instead

The same function, `analyse`, goes over every source file of this Python three times. The second
run cuts the list of files into four equal pieces, one per engine: short to write, and as slow as
the unluckiest piece. The third gives each engine the next file as soon as it is free; in the
middle of it, one engine is killed with SIGKILL. The three answers must be equal.
"""

import ast
import os
import signal
import sys
import sysconfig
import time
import warnings
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from enginery import Cluster

ENGINES = 4
TOP = 10
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCH = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


# --- what is counted: functions of this script, which the engines run as they stand here --------


def count_branches(function):
    """Ways the control flow may part in a function, without the functions defined in it."""
    count = 0
    inside = list(ast.iter_child_nodes(function))
    while inside:
        node = inside.pop()
        if isinstance(node, FUNCTION):
            continue
        if isinstance(node, BRANCH):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        inside.extend(ast.iter_child_nodes(node))
    return count


def analyse(path):
    """Lines, functions, branches, and the most complex functions of one source file."""
    source = Path(path).read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some files are there to be warned about
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a few are broken on purpose: tests of the parser
        tree = ast.Module(body=[], type_ignores=[])
    functions = [
        (count_branches(node), node.name, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, FUNCTION)
    ]
    return {
        "file": path,
        "lines": source.count(b"\n"),
        "functions": len(functions),
        "branches": sum(count for count, _, _ in functions),
        "top": sorted(functions, reverse=True)[:TOP],
    }


# --- the three ways to count it -----------------------------------------------------------------


def serial(files):
    """Every file here, one after the other."""
    return [analyse(path) for path in progress(files, len(files), "serial")]


def direct(rc, files):
    """A piece of the list on each engine: scatter, execute, gather."""
    dview = rc[:]
    dview.push({"analyse": analyse})
    dview.scatter("files", files)
    running = dview.execute("census = [analyse(path) for path in files]")
    for _ in progress(running, ENGINES, "direct", "engines"):
        pass  # nothing comes before the last file of an engine is done
    return dview.gather("census", block=True)


def balanced(rc, files, kill):
    """File by file to whichever engine is free; `kill()` is called when half of them are done."""
    lview = rc.load_balanced_view()
    lview.retries = 2
    census = lview.map_async(analyse, files, ordered=False)
    entries = []
    for entry in progress(census, len(files), "balanced"):
        entries.append(entry)
        if len(entries) == len(files) // 2:
            kill()
    return sorted(entries, key=lambda entry: entry["file"]), census


# --- telling it ---------------------------------------------------------------------------------


def progress(entries, total, title, unit="files"):
    """Pass the entries on; show a bar on a terminal, and elsewhere a line per quarter."""
    terminal = sys.stderr.isatty()
    bar = tqdm(entries, f"{title:8}", total, unit=f" {unit}", disable=not terminal)
    for done, entry in enumerate(bar, 1):
        if not terminal and done * 4 // total > (done - 1) * 4 // total:
            print(f"{title}: {done:,} of {total:,} {unit}", file=sys.stderr)
        yield entry


def timed(function, *arguments):
    """What the function returns, and the seconds it took."""
    start = time.perf_counter()
    answer = function(*arguments)
    return answer, time.perf_counter() - start


def report(library, census, seconds, done):
    """Print the table; `done` is the result of the balanced run, with its metadata."""
    counts = ("lines", "functions", "branches")
    lines, functions, branches = (sum(entry[what] for entry in census) for what in counts)
    print(f"\n{len(census):,} files, {lines:,} lines, {functions:,} functions, ", end="")
    print(f"{branches / functions:.1f} branches per function\n")

    print("           seconds  speed-up")
    for name, took in seconds.items():
        print(f"{name:9} {took:8.2f} {seconds['serial'] / took:9.2f}")

    per_engine = Counter(done.engine_id)
    retried = sum(task["attempt"] > 1 for task in done.metadata)
    shares = ", ".join(f"engine {engine}: {n:,}" for engine, n in sorted(per_engine.items()))
    print(f"\ntasks of the balanced run  {shares}")
    print(f"tasks retried              {retried}")

    print(f"\nthe {TOP} most complex functions: branches, place")
    everything = [(*function, entry["file"]) for entry in census for function in entry["top"]]
    for count, name, line, path in sorted(everything, reverse=True)[:TOP]:
        print(f"{count:5}  {name:18} {os.path.relpath(path, library)}:{line}")


def main(library):
    installed = {"site-packages", "dist-packages"}
    paths = [path for path in library.rglob("*.py") if not installed & set(path.parts)]
    files = sorted(map(str, paths))

    cluster = Cluster(n=ENGINES)
    seconds = {}
    with cluster as rc:

        def kill():
            victim = cluster.engine_pids[0]
            tqdm.write(f"killing engine 0 (pid {victim}) with SIGKILL", file=sys.stderr)
            os.kill(victim, signal.SIGKILL)

        expected, seconds["serial"] = timed(serial, files)
        at_once, seconds["direct"] = timed(direct, rc, files)
        (in_turn, done), seconds["balanced"] = timed(balanced, rc, files, kill)

    report(library, expected, seconds, done)
    if not expected == at_once == in_turn:
        sys.exit("the answers differ")
    print("\nserial, direct and balanced give the same answer.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("stdlib")))
