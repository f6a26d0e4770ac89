"""What users hold: `from enginery import client; rc = client.Client()`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..error import CompositeError, RemoteError, TimeoutError
    from ..wire.dependent import depend, dependent, require
    from .balanced import LoadBalancedView
    from .client import Client
    from .decorators import ParallelFunction, RemoteFunction, interactive, parallel, remote
    from .dependency import Dependency
    from .direct import DirectView
    from .results import AsyncResult
    from .views import View

__all__ = [
    "AsyncResult",
    "Client",
    "CompositeError",
    "Dependency",
    "DirectView",
    "LoadBalancedView",
    "ParallelFunction",
    "RemoteError",
    "RemoteFunction",
    "TimeoutError",
    "View",
    "depend",
    "dependent",
    "interactive",
    "parallel",
    "remote",
    "require",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(__name__.partition(".")[0]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
