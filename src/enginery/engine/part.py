"""What a task says of itself while it runs: how far it is."""

from __future__ import annotations

import math

from .namespace import here


def progress(k: float, n: float = 1.0) -> None:
    """Tell, from within a task, that `k` of `n` parts of it are done; the bar of its call moves.

        def fit(data):
            for i, part in enumerate(data):
                enginery.progress(i, len(data))
                ...

    It may be called as often as you like. In a program that is no engine it does nothing. Raises
    ValueError unless `k` and `n` are numbers and `k` is from 0 to `n`.
    """
    if not (math.isfinite(n) and 0 <= k <= n and n > 0):
        raise ValueError(f"progress(k, n) is told that k of n are done, not {k!r} of {n!r}")
    try:
        space = here()
    except RuntimeError:  # the function is tried at home
        return
    space.report(k / n)
