"""The import graph of the standard library, run as a graph of tasks and drawn.

    pip install networkx matplotlib
    python examples/dag.py                  draws dag.png
    python examples/dag.py PICTURE          draws that file instead

Each module of the standard library is a task: to count its lines and compile it. It runs after the
tasks of all modules that it imports, wherever an engine is free. Modules that import each other in
a circle are one task. The picture shows every task at the time it ran, coloured by its engine, with
the imports as arrows; the times prove that no task began before what it depends on had ended.
"""

import ast
import sys
import sysconfig
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a file is drawn; no window is needed

import matplotlib.pyplot as plt
import networkx as nx

from enginery import Cluster

ENGINES = 4


def module_files():
    """The source files of the standard library's modules, by the module's name."""
    library = Path(sysconfig.get_path("stdlib"))
    files = {}
    for name in sorted(sys.stdlib_module_names):
        path = library / f"{name}.py"
        if path.exists():
            files[name] = [str(path)]
        elif (library / name / "__init__.py").exists():
            paths = (library / name).rglob("*.py")
            files[name] = sorted(str(path) for path in paths if "tests" not in path.parts)
    return {name: paths for name, paths in files.items() if name != "test"}


def imported(paths):
    """The top-level modules that these sources import before they do anything else."""
    names = set()
    for path in paths:
        for node in ast.parse(Path(path).read_bytes()).body:
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


def task_graph(files):
    """A DAG whose nodes are modules, or circles of them, each after what it imports."""
    imports = nx.DiGraph()
    imports.add_nodes_from(files)
    for name, paths in files.items():
        imports.add_edges_from((other, name) for other in imported(paths) if other in files)
    return nx.condensation(imports)  # its nodes have "members": the names in one circle


def examine(paths):
    """The lines of these sources; they are compiled, too."""
    lines = 0
    for path in paths:
        source = Path(path).read_bytes()
        lines += source.count(b"\n")
        compile(source, path, "exec", dont_inherit=True)
    return lines


def run(graph, files, lview):
    """Submit every node after those it depends on; the results, by node."""
    results = {}
    for node in nx.topological_sort(graph):
        paths = [path for name in graph.nodes[node]["members"] for path in files[name]]
        with lview.temp_flags(after=[results[before] for before in graph.predecessors(node)]):
            results[node] = lview.apply_async(examine, paths)
    return results


def draw(graph, results, picture):
    """Time goes to the right, the depth in the graph downwards; a colour for each engine."""
    begun = min(result.started for result in results.values())
    depth = {}
    for node in nx.topological_sort(graph):
        depth[node] = 1 + max((depth[before] for before in graph.predecessors(node)), default=0)
    where = {
        node: ((result.started - begun).total_seconds() * 1000, -depth[node] - node % 7 / 10)
        for node, result in results.items()
    }
    figure, axes = plt.subplots(figsize=(14, 8))
    engines = [results[node].engine_id for node in graph]
    sizes = [20 + results[node].get() / 100 for node in graph]
    nx.draw_networkx_edges(graph, where, ax=axes, width=0.2, alpha=0.3, arrowsize=4)
    nx.draw_networkx_nodes(
        graph,
        where,
        ax=axes,
        node_color=engines,
        node_size=sizes,
        cmap=plt.cm.tab10,
        vmin=0,
        vmax=9,
    )
    largest = sorted(graph, key=lambda node: -results[node].get())[:12]
    names = {node: ", ".join(sorted(graph.nodes[node]["members"])[:2]) for node in largest}
    nx.draw_networkx_labels(graph, where, names, ax=axes, font_size=7)
    axes.tick_params(left=False, bottom=True, labelbottom=True)
    axes.set_xlabel("milliseconds from the first start")
    axes.set_ylabel("depth in the import graph")
    axes.set_title(f"{len(graph)} tasks, {graph.number_of_edges()} dependencies, {ENGINES} engines")
    for engine in sorted(set(engines)):
        axes.scatter([], [], color=plt.cm.tab10(engine), label=f"engine {engine}")
    axes.legend(loc="upper right")
    figure.savefig(picture, dpi=120, bbox_inches="tight")


def main(picture="dag.png"):
    """Run the graph, check its order, and draw it."""
    files = module_files()
    graph = task_graph(files)
    with Cluster(n=ENGINES) as rc:
        results = run(graph, files, rc.load_balanced_view())
        lines = sum(result.get() for result in results.values())
    for node in graph:
        for before in graph.predecessors(node):
            assert results[before].completed <= results[node].started, "out of order"
    draw(graph, results, picture)
    took = max(r.completed for r in results.values()) - min(r.started for r in results.values())
    print(
        f"{len(files)} modules in {len(graph)} tasks with {graph.number_of_edges()} dependencies,"
    )
    print(f"{lines:,} lines in {took.total_seconds():.2f} s, every task after what it imports")
    print(f"drawn: {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
