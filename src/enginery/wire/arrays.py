"""Arrays and memoryviews: sent without a copy where that can be, received read-only always.

numpy itself sends plain contiguous arrays out of band, and what is received out of band is
read-only. The others (strided, dates, objects, subclasses) are brought to it here.
"""

from __future__ import annotations

import sys
from pickle import PickleBuffer
from typing import Any

_NATIVE = frozenset("cbB?hHiIlLqQnNfdP")


def is_array(value: Any) -> bool:
    """Whether this is a numpy array, of any subclass."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(type(value), numpy.ndarray)


def reduce_array(array: Any) -> Any:
    """Reduce a numpy array so that it arrives read-only (the pickle protocol's `__reduce__`)."""
    numpy = sys.modules["numpy"]
    reduction = array.__reduce_ex__(5)
    if type(reduction) is not tuple or len(reduction) != 3:  # 2: a constructor and its buffer
        return reduction
    if type(array) is numpy.ndarray and array.size and not array.dtype.hasobject:
        plain = array if array.flags.forc else numpy.ascontiguousarray(array)
        if array.dtype.kind in "mM":  # numpy gives no buffers of dates, but of their numbers
            return view_as, (plain.view("i8"), array.dtype)
        if plain is not array:
            return plain.__reduce_ex__(5)
    return (*reduction, None, None, set_state_read_only)


def view_as(array: Any, dtype: Any) -> Any:
    """Give a view of the array as this dtype."""
    return array.view(dtype)


def set_state_read_only(array: Any, state: Any) -> None:
    """Fill an array that is being unpickled, and lock it."""
    array.__setstate__(state)
    array.flags.writeable = False


def reduce_memoryview(view: memoryview) -> Any:
    """Reduce a memoryview to its buffer; it arrives as a read-only one of the same shape."""
    shape = view.shape or ()
    if not view.c_contiguous:
        return rebuild_memoryview, (PickleBuffer(view.tobytes()), view.format, shape)
    return rebuild_memoryview, (PickleBuffer(view), view.format, shape)


def rebuild_memoryview(buffer: Any, format: str, shape: tuple[int, ...]) -> memoryview:
    """Give a view of this buffer; one of bytes when `format` is none that Python has a name for."""
    view = memoryview(buffer).cast("B")
    if format not in _NATIVE or not view.nbytes or (format == "B" and len(shape) == 1):
        return view
    return view.cast(format, shape)  # type: ignore[call-overload,no-any-return]
