"""Cutting sequences into contiguous pieces, one per engine, and joining such pieces again.

`join(partition(seq, k))` equals `seq` for lists, tuples, strings, bytes, numpy arrays (cut along
axis 0) and pandas objects; ranges and other iterables come back as lists. numpy and pandas are
never imported here: whoever hands us one of their objects has done so already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import ModuleType
from typing import Any


def bounds(length: int, pieces: int) -> Iterator[tuple[int, int]]:
    """Give (start, stop) of each of `pieces` contiguous pieces, whose sizes differ by 1 at most."""
    size, longer = divmod(length, pieces)
    start = 0
    for i in range(pieces):
        stop = start + size + (i < longer)
        yield start, stop
        start = stop


def partition(seq: Any, pieces: int) -> list[Any]:
    """Cut `seq` into `pieces` contiguous pieces of its own kind; the first ones are the longer.

    Arrays are cut along axis 0, as views. Ranges, iterables without a length and what cannot be
    sliced give lists. A mapping or a set has no order to cut by: TypeError.
    """
    if isinstance(seq, Mapping | set | frozenset):
        raise TypeError(f"a {type(seq).__name__} cannot be cut into pieces: it is not a sequence")
    if isinstance(seq, range) or not (hasattr(seq, "__len__") and hasattr(seq, "__getitem__")):
        seq = list(seq)
    by_position = getattr(seq, "iloc", seq)
    cuts = [slice(*cut) for cut in bounds(len(seq), pieces)]
    try:
        return [by_position[cut] for cut in cuts]
    except TypeError:  # as a deque says, which gives single items only
        items = list(seq)
        return [items[cut] for cut in cuts]


def flattened(pieces: Sequence[Any]) -> list[Any]:
    """The same pieces, but the item itself in the place of a piece with one."""
    return [getattr(piece, "iloc", piece)[0] if len(piece) == 1 else piece for piece in pieces]


def join(pieces: Sequence[Any]) -> Any:
    """Join pieces, in their order, to one object of their kind; undoes `partition`.

    Pieces of different kinds of sequences give a list, and so do pieces that are no sequences.

    `scatter(flatten=True)` leaves a bare item, or a row, where a piece had one. Beside longer or
    empty pieces it is put back among their items. Where all are bare nothing tells them from
    pieces: texts, lists and rows are joined end to end, and other items give a list. So do those
    of bytes (numbers) and of Series (without an index) in any case. `pull` gives what each has.
    """
    if not pieces:
        return []
    first = pieces[0]
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if pandas is not None and _all_are(pieces, (pandas.Series, pandas.DataFrame, pandas.Index)):
        return _join_pandas(pandas, pieces)
    if numpy is not None and _all_are(pieces, (numpy.ndarray, numpy.generic)):
        return _join_arrays(numpy, pieces)
    if _all_are(pieces, str):
        return "".join(pieces)
    if _all_are(pieces, (bytes, bytearray, memoryview)):
        return bytearray().join(pieces) if isinstance(first, bytearray) else b"".join(pieces)
    series = [piece for piece in pieces if _is_series(piece)]
    if len(series) < len(pieces):
        if not _sizes_of_partition([len(p) if _is_series(p) else 1 for p in pieces]):
            return list(pieces)
        pieces = [piece if _is_series(piece) else (piece,) for piece in pieces]
    items = chain.from_iterable(pieces)
    return tuple(items) if series and _all_are(series, tuple) else list(items)


def _all_are(pieces: Iterable[Any], kinds: Any) -> bool:
    return all(isinstance(piece, kinds) for piece in pieces)


def _is_series(piece: Any) -> bool:
    """Whether the items of this piece belong into the list that joins all pieces."""
    if isinstance(piece, str | bytes | bytearray | Mapping | set | frozenset):
        return False
    return hasattr(piece, "__iter__") and hasattr(piece, "__len__") and _has_length(piece)


def _has_length(piece: Any) -> bool:
    try:
        len(piece)
    except TypeError:  # an array without dimensions: an item, not a piece
        return False
    return True


def _sizes_of_partition(sizes: Sequence[int]) -> bool:
    """Whether `partition` makes pieces of such sizes."""
    return list(sizes) == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


def _join_arrays(numpy: ModuleType, pieces: Sequence[Any]) -> Any:
    arrays = [numpy.asanyarray(piece) for piece in pieces]
    dimensions = max(array.ndim for array in arrays)
    if not dimensions:
        return list(pieces)
    if any(array.ndim < dimensions for array in arrays):  # rows, or items of one dimension
        arrays = [array if array.ndim == dimensions else array[None] for array in arrays]
        fit = all(array.ndim == dimensions for array in arrays)
        if not (fit and _sizes_of_partition(list(map(len, arrays)))):
            return list(pieces)
    masked = any(isinstance(array, numpy.ma.MaskedArray) for array in arrays)
    return (numpy.ma if masked else numpy).concatenate(arrays)


def _join_pandas(pandas: ModuleType, pieces: Sequence[Any]) -> Any:
    frames = [piece for piece in pieces if isinstance(piece, pandas.DataFrame)]
    if frames:
        pieces = [_as_frame(pandas, piece, frames[0]) for piece in pieces]
    # empty pieces say nothing but their dtype, which would widen the dtype of the others
    filled = [piece for piece in pieces if len(piece)] or list(pieces[:1])
    if isinstance(filled[0], pandas.Index):
        return filled[0].append(filled[1:])
    return pandas.concat(filled)


def _as_frame(pandas: ModuleType, piece: Any, other: Any) -> Any:
    """A frame, also of what is a row of such as the other one."""
    if isinstance(piece, pandas.Series) and piece.index.equals(other.columns):
        return piece.to_frame().T.astype(other.dtypes)
    return piece
