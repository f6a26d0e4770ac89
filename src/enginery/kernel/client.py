"""What users of the 2008 interface hold: `from enginery.kernel import client`."""

from __future__ import annotations

from ..error import CompositeError
from .address import default_multiengine_address, default_task_address
from .multiengineclient import MultiEngineClient
from .pendingresult import PendingResult
from .remote import remote
from .taskclient import TaskClient
from .taskresult import TaskResult
from .tasks import MapTask, StringTask

Task = StringTask

__all__ = [
    "CompositeError",
    "MapTask",
    "MultiEngineClient",
    "PendingResult",
    "StringTask",
    "Task",
    "TaskClient",
    "TaskResult",
    "default_multiengine_address",
    "default_task_address",
    "remote",
]
