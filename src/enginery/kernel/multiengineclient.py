"""The client of the 2008 multiengine interface: engines have numbers and are spoken to by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ..client import actions
from ..client.block import with_no_context
from ..client.block_text import Body
from ..client.executed import ResultList
from ..client.metadata import Metadata, metadata
from ..client.names import name_or_names
from ..client.properties import Properties
from ..frames import trims
from . import remote
from .connected import Connected
from .mapper import Mapper
from .pendingresult import Gone, PendingResult, barrier
from .targeted import Targeted
from .taskclient import ParallelFunction


@trims
class MultiEngineClient(Connected, Targeted, Properties):
    """A connection to a cluster whose engines are spoken to by their numbers.

    `MultiEngineClient()` finds the cluster of the default profile,
    `MultiEngineClient(("192.168.1.1", 10105))` one whose key is in the profile,
    `MultiEngineClient("/path/to/ipcontroller-mec.furl")` that of a connection file of any name.
    Waits at most `timeout` seconds for the controller's answer; raises NoControllerError.

    Every call takes `targets` (an engine, a list, "all") and `block`; the attributes of these names
    hold where they are not given: at first "all" and True. Results are lists in the order of the
    targets, also of one engine; what failed is raised as CompositeError. Without `block` a call
    gives a `PendingResult`. `client` is the modern `Client` of the same connection.

    In `with mec:`, `client.remote()` as the first statement has the rest of the block run on the
    engines; any other `with` block closes the client at its end.
    """

    def get_ids(self) -> list[int]:
        """The numbers of the engines that there are now."""
        return self.client.ids

    # --- code -----------------------------------------------------------------------------------

    def execute(self, code: str, targets: Any = None, block: bool | None = None) -> Any:
        """Run code in the engines' namespaces; gives a `ResultList` with what they printed."""
        if not isinstance(code, str):
            raise TypeError(f"a text of code is needed, not {code!r}; a function: mec.map")
        return self._call(lambda view: view.execute(code), targets, block)

    def run(self, filename: str | Path, targets: Any = None, block: bool | None = None) -> Any:
        """Run the text of a file that is here, as by `execute`."""
        return self._call(lambda view: view.run(filename), targets, block)

    def px(self, code: str, targets: Any = None, block: bool | None = None) -> Any:
        """What `%px` does: as `execute`."""
        return self.execute(code, targets, block)

    def activate(self, suffix: str = "") -> None:
        """Have `%px`, `%autopx` and `%result` work on this client; RuntimeError outside IPython.

        With a suffix, as in "1", they are `%px1` and so on.
        """
        from ..client import magics

        magics.activate(self, suffix)

    def get_result(
        self, i: int | None = None, targets: Any = None, block: bool | None = None
    ) -> Any:
        """What the last command of each engine gave, or its `i`-th (its In[i]), of any client.

        Waits for it in the engine's queue. Raises what the command raised, and IndexError (of
        several engines, CompositeError) when an engine knows no such command.
        """
        number = None if i is None else index(i)
        return self._do(
            actions.command, (number,), targets, block, name="get_result", then=self._replies
        )

    def _replies(self, commands: list[tuple[str, dict[str, str]]]) -> ResultList:
        """What commands of any client gave; their tasks, and what the engines say was printed."""
        slots = self.client.slots_of([task for task, _ in commands])
        replies = self.client.result(slots, name="execute", shape="list").get()
        for reply, slot, (_, printed) in zip(replies, slots, commands, strict=True):
            known = metadata(slot, None)
            here = slot.all_put_out and not slot.mute
            reply.came_with(known if here else Metadata(known | printed))
        return ResultList(replies)

    # --- names ----------------------------------------------------------------------------------

    def push(self, names: Mapping[str, Any], targets: Any = None, block: bool | None = None) -> Any:
        """Set names in the engines' namespaces; gives None for each engine."""
        return self._call(lambda view: view.push(names), targets, block)

    def pull(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Get the value of a name, or a list with the values of several, from each engine."""
        return self._call(lambda view: view.pull(names), targets, block)

    def zip_pull(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Get for each name the tuple of its values on the engines."""
        wanted = name_or_names(names)
        wanted = [wanted] if isinstance(wanted, str) else wanted
        return self._call(
            lambda view: view.pull(wanted),
            targets,
            block,
            lambda rows: list(zip(*rows, strict=True)),
        )

    def push_function(
        self, functions: Mapping[str, Any], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Set functions in the engines' namespaces, whose names they then use."""
        return self._call(lambda view: view.push_function(functions), targets, block)

    def pull_function(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Get a function, or a list of several, from each engine."""
        return self._call(lambda view: view.pull_function(names), targets, block)

    def __getitem__(self, name: str) -> Any:
        if not isinstance(name, str):
            raise TypeError(f"a name is a text, not {name!r}; an engine: mec.pull('a', targets=0)")
        return self.pull(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.push({name: value})

    def keys(self, targets: Any = None, block: bool | None = None) -> Any:
        """The names that are set in each engine's namespace."""
        return self._do(actions.keys, (), targets, block)

    def reset(self, targets: Any = None, block: bool | None = None) -> Any:
        """Remove all names from the engines' namespaces, after what waits in their queues."""
        return self._do(actions.clear, (), targets, block, name="reset")

    def scatter(
        self,
        name: str,
        sequence: Any,
        dist: str = "b",
        *,
        flatten: bool = False,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Give each engine one contiguous piece of a sequence under this name.

        With `flatten` an engine whose piece has one item gets the item itself. `gather` puts these
        together again, but takes texts, lists and rows of arrays for pieces when all have one.
        """
        return self._call(
            lambda view: view.scatter(name, sequence, _blocks(dist), flatten=flatten),
            targets,
            block,
        )

    def gather(
        self, name: str, dist: str = "b", targets: Any = None, block: bool | None = None
    ) -> Any:
        """Join the pieces that the engines have under this name, in their order."""
        return self._call(lambda view: view.gather(name, _blocks(dist)), targets, block)

    # --- functions ------------------------------------------------------------------------------

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Call `f` on each item, or on an item of each of several sequences; gives the list.

        Each engine gets one contiguous part; nothing is balanced.
        """
        return self._call(lambda view: view.map(f, *sequences), targets, block)

    def mapper(self, dist: str = "b", targets: Any = None, block: bool | None = None) -> Mapper:
        """Make an object whose `map` has these options."""
        _blocks(dist)
        return Mapper(self.map, {"targets": targets, "block": block})

    def parallel(
        self, dist: str = "b", targets: Any = None, block: bool | None = None
    ) -> Callable[[Callable[..., Any]], ParallelFunction]:
        """Make a decorator: the function then gets sequences, item by item, and gives lists."""
        _blocks(dist)
        options = {"targets": targets, "block": block}
        return lambda f: ParallelFunction(self.map, f, options)

    # --- queues and engines ---------------------------------------------------------------------

    def barrier(
        self,
        pending: PendingResult | Iterable[PendingResult],
        timeout: float | None = None,
    ) -> None:
        """Wait until these results are there; raises nobody's failure.

        TimeoutError when that takes more than `timeout` seconds.
        """
        barrier([pending] if isinstance(pending, PendingResult) else list(pending), timeout)

    def queue_status(
        self, targets: Any = None, block: bool | None = None, verbose: bool = False
    ) -> Any:
        """For each engine its number and how much is in its queue, as `Client.queue_status` says.

        That is {"queue": waiting, "tasks": sent ahead or running, "completed": ...}, numbers or
        with `verbose` ids.
        """
        engines = self._engines(targets)
        told = self.client.queue_status(engines, verbose)
        return self._now("queue_status", [(id, told[id]) for id in engines], block)

    def clear_queue(self, targets: Any = None, block: bool | None = None) -> Any:
        """Abort what this client has waiting in the engines' queues; what runs goes on.

        What it had been asked for by then raises TaskAborted.
        """
        engines = self._engines(targets)
        self.client.abort(targets=engines)
        return self._now("clear_queue", [None for _ in engines], block)

    def kill(self, controller: bool = False, targets: Any = None, block: bool | None = None) -> Any:
        """End engines, what they run included; with `controller` all of them and the controller.

        This client is closed then. Else it waits until the engines have gone, 30 seconds at most.
        """
        if controller:
            engines = self.client.ids
            self.client.shutdown(hub=True)
            return self._now("kill", [None for _ in engines], block)
        engines = self._engines(targets)
        waits = self._waits(block)
        gone = Gone(self.client.link, engines)
        self.client.shutdown(engines, block=waits)
        return PendingResult(gone) if not waits else gone.get()

    # --- the end --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        remote.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        entered = remote.leave(self)
        if isinstance(error, remote.Leave) and error.entered is entered:
            with_no_context(self._run, error.body)
            return True
        if entered is None or not entered.called:
            self.close()
        return False

    def _run(self, body: Body) -> None:
        """Execute a block."""
        self._call(
            lambda view: view.finish(
                view.execute_at(body.code, body.filename, "execute", body.first_line)
            ),
            None,
            None,
        )


def _blocks(dist: str) -> Literal["b"]:
    if dist != "b":
        raise ValueError(f"dist={dist!r} is not known; sequences are cut in contiguous blocks: 'b'")
    return "b"
