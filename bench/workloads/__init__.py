"""The workloads, each with its targets."""

from .noop import NOOP
from .roundtrip import ROUNDTRIP
from .startup import STARTUP

WORKLOADS = {workload.name: workload for workload in (NOOP, ROUNDTRIP, STARTUP)}
