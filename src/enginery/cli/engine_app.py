"""The options and settings of `ipengine`."""

from __future__ import annotations

from typing import Any

from traitlets import Float, Int, Unicode

from .app import LOG_OPTIONS, PROFILE_OPTIONS, App, Option
from .entry import UsageError


class IPEngine(App):
    """`ipengine`."""

    description = "run engines, which run your code; they join their controller, now or later"
    config_name = "ipengine"
    options = (
        Option("n", "n", "N", "engines to run, replaced when they die (one, here)"),
        Option("file furl-file", "file", "PATH", "connection file, when not in the profile"),
        *PROFILE_OPTIONS,
        Option("ssh", "sshserver", "SERVER", "reach the controller through ssh: me@host"),
        Option("sshkey", "sshkey", "PATH", "the key for that, when ssh would not find it"),
        Option("timeout", "timeout", "SECONDS", "wait so long for the controller"),
        *LOG_OPTIONS,
    )
    examples = """
        ipengine -n 4                            four engines for the controller of this profile
        ipengine --file=ipcontroller-engine.json one engine, with a copied connection file
        ipengine -n 4 --ssh=me@host              for a controller that listens only there
        mpirun -n 4 ipengine                     one engine in each MPI rank
    """

    n = Int(0, min=0, help="Engines to run, with a supervisor; 0: one, in this process.").tag(
        config=True, setting=True
    )
    file = Unicode("", help="Path of the connection file.").tag(config=True)
    timeout = Float(600.0, min=0.0, help="Seconds to wait for the controller.").tag(
        config=True, setting=True
    )

    sshserver = Unicode("", help="Reach the controller through ssh to this host: USER@HOST.").tag(
        config=True, setting=True
    )
    sshkey = Unicode("", help="Path of the key for ssh, when it would not find it.").tag(
        config=True, setting=True
    )
    patience = Float(
        300.0, min=0.0, help="Seconds to wait for a controller that was there and is gone."
    ).tag(config=True, setting=True)

    def settings(self) -> dict[str, Any]:
        """The fields of an `EngineConfig`."""
        if "n" in self.cli_config.get("IPEngine", {}) and self.n == 0:
            raise UsageError("-n: should be 1 or more engines, not 0")
        return super().settings() | {"file": self.file or None}
