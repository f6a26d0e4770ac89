"""Interactive parallel computing: a controller, any number of engines, and clients.

    import enginery as en

    rc = en.Cluster(n=4).start_and_connect_sync()
    rc[:].apply_sync(os.getpid)                      # on each engine
    rc.load_balanced_view().map_sync(f, range(100))  # on whichever has time

Names are imported when they are first used, so `import enginery` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from . import client, error
    from .client.balanced import LoadBalancedView
    from .client.client import Client
    from .client.decorators import (
        ParallelFunction,
        RemoteFunction,
        interactive,
        parallel,
        remote,
    )
    from .client.dependency import Dependency
    from .client.direct import DirectView
    from .client.display.progress import Watcher
    from .client.joblib_backend import register_joblib_backend
    from .client.results import AsyncHubResult, AsyncResult
    from .client.views import View
    from .cluster.cluster import Cluster
    from .engine.console import bind_kernel
    from .engine.part import progress
    from .error import (
        AbortedTask,
        ClusterError,
        CompositeError,
        ConnectionFileError,
        ControllerLost,
        DependencyError,
        DependencyTimeout,
        EngineError,
        EngineryError,
        ImpossibleDependency,
        JournalError,
        MemoryUnavailable,
        NoControllerError,
        NoEnginesRegistered,
        NotAllowedError,
        NotSupportedError,
        ProtocolError,
        QueryError,
        QueueFull,
        RemoteError,
        ResultExpired,
        TaskAborted,
        TaskError,
        TaskKillsEngines,
        TaskNotDone,
        TaskTimeLimit,
        TimeoutError,
        UnknownTask,
        UnmetDependency,
        UnsendableError,
        VersionMismatch,
    )
    from .wire.canning import register_type
    from .wire.dependent import depend, dependent, require
    from .wire.reference import Reference

__all__ = [
    "AbortedTask",
    "AsyncHubResult",
    "AsyncResult",
    "Client",
    "Cluster",
    "ClusterError",
    "CompositeError",
    "ConnectionFileError",
    "ControllerLost",
    "Dependency",
    "DependencyError",
    "DependencyTimeout",
    "DirectView",
    "EngineError",
    "EngineryError",
    "ImpossibleDependency",
    "JournalError",
    "LoadBalancedView",
    "MemoryUnavailable",
    "NoControllerError",
    "NoEnginesRegistered",
    "NotAllowedError",
    "NotSupportedError",
    "ParallelFunction",
    "ProtocolError",
    "QueryError",
    "QueueFull",
    "Reference",
    "RemoteError",
    "RemoteFunction",
    "ResultExpired",
    "TaskAborted",
    "TaskError",
    "TaskKillsEngines",
    "TaskNotDone",
    "TaskTimeLimit",
    "TimeoutError",
    "UnknownTask",
    "UnmetDependency",
    "UnsendableError",
    "VersionMismatch",
    "View",
    "Watcher",
    "__version__",
    "bind_kernel",
    "client",
    "depend",
    "dependent",
    "error",
    "interactive",
    "parallel",
    "progress",
    "register_joblib_backend",
    "register_type",
    "remote",
    "require",
]

_HOMES = {
    "AsyncHubResult": ".client.results",
    "AsyncResult": ".client.results",
    "Client": ".client.client",
    "Cluster": ".cluster.cluster",
    "Dependency": ".client.dependency",
    "DirectView": ".client.direct",
    "LoadBalancedView": ".client.balanced",
    "ParallelFunction": ".client.decorators",
    "Reference": ".wire.reference",
    "RemoteFunction": ".client.decorators",
    "View": ".client.views",
    "Watcher": ".client.display.progress",
    "bind_kernel": ".engine.console",
    "depend": ".wire.dependent",
    "dependent": ".wire.dependent",
    "interactive": ".client.decorators",
    "parallel": ".client.decorators",
    "progress": ".engine.part",
    "register_joblib_backend": ".client.joblib_backend",
    "register_type": ".wire.canning",
    "remote": ".client.decorators",
    "require": ".wire.dependent",
}
"""Where the public names are that are neither modules nor exceptions."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in {"client", "error"}:
        return import_module(f".{name}", __name__)
    value = getattr(import_module(_HOMES.get(name, ".error"), __name__), name)
    globals()[name] = value
    return value


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to IPython: `%load_ext enginery`."""
    from .client import magics

    magics.load(shell)


def __dir__() -> list[str]:
    return sorted(__all__)
