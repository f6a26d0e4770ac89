"""Actors: objects that live on one engine each, and whose methods are called from here.

    python examples/actors.py               counts the words of asyncio's source on four engines

An interface of its own beside the direct and the balanced view, on the public client alone; the
page docs/howto/own-interface.md tells how it is made.
"""

import asyncio
import re
import uuid
import zlib
from collections import Counter
from pathlib import Path

from enginery import Cluster, interactive

ENGINES = 4


@interactive  # it runs with the engine's names as its globals
def make_actor(name, args, kwargs):
    """On the engine: make the object of the class that was pushed under this name."""
    kind = globals().pop(name)
    globals()[name] = kind(*args, **kwargs)


@interactive
def call_actor(name, title, method, args, kwargs):
    """On the engine: call a method of the object; LookupError when it is not there any more."""
    if name not in globals():
        raise LookupError(f"{title} is gone: it was stopped, or its engine died or was cleared")
    return getattr(globals()[name], method)(*args, **kwargs)


@interactive
def drop_actor(name):
    """On the engine: forget the object."""
    globals().pop(name, None)


class Actor:
    """An object that lives on an engine; made by `Actors.start`.

    Its methods are called as if it were here, and each call gives an `AsyncResult`. Calls run one
    after the other, in the order in which they were made, so they may change the object.
    """

    def __init__(self, view, kind):
        self._view, self._name = view, f"_{kind.__name__}_{uuid.uuid4().hex}"
        self._title = f"{kind.__name__} on engine {view.targets}"

    def __getattr__(self, method):
        if method.startswith("_"):
            raise AttributeError(f"{self!r} has no method {method!r} that can be called from here")

        def call(*args, **kwargs):
            return self._view.apply_async(call_actor, self._name, self._title, method, args, kwargs)

        return call

    def __repr__(self):
        return f"<Actor: {self._title}>"


class Actors:
    """The actors of one client; at the end of a `with` block they are gone."""

    def __init__(self, client):
        self.client = client
        self.living = {}  # the engine of each actor

    def start(self, kind, *args, engine=None, **kwargs):
        """Make `kind(*args, **kwargs)` on an engine, by default the one with the fewest actors."""
        if engine is None:
            crowd = Counter(self.living.values())
            engine = min(self.client.ids, key=lambda id: crowd[id])
        view = self.client.direct_view(engine, label=kind.__name__)
        actor = Actor(view, kind)
        view.push({actor._name: kind}, block=True)  # with what its methods mention
        view.apply_sync(make_actor, actor._name, args, kwargs)  # raises what `kind` raises
        self.living[actor] = engine
        return actor

    def stop(self, actor):
        """Forget an actor, after what it was asked before; gives an `AsyncResult`."""
        self.living.pop(actor, None)
        return actor._view.apply_async(drop_actor, actor._name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for result in [self.stop(actor) for actor in list(self.living)]:
            result.wait()


def map_reduce(client, mapper, items, reducers):
    """Give what `mapper(item)` counts to the actors `reducers`, each word to one of them."""
    sent = []
    for counts in client.load_balanced_view().map_async(mapper, items, ordered=False):
        shares = [{} for _ in reducers]
        for word, n in counts.items():
            shares[zlib.crc32(word.encode()) % len(reducers)][word] = n
        sent += [reducer.add(share) for reducer, share in zip(reducers, shares, strict=True)]
    for result in sent:
        result.get()  # raises what has failed


class Tally:
    """A reducer: it counts the words that are given to it."""

    def __init__(self):
        self.counts = Counter()

    def add(self, counts):
        """Count these, too."""
        self.counts.update(counts)

    def most_common(self, n):
        """The words that were counted most, with their numbers."""
        return self.counts.most_common(n)


def words(path):
    """How often each word stands in a file."""
    return Counter(re.findall(r"[a-z]+", Path(path).read_text().lower()))


def main():
    """Count in parallel, and check it against counting here."""
    paths = [str(path) for path in sorted(Path(asyncio.__file__).parent.glob("*.py"))]
    with Cluster(n=ENGINES) as rc, Actors(rc) as actors:
        tallies = [actors.start(Tally) for _ in rc.ids]
        map_reduce(rc, words, paths, tallies)
        told = [tally.most_common(3) for tally in tallies]
        best = [pair for result in told for pair in result.get()]
    found = sorted(best, key=lambda pair: -pair[1])[:3]
    assert found == sum(map(words, paths), Counter()).most_common(3)
    print(f"{len(paths)} files on {ENGINES} engines:", *(f"{word} {n}" for word, n in found))


if __name__ == "__main__":
    main()
