"""The magics: `%px` and its kin, by which an IPython prompt or a notebook works on the engines.

Nothing here loads IPython; what does is loaded once there is an IPython that asks for magics.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..client import Client

__all__ = ["activate", "load", "made"]


def activate(view: Any, suffix: str = "") -> None:
    """Make `%px<suffix>`, `%autopx<suffix>` and the other magics work on a view.

    `view`: a `DirectView`, or an object of another interface that has a method
    `px(code, targets=None, block=None)`, whose result is displayed. RuntimeError outside IPython,
    ValueError for a suffix that cannot be part of a name.
    """
    shell = ipython()
    if shell is None:
        raise RuntimeError(
            "the magics need IPython, and this is plain Python\n"
            "  Without them:  view.execute(code) runs code on the engines"
        )
    from .extension import extension_of

    extension_of(shell).activate(suffix, view)


def load(shell: Any) -> None:
    """Make the magics of this shell known, as by `%load_ext enginery`."""
    from .extension import extension_of

    extension_of(shell)


def made(client: Client) -> None:
    """A client was made: in IPython `%px` works on its engines, unless it works on others'."""
    shell = ipython()
    if shell is not None:
        from .extension import extension_of

        extension_of(shell).offer(client)


def ipython() -> Any:
    """The IPython shell of this process, or None; does not load IPython."""
    module = sys.modules.get("IPython")
    get = getattr(module, "get_ipython", None)  # which is not there while it is being imported
    return None if get is None else get()
