"""`ipengine`: run one engine in this process, or (`-n`) a supervisor with several."""

from __future__ import annotations

import os
import sys
from typing import Any

from .entry import guarded, handed_over, has_config_file, tidied


def main(argv: list[str] | None = None, prog: str = "ipengine") -> int:
    """Run engines until they are told to stop; the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return guarded(prog, lambda: _main(arguments, prog))


def _main(argv: list[str], prog: str) -> int:
    handed = handed_over(argv)
    if handed is None:
        from .engine_app import IPEngine

        settings = IPEngine.read(argv, prog).settings()
        print(f"{prog}: log directory {settings['profile_dir']}/log", file=sys.stderr)
        return _serve(settings)
    settings = handed.settings
    if has_config_file(settings["profile_dir"], "ipengine"):
        from .engine_app import IPEngine

        place = [f"--profile-dir={settings['profile_dir']}"]
        settings = IPEngine.read(place, prog).settings() | settings
    with tidied([handed.output]):
        return _serve(settings)


def _serve(settings: dict[str, Any]) -> int:
    """Be an engine, or a supervisor of engines."""
    from ..engine.config import EngineConfig
    from ..engine.supervisor import run

    defaults: dict[str, Any] = {"sys_path": list(sys.path), "cwd": os.getcwd()}
    return run(EngineConfig(**(defaults | settings)))
