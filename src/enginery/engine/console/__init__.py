"""A Jupyter console on an engine: `bind_kernel` makes the engine a Jupyter kernel besides.

An engine listens only when it is asked to, here. It speaks the messages of Jupyter over sockets of
the file system (no port) in a directory that only its user may enter. A thread answers (`kernel`);
what is typed runs in the main thread (`desk`, `execution`), where tasks run, and in its turn.
Nothing of Jupyter is needed on the engine.
"""

from __future__ import annotations

import os
import platform
import socket

from ..namespace import Namespace, here

NOT_HERE = """bind_kernel() works only on an engine: it makes that engine a Jupyter kernel
  Call it there:  rc[0].apply_sync(enginery.bind_kernel)
  In IPython:     %px from enginery import bind_kernel; bind_kernel()"""


def bind_kernel() -> str:
    """Make this engine a Jupyter kernel besides; the path of its connection file.

    To be called on an engine, whose user can then open a console on it, on the engine's host, with
    the line that is printed: `jupyter console --existing PATH`. Called again, it gives the same
    path. Raises RuntimeError anywhere else than on an engine, and OSError when its sockets cannot
    be made.
    """
    file = bound(_engine())
    print(f"{command(file)}    (on {socket.gethostname()})")
    return file


def bound(space: Namespace) -> str:
    """The connection file of this engine's kernel, which is made where there is none that lives."""
    from .kernel import Kernel

    if not lives(space):
        space.console = Kernel(space)
    file: str = space.console.place.file
    return file


def lives(space: Namespace) -> bool:
    """Whether this engine has a kernel that answers."""
    return space.console is not None and bool(space.console.is_alive())


def command(file: str, console: str = "console") -> str:
    """What to type to attach a console."""
    return f"jupyter {console} --existing {file}"


def banner(engine_id: int) -> str:
    """What a console says first."""
    return (
        f"Engine {engine_id} (process {os.getpid()} on {socket.gethostname()}), "
        f"Python {platform.python_version()}\n"
        "What is typed here runs on the engine, between tasks. The engine goes on when you leave.\n"
    )


def _engine() -> Namespace:
    try:
        space = here()
    except RuntimeError:
        raise RuntimeError(NOT_HERE) from None
    if space.desk is None or not space.desk.open:  # a process that the engine has forked
        raise RuntimeError(NOT_HERE)
    return space
