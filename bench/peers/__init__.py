"""Adapters: what each system needs to run a workload, and no more.

An adapter can do the workloads for which it has the function; each but `start` is a context that
starts the system with so many engines, gives the following, and ends the system:

    submitter(engines)   submit(f, x), which gives a function that waits for the result
    caller()             call(x): one engine calls `noop(x)`, and what that gave
    mapper(engines)      map(f, items), which gives a list; with the system's default chunks
    searcher(engines)    search(f, data, items), which gives `f(data, item)` of each, as a list
    carrier(engines)     each(f, values): f of one value on each engine;
                         everywhere(f, value): f of the same value on all; both give lists
    grapher(engines)     submit(f, *args), whose arguments may be what it gave before, and get(it)
    start(engines)       seconds from nothing to an answer of each engine
    servers()            the processes, besides this one, that keep account of tasks

`<name>.txt` beside an adapter lists what is to be installed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

Submit = Callable[[Callable[..., Any], Any], Callable[[], Any]]
Map = Callable[[Callable[..., Any], Sequence[Any]], list[Any]]
Search = Callable[[Callable[..., Any], Any, Sequence[Any]], list[Any]]
Each = Callable[[Callable[..., Any], Sequence[Any]], Sequence[Any]]
Everywhere = Callable[[Callable[..., Any], Any], Sequence[Any]]


@contextmanager
def calling(
    submitter: Callable[[int], AbstractContextManager[Submit]],
) -> Iterator[Callable[[int], Any]]:
    """`caller` for a system that has nothing shorter than to submit and wait."""
    from ..workloads.noop import noop

    with submitter(1) as submit:
        yield lambda x: submit(noop, x)()


@contextmanager
def carrying(
    submitter: Callable[[int], AbstractContextManager[Submit]], engines: int
) -> Iterator[tuple[Each, Everywhere]]:
    """`carrier` for a system whose tasks go to whoever is free."""

    def each(f: Callable[..., Any], values: Sequence[Any]) -> list[Any]:
        return [get() for get in [submit(f, value) for value in values]]

    with submitter(engines) as submit:
        yield each, lambda f, value: each(f, [value] * engines)


@contextmanager
def submitting(executor: Callable[[int], Executor], engines: int) -> Iterator[Submit]:
    """`submitter` for a `concurrent.futures.Executor`."""
    with executor(engines) as pool:
        yield lambda f, x: pool.submit(f, x).result


@contextmanager
def mapping(executor: Callable[[int], Executor], engines: int) -> Iterator[Map]:
    """`mapper` for such a one, whose chunks are single items by default."""
    with executor(engines) as pool:
        yield lambda f, items: list(pool.map(f, items))


@contextmanager
def searching(
    mapper: Callable[[int], AbstractContextManager[Map]], engines: int
) -> Iterator[Search]:
    """`searcher` for a system that gets data as a part of the function."""
    with mapper(engines) as run:
        yield lambda f, data, items: run(partial(f, data), items)


def no_servers() -> list[Any]:
    """`servers` of a system that keeps account in the client."""
    return []


def all_answered(pids: Sequence[int], engines: int) -> None:
    """RuntimeError unless so many different processes have answered."""
    if len(set(pids)) != engines:
        raise RuntimeError(f"{engines} engines were wanted, processes {pids} answered")
