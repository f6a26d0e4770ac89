"""What a process that runs engines is told when it starts, and what it does first."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .. import log


@dataclass
class EngineConfig:
    """Settings of `ipengine`; times are in seconds.

    `n` engines are forked by a supervisor; with 0 this process itself is one engine. The
    connection file is `file`, or the one of `cluster_id` in `profile_dir`. `timeout` is how long
    to wait for a controller at the start, `patience` how long for one that was there and is gone.
    With an `sshserver` they reach it by a tunnel, with the key in the file `sshkey`, if one is
    named. When the process `owner_pid` ends, so do the engines. They begin with `sys_path` and in
    `cwd`.
    """

    profile_dir: Path
    n: int = 0
    file: Path | None = None
    cluster_id: str = ""
    timeout: float = 60.0
    patience: float = 300.0
    log_level: str = "info"
    log_format: str = "logfmt"
    log_to_file: bool = True
    owner_pid: int = 0
    sys_path: list[str] = field(default_factory=list)
    cwd: str = ""
    replace: bool = True
    sshserver: str = ""
    sshkey: str = ""

    def __post_init__(self) -> None:
        self.profile_dir = Path(self.profile_dir)
        self.file = Path(self.file) if self.file else None
        if self.n < 0:
            raise ValueError(f"n is the number of engines and cannot be {self.n}")


def log_to(config: EngineConfig, pid: int) -> None:
    """Log to the file of the process `pid`: engines share that of their supervisor."""
    file = config.profile_dir / "log" / f"ipengine-{pid}.log" if config.log_to_file else None
    log.setup("engine", file=file, level=config.log_level, format=config.log_format)


def enter(config: EngineConfig) -> None:
    """Be where engines are to begin: in their directory, with their path for imports."""
    if config.sys_path:
        sys.path[:] = config.sys_path
    if config.cwd:
        with contextlib.suppress(OSError):  # another host: any directory will do
            os.chdir(config.cwd)
