"""Memory by its address: mapped without keeping a descriptor, copied and compared without the GIL.

Python's own `mmap` keeps a descriptor open for each mapping, and a process has few of those; its
memoryviews are compared byte by byte. So the C library is called here.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from functools import cache
from typing import Any

_FAILED = ctypes.c_void_p(-1).value
_POPULATE_READ = 22  # an advice that Linux knows since 5.14


class _PyBuffer(ctypes.Structure):
    """Python's `Py_buffer`, which is the same in all versions since 3.11."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    libc.munmap.argtypes = [pointer, size]
    libc.madvise.argtypes = [pointer, size, number]
    libc.memcmp.argtypes = [pointer, pointer, size]
    return libc


def mapped(fd: int, size: int, writable: bool = False) -> Any:
    """Map a file of this size; a ctypes array whose end unmaps it. Raises OSError.

    The descriptor may be closed: the mapping keeps the open file, and the locks on it.
    """
    libc = _libc()
    access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    address = libc.mmap(None, size, access, mmap.MAP_SHARED, fd, 0)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    array = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(array, libc.munmap, address, size).atexit = False
    return array


def populate(target: int, size: int) -> None:
    """Bring pages that are there into a mapping all at once; without this, one by one.

    It can be written through all the same; the advice for writing takes twice as long.
    """
    _libc().madvise(target, size, _POPULATE_READ)  # where it is not known, nothing happens


def address(view: memoryview) -> int:
    """Where this contiguous memory is; the view must live on as long as that is used."""
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    try:
        return int(buffer.buf or 0)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


def copy(view: memoryview, target: int) -> None:
    """Copy contiguous memory to this address."""
    ctypes.memmove(target, address(view), view.nbytes)


def same(view: memoryview, other: int) -> bool:
    """Whether this contiguous memory is the same as what is at that address."""
    return not _libc().memcmp(address(view), other, view.nbytes)
