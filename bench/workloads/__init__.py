"""The workloads, each with its targets."""

from .broadcast import BROADCAST
from .chatter import CHATTER
from .crowd import CROWD
from .data import ARGUMENT, RESULT
from .dependent import CHAIN_OF_RESULTS, REDUCTION
from .graph import GRAPHS
from .makespan import MAKESPAN
from .map import MAP
from .memory import MEMORY
from .noop import NOOP
from .roundtrip import ROUNDTRIP
from .scaling import SCALING
from .search import SEARCH
from .startup import STARTUPS
from .uneven import UNEVEN

WORKLOADS = {
    workload.name: workload
    for workload in (
        NOOP,
        MAP,
        ROUNDTRIP,
        ARGUMENT,
        RESULT,
        BROADCAST,
        SEARCH,
        MAKESPAN,
        UNEVEN,
        *STARTUPS,
        MEMORY,
        SCALING,
        REDUCTION,
        CHAIN_OF_RESULTS,
        CHATTER,
        *GRAPHS,
        CROWD,
    )
}
