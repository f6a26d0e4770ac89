"""The interface of 2008: `from enginery.kernel import client; tc = client.TaskClient()`.

Written on top of the modern one, and on the same cluster. On an engine, `EngineAPI` is what code
says of the engine that runs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import client
    from .engineapi import EngineAPI

__all__ = ["EngineAPI", "client"]


def __getattr__(name: str) -> Any:
    if name == "client":
        return import_module(".client", __name__)
    if name == "EngineAPI":
        return import_module(".engineapi", __name__).EngineAPI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
