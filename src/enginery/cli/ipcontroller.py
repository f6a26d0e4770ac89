"""`ipcontroller`: run a controller in this process.

Kept free of traitlets: a controller that `Cluster` starts needs it only when its profile holds a
configuration file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .entry import OK, guarded, handed_over, has_config_file, tidied

EVERYWHERE = ("*", "0.0.0.0")


def main(argv: list[str] | None = None, prog: str = "ipcontroller") -> int:
    """Run a controller until it is told to stop; the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return guarded(prog, lambda: _main(arguments, prog))


def _main(argv: list[str], prog: str) -> int:
    handed = handed_over(argv)
    if handed is None:
        from .controller_app import IPController

        settings = IPController.read(argv, prog).settings()
        _announce(prog, settings)
        return _serve(settings)
    settings = handed.settings
    if has_config_file(settings["profile_dir"], "ipcontroller"):
        from .controller_app import IPController

        place = [f"--profile-dir={settings['profile_dir']}"]
        settings = IPController.read(place, prog).settings() | settings
    with tidied([handed.output]):
        return _serve(settings)


def _announce(prog: str, settings: dict[str, Any]) -> None:
    """Say where its files are, and who can reach it."""
    directory, infix = (
        settings["profile_dir"],
        settings["cluster_id"] and f"-{settings['cluster_id']}",
    )
    lines = [
        f"log directory {directory}/log",
        f"connection files {directory}/security/ipcontroller{infix}-*.json",
    ]
    if settings["ip"] in EVERYWHERE:
        lines.append("listens on every interface: any host may knock, and needs a key to come in")
    for line in lines:
        print(f"{prog}: {line}", file=sys.stderr)


def _own_address() -> str:
    """An address by which other hosts may reach this one: of its first interface that is up."""
    from socket import AF_INET

    import psutil

    up = {name for name, interface in psutil.net_if_stats().items() if interface.isup}
    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            local = address.family != AF_INET or address.address.startswith("127.")
            if name in up and not local:
                return str(address.address)
    return "127.0.0.1"


def _serve(settings: dict[str, Any]) -> int:
    """Be a controller, the only one of its profile and cluster id."""
    from ..cluster.places import cluster_file, only_controller
    from ..controller.config import ControllerConfig
    from ..controller.service import run

    directory = Path(settings.pop("profile_dir"))
    if settings.get("ip") in EVERYWHERE and not settings.get("location"):
        settings["location"] = _own_address()
    config = ControllerConfig(profile_dir=directory, **settings)
    with only_controller(directory, config.cluster_id):
        code = run(config)
        if code == OK:  # else it may be started again, and its engines are still there
            cluster_file(directory / "security", config.cluster_id).unlink(missing_ok=True)
        return code
