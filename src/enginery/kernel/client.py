"""What users of the 2008 interface hold: `from enginery.kernel import client`."""

from __future__ import annotations

from .address import default_task_address
from .taskclient import TaskClient
from .taskresult import TaskResult
from .tasks import MapTask, StringTask

Task = StringTask

__all__ = [
    "MapTask",
    "StringTask",
    "Task",
    "TaskClient",
    "TaskResult",
    "default_task_address",
]
