"""The view that addresses engines: each request runs on each of them, in their order."""

from __future__ import annotations

import sys
import tokenize
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from ..error import NotSupportedError
from ..frames import inner, trims
from . import actions, magics
from .actions import Action
from .calls import Args, Kwargs, name_of
from .display import reprs
from .executed import ExecuteResult
from .imports import SyncImports
from .map import MapOptions, direct_map
from .modules import module_source
from .names import name_or_names
from .properties import Properties
from .results import AsyncResult
from .scatter import flattened, partition
from .targets import Targets, present, resolve
from .views import View

if TYPE_CHECKING:
    from .block import RemoteBlock
    from .client import Client


@trims
class DirectView(Properties, View):
    """Runs each request once on every engine of `targets`, and gives results in their order.

    One engine (`rc[0]`) gives bare values, several (`rc[:]`, `rc[0, 2]`) lists, "all" lists over
    the engines there are at each call. What sends code or data by name (`execute`, `run`, `push`,
    `pull`, `scatter`, `gather`, …) takes `targets` and `block` for this call. `apply` hands all
    that it is given to the function: for one call, use `rc[0]`, or `view.temp_flags`.
    """

    __slots__ = ()

    def __init__(self, client: Client, targets: Targets) -> None:
        super().__init__(client, targets)

    # --- code -----------------------------------------------------------------------------------

    def execute(
        self, code: str, targets: Any = None, block: bool | None = None, *, silent: bool = False
    ) -> Any:
        """Run code in the engines' namespaces; results are `ExecuteReply` objects.

        Nothing depends on `silent`: what the code gives is shown only where a result is.

        >>> dview.execute("import os; half = 21", block=True)[0].status
        'ok'
        >>> dview["half"]
        [21, 21, 21, 21]
        """
        view = self.variant(targets=targets, block=block)
        return view.finish(view.execute_at(code, "", "execute"))

    def run(self, filename: str | Path, targets: Any = None, block: bool | None = None) -> Any:
        """Run the text of a file that is here, as by `execute`; tracebacks name the file.

        OSError or SyntaxError when it cannot be read as Python source; nothing is submitted then.

        >>> _ = Path("start.py").write_text("ready = True")
        >>> _ = dview.run("start.py", block=True)
        >>> dview["ready"]
        [True, True, True, True]
        """
        path = Path(filename).expanduser()
        view = self.variant(targets=targets, block=block)
        return view.finish(view.execute_at(_source(path), str(path), "run"))

    def remote_block(self, targets: Any = None, block: bool | None = None) -> RemoteBlock:
        """Make a context manager: the body of its `with` runs on the engines, and not here.

        As by `execute`, and with the engines' names alone. Of `with view.remote_block() as done:`,
        `done.result` is the `AsyncResult`. SyntaxError for a body that cannot run elsewhere,
        RuntimeError where its text cannot be had (`python -c`); nothing runs then.
        """
        from .block import RemoteBlock

        return RemoteBlock(self.variant(targets=targets, block=block))

    def activate(self, suffix: str = "") -> None:
        """Make `%px<suffix>` and the other magics work on this view, and by its flags.

        RuntimeError outside IPython.
        """
        magics.activate(self, suffix)

    def sync_imports(self, local: bool = True, quiet: bool = True) -> SyncImports:
        """Make a context manager: what its block imports is imported on the engines too.

        It says nothing of that, also without `quiet`. NotSupportedError unless `local`: Python
        imports it here before it can be known what is imported.

        >>> with dview.sync_imports():
        ...     import statistics
        >>> dview.apply_sync(lambda: statistics.mean([1, 3]))
        [2, 2, 2, 2]
        """
        if not local:
            raise NotSupportedError(
                "sync_imports imports here, too\n"
                '  On the engines alone:  view.execute("import numpy")'
            )
        return SyncImports(lambda code: self.execute(code, block=True))

    def sync_path(self, targets: Any = None, block: bool | None = None) -> Any:
        """Give the engines the `sys.path` of this process.

        >>> dview.sync_path(block=True)
        [None, None, None, None]
        """
        return self._do(actions.set_path, (list(sys.path),), targets, block)

    def push_module(
        self, module: str | ModuleType, targets: Any = None, block: bool | None = None
    ) -> Any:
        """Send the source of a module, or of the package it is in; gives None for each engine.

        These engines can import it then, and whichever engine works for this client later, also
        one that joins later. What they had imported by its name is renewed, as by
        `importlib.reload`, when the source has changed: push it again after changes. Only the
        `.py` files go along, and none of what they import. ModuleNotFoundError when it is not
        importable here, UnsendableError for compiled code, for more than 4 MiB, and for what every
        engine has.

        >>> _ = Path("mine.py").write_text("def f(): return 42")
        >>> dview.push_module("mine", block=True)
        [None, None, None, None]
        >>> dview.execute("import mine; x = mine.f()", block=True)[0].status
        'ok'
        """
        view = self.variant(targets=targets, block=block)
        view.places()  # there must be engines
        source = module_source(module)
        self.client.calls.modules.add(source)
        return view._do(actions.push_module, (source.name,), None, None)

    # --- names ----------------------------------------------------------------------------------

    def push(self, names: Mapping[str, Any], targets: Any = None, block: bool | None = None) -> Any:
        """Set names in the engines' namespaces; gives None for each engine.

        >>> dview.push({"a": 1, "b": np.ones(3)}, block=True)
        [None, None, None, None]
        >>> rc[0]["b"]
        array([1., 1., 1.])
        """
        names = dict(names)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"a name is a text, not {name!r}")
        return self._do(actions.push, (names,), targets, block)

    def pull(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Get the value of a name, or a list with the values of several, from each engine.

        >>> dview.push({"a": 1, "b": 2}, block=True)
        [None, None, None, None]
        >>> dview.pull("a", block=True)
        [1, 1, 1, 1]
        >>> rc[0].pull(["a", "b"], block=True)
        [1, 2]
        """
        return self._do(actions.pull, (name_or_names(names),), targets, block)

    def push_function(
        self,
        functions: Mapping[str, Any],
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Set functions in the engines' namespaces; gives None for each engine.

        Those of `__main__` then run with these namespaces as their globals. TypeError for a value
        that cannot be called.

        >>> dview.push_function({"twice": lambda x: 2 * x}, block=True)
        [None, None, None, None]
        >>> rc[0].execute("y = twice(4)", block=True).status
        'ok'
        """
        functions = dict(functions)
        for name, value in functions.items():
            if not isinstance(name, str):
                raise TypeError(f"a name is a text, not {name!r}")
            if not callable(value):
                kind = type(value).__name__
                raise TypeError(f"{name!r} is no function but {kind}: push() sends any value")
        return self._do(actions.push_function, (functions,), targets, block)

    def pull_function(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Get a function, or a list of several, from each engine; they can be called here.

        Those of the engines' namespaces then have this `__main__` as their globals. Raises
        TypeError for a value that cannot be called.

        >>> _ = dview.execute("def twice(x): return 2 * x", block=True)
        >>> rc[0].pull_function("twice", block=True)(4)
        8
        """
        return self._do(actions.pull_function, (name_or_names(names),), targets, block)

    def zip_pull(self, names: Iterable[str], targets: Any = None) -> list[tuple[Any, ...]]:
        """Get for each name the tuple of its values on the engines; always waits.

        >>> _ = dview.push({"a": 1, "b": 2}, block=True)
        >>> dview.zip_pull(["a", "b"])
        [(1, 1, 1, 1), (2, 2, 2, 2)]
        """
        rows = self.pull(list(names), targets, block=True)
        engines = self._targets if targets is None else self._resolved(targets)
        return list(zip(*([rows] if isinstance(engines, int) else rows), strict=True))

    # --- as a mapping ----------------------------------------------------------------------------

    def update(self, names: Mapping[str, Any]) -> Any:
        """Set names in the engines' namespaces; as `push`.

        >>> dview.update({"a": 1}).get()
        [None, None, None, None]
        """
        return self.push(names)

    def get(self, name: str) -> Any:
        """Get the value of a name from each engine; as `pull`.

        >>> dview["a"] = 7
        >>> dview.get("a").get()
        [7, 7, 7, 7]
        """
        return self.pull(name)

    def __getitem__(self, name: str) -> Any:
        if not isinstance(name, str):
            raise TypeError(f"a name is a text, not {name!r}; an engine of a client: rc[{name!r}]")
        return self.pull(name, block=True)

    def __setitem__(self, name: str, value: Any) -> None:
        self.push({name: value}, block=True)

    def scatter(
        self,
        name: str,
        sequence: Any,
        dist: Literal["b"] = "b",
        *,
        flatten: bool = False,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Give each engine one contiguous piece of a sequence under this name.

        With `flatten` an engine whose piece has one item gets the item itself. `gather` puts these
        together again, but takes texts, lists and rows of arrays for pieces when all have one.

        >>> _ = dview.scatter("part", np.arange(8), block=True)
        >>> rc[1]["part"]
        array([2, 3])
        >>> _ = dview.scatter("rank", range(4), flatten=True, block=True)
        >>> dview["rank"]
        [0, 1, 2, 3]
        """
        _only_blocks(dist)
        view = self.variant(targets=targets, block=block)
        places = view.places()
        pieces = partition(sequence, len(places))
        if flatten:
            pieces = flattened(pieces)
        placed = [(place, ({name: piece},)) for place, piece in zip(places, pieces, strict=True)]
        slots = self.client.calls.each(actions.push, placed, {}, "scatter", view.wishes)
        return view.finish(self.client.result(slots, name="scatter", shape=view.shape))

    def gather(
        self, name: str, dist: Literal["b"] = "b", targets: Any = None, block: bool | None = None
    ) -> Any:
        """Join the pieces that the engines have under this name, in their order.

        >>> _ = dview.scatter("part", np.arange(8), block=True)
        >>> _ = dview.execute("part = part ** 2", block=True)
        >>> dview.gather("part", block=True)
        array([ 0,  1,  4,  9, 16, 25, 36, 49])
        """
        _only_blocks(dist)
        view = self.variant(targets=targets, block=block)
        return view.finish(
            view.join(actions.pull, [(place, (name,)) for place in view.places()], {}, "gather")
        )

    # --- engines --------------------------------------------------------------------------------

    def clear(self, targets: Any = None, block: bool | None = None) -> None:
        """Remove every name of the user from the engines; see `Client.clear`.

        >>> dview["a"] = 1
        >>> dview.clear()
        >>> dview.apply_sync(lambda: "a" in globals())
        [False, False, False, False]
        """
        self.client.clear(self._targets if targets is None else targets)

    def abort(
        self,
        jobs: Any = None,
        targets: Any = None,
        running: bool = False,
        block: bool | None = None,
    ) -> None:
        """Abort jobs of this client; without any named, all it has on these engines.

        See `Client.abort`.

        >>> ar = rc[0].apply_async(time.sleep, 60)
        >>> rc[0].abort(running=True)
        >>> type(ar.exception(timeout=30)).__name__
        'TaskAborted'
        """
        if jobs is None:
            engines = set(self.variant(targets=targets).places())
            jobs = [s.id for s in self.client.calls.outstanding() if s.engine in engines]
        self.client.abort(jobs, running=running)

    def queue_status(self, targets: Any = None, verbose: bool = False) -> Any:
        """How much work waits at each engine; see `Client.queue_status`.

        >>> rc[0].queue_status()["queue"]
        0
        """
        return self.client.queue_status(self._targets if targets is None else targets, verbose)

    def shutdown(
        self, targets: Any = None, restart: bool = False, hub: bool = False, block: bool = True
    ) -> None:
        """End these engines; see `Client.shutdown`.

        >>> before = rc[0].apply_sync(os.getpid)
        >>> rc[0].shutdown(restart=True)
        >>> rc[0].apply_sync(os.getpid) == before
        False
        """
        targets = self._targets if targets is None else targets
        self.client.shutdown(targets, restart=restart, hub=hub, block=block)

    def imap(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncResult:
        """As `map_async`: the result iterates as values arrive.

        >>> for value in dview.imap(abs, [-1, -2, -3]):
        ...     print(value)
        1
        2
        3
        """
        return self.map_async(f, *sequences, **options)

    def __len__(self) -> int:
        return len(present(self._targets, self.client.ids)) if self.client.ids else 0

    def __repr__(self) -> str:
        targets = self._targets
        return f"<DirectView {reprs.listed(targets) if isinstance(targets, list) else targets}>"

    def _repr_html_(self) -> str:
        return reprs.html(repr(self))

    # --- as every view --------------------------------------------------------------------------

    def places(self) -> Sequence[int]:
        """The engines that this view addresses now, in their order."""
        return present(self._targets, self.client.ids)

    @property
    def shape(self) -> Literal["single", "list"]:
        """Whether results are bare values or lists."""
        return "single" if isinstance(self._targets, int) else "list"

    def _resolved(self, targets: Any) -> Targets:
        if targets is None:
            raise TypeError("targets=None means load balancing: use rc.load_balanced_view()")
        return resolve(targets, self.client.ids)

    def _do(
        self,
        action: Action,
        args: Args,
        targets: Any,
        block: bool | None,
    ) -> Any:
        view = self.variant(targets=targets, block=block)
        return view.finish(view.request(action, args, {}, action.__name__, waiting=view.block))

    @inner
    def request(
        self,
        f: Callable[..., Any],
        args: Args,
        kwargs: Kwargs,
        name: str,
        *,
        kind: type[AsyncResult] = AsyncResult,
        waiting: bool = False,
    ) -> AsyncResult:
        """Have each engine call `f`, under this name in messages; what other interfaces stand on.

        `waiting` promises that the caller waits for the result at once.
        """
        client = self.client
        slots = client.calls.same(
            f, args, kwargs, name, engines=self.places(), wishes=self.wishes, waiting=waiting
        )
        return client.result(slots, kind, name=name, shape=self.shape)

    @inner
    def execute_at(self, code: str, filename: str, name: str, first_line: int = 1) -> AsyncResult:
        """As `execute`, of code that begins at this line of a file."""
        args = (code, filename, first_line)
        return self.request(actions.execute, args, {}, name, kind=ExecuteResult)

    def _apply(
        self, f: Callable[..., Any], args: Args, kwargs: Kwargs, waiting: bool = False
    ) -> AsyncResult:
        return self.request(f, args, kwargs, f"apply({name_of(f)})", waiting=waiting)

    def _map(
        self, f: Callable[..., Any], sequences: Sequence[Any], options: MapOptions
    ) -> AsyncResult:
        return direct_map(self, f, sequences, options)


def _source(path: Path) -> str:
    """The text of a Python file, in the encoding that it declares."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except OSError as error:
        told = f"{path}: {error.strerror}; run() reads a file on this side, in {Path.cwd()}"
        raise type(error)(error.errno, told) from None
    except (SyntaxError, UnicodeDecodeError):
        why = "it is neither in UTF-8 nor in an encoding that it declares"
        raise SyntaxError(f"{path} is no text of Python: {why}") from None


def _only_blocks(dist: str) -> None:
    if dist != "b":
        raise ValueError(f"dist={dist!r} is not known; sequences are cut in contiguous blocks: 'b'")
