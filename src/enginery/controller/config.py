"""What a controller process is configured with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ControllerConfig:
    """Filled in by the command line and the profile's configuration file."""

    profile_dir: Path
    cluster_id: str = ""
    ip: str = "127.0.0.1"
    client_port: int = 0  # 0: a free high port
    engine_port: int = 0
    location: str = ""  # the address that connection files tell, where it is not `ip`
    hwm: int | str = "auto"
    scheme: str = "leastload"  # at the start: a name, or module:Class
    schemes: tuple[str, ...] = ()  # further ones that may be chosen: module:Class
    sys_path: tuple[str, ...] = ()  # where these modules are looked for, too
    crash_limit: int = 3
    record_limit: int = 100_000
    record_bytes: int = 256 << 20
    memory_limit: int = 3 << 30  # bytes that the process may have resident
    result_bytes: int = 1 << 30  # of results that wait for clients which take none
    queue_bytes: int = 1 << 30  # of unfinished tasks
    queue_limit: int = 0  # how many unfinished tasks; 0: any number
    shared_memory: bool = True  # large buffers by reference, with who is on this host
    host_to_host: bool = True  # what many hosts get they give to each other
    journal: str = "file"  # or "none": a controller that is killed takes its work with it
    fresh: bool = False  # begin without what the last controller has left
    database: str = "sqlite"  # in the profile's directory; a URL; or "none"
    database_bytes: int = 1 << 30  # 0: no limit
    database_age: float = 30 * 86400.0  # seconds; 0: no limit
    database_value_bytes: int = 1 << 20  # of the result of one task
    reuse: bool = False  # keep keys and connection files over restarts
    log_level: str = "info"
    log_format: str = "logfmt"
    log_to_file: bool = True
    owner_pid: int = 0  # end when this process ends
    ready_fd: int = -1  # gets one line of JSON as soon as the controller listens
