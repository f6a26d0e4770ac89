"""The workloads, each with its targets."""

from .chatter import CHATTER
from .graph import GRAPHS
from .makespan import MAKESPAN
from .noop import NOOP
from .roundtrip import ROUNDTRIP
from .startup import STARTUP

WORKLOADS = {
    workload.name: workload for workload in (NOOP, ROUNDTRIP, STARTUP, MAKESPAN, CHATTER, *GRAPHS)
}
