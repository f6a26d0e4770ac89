"""Who may import whom: the package is layered, its core is pure, its controller opens no pickle."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import enginery

ROOT = Path(enginery.__file__).parent

BASE = {"colours", "error", "frames", "version"}
LEFT_OF_NET = {*BASE, "log", "schemes", "core", "wire.codec"}
LEFT_OF_PROCESSES = {*LEFT_OF_NET, "net"}
PROCESSES = {"controller", "engine", "client"}

MAY_IMPORT = {
    "colours": set[str](),
    "error": {"colours", "frames"},
    "frames": {"colours", "error"},
    "version": set[str](),
    "log": BASE,
    "schemes": BASE,
    "core": {*BASE, "schemes"},
    "wire.codec": {*BASE, "core"},
    "wire": {*BASE, "core", "wire.codec"},
    "net": LEFT_OF_NET,
    "controller": LEFT_OF_PROCESSES,
    "engine": {*LEFT_OF_PROCESSES, "wire"},
    "client": {*LEFT_OF_PROCESSES, "wire"},
    "cluster": {*LEFT_OF_PROCESSES, *PROCESSES},
    "kernel": {*LEFT_OF_PROCESSES, "wire", "client", "cluster"},
    "cli": {*LEFT_OF_PROCESSES, *PROCESSES, "cluster"},
    "enginery": {*BASE, "schemes", "wire", "client", "cluster"},
    "__main__": {"cli"},
}
"""A layer may import itself, and what stands here beside it. `wire` is what opens payloads."""

CLOCKS_AND_CHANCE = {"time", "random", "secrets", "uuid"}
FILES_AND_PROCESSES = {"os", "io", "tempfile", "subprocess", "multiprocessing", "logging"}
SOCKETS_AND_THREADS = {"socket", "select", "selectors", "zmq", "asyncio", "threading"}
PICKLES = {"pickle", "cloudpickle"}
IMPURE = CLOCKS_AND_CHANCE | FILES_AND_PROCESSES | SOCKETS_AND_THREADS | PICKLES
"""What the core must not know of: sockets, clocks, chance, threads, files, pickles."""

HEAVY = ("IPython", "numpy", "pandas", "psutil", "sqlalchemy", "tqdm", "traitlets")


def module_name(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def layer(module: str) -> str:
    """The layer of a module of the package."""
    _, _, inside = module.partition(".")
    if inside in {"wire", "wire.codec", "wire.pieces"}:  # `wire` itself is an empty package
        return "wire.codec"
    if inside.startswith("wire.memory"):
        return "wire.codec"
    return inside.split(".")[0] or "enginery"


def imports(module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, also inside its functions."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            origin = ".".join(filter(None, [above if node.level else "", node.module]))
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else origin


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, without what stands under `if TYPE_CHECKING`, which never runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from statements(node)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_to_its_left(module: str) -> None:
    own = layer(module)
    allowed = MAY_IMPORT[own] | {own}
    wrong = [
        f"{MODULES[module]}:{line} imports {name}"
        for line, name in imports(module)
        if name.split(".")[0] == "enginery" and layer(name) not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) in {"core", "schemes"}])
def test_the_core_is_pure(module: str) -> None:
    wrong = [
        f"{MODULES[module]}:{line} imports {name}"
        for line, name in imports(module)
        if name.split(".")[0] in IMPURE
    ]
    assert wrong == []


def makes_a_socket(node: ast.AST) -> bool:
    """Whether this is a call that makes a socket; to wrap a descriptor that is open is not."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith((".socket", ".Socket"))
        and not any(keyword.arg == "fileno" for keyword in node.keywords)
    )


def test_sockets_are_made_in_one_file() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for module, path in MODULES.items()
        if module != "enginery.net.sockets"
        for node in ast.walk(ast.parse(path.read_text()))
        if makes_a_socket(node)
    ]
    assert wrong == []


def loaded_by(statement: str) -> set[str]:
    """The modules that are there after a statement, in a new interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


def test_the_controller_process_never_loads_what_opens_payloads() -> None:
    loaded = loaded_by("import enginery.controller.service, enginery.cli.ipcontroller")
    wire = {name for name in loaded if name.startswith("enginery.wire")}
    opaque = {"enginery.wire", "enginery.wire.codec", "enginery.wire.pieces"}
    assert {name for name in wire if not name.startswith("enginery.wire.memory")} == opaque
    assert loaded.isdisjoint({"cloudpickle", "sqlalchemy"})


@pytest.mark.parametrize(
    "statement", ["import enginery", "from enginery import Client, Cluster, Reference"]
)
def test_import_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement).isdisjoint(HEAVY)


def test_a_command_that_looks_at_a_cluster_loads_nothing_heavy() -> None:
    loaded = loaded_by("import enginery.cli.ask, enginery.client.connect")
    assert loaded.isdisjoint({*HEAVY, "cloudpickle", "asyncio", "importlib.metadata"})
