"""The options and settings of `ipcontroller`."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, CaselessStrEnum, Float, Int, List, Unicode
from traitlets.config import Config, LoggingConfigurable

from ..controller.catalogue import known
from ..error import ClusterError
from ..schemes import SCHEMES
from .app import LOG_OPTIONS, PROFILE_OPTIONS, App, Option
from .entry import UsageError
from .hwm import HWM, Hwm

OWN = "module:Class"
"""How a user's own scheme is named."""


class TaskScheduler(LoggingConfigurable):
    """How tasks are given to engines."""

    hwm = Hwm("auto", help=HWM).tag(config=True)
    scheme_name = Unicode(
        "leastload",
        help=f"Which engine gets the next task: {', '.join(SCHEMES)}, pure, or module:Class.",
    ).tag(config=True)
    queue_limit = Int(
        0,
        min=0,
        help="Unfinished tasks at most; 0: any number. Beyond it clients wait, or raise QueueFull.",
    ).tag(config=True)
    queue_bytes = Int(
        1 << 30, min=1 << 20, help="Bytes of unfinished tasks at most, with their arguments."
    ).tag(config=True)
    result_bytes = Int(
        1 << 30,
        min=1 << 20,
        help="Bytes of results at most that wait for clients which take none; then the oldest go.",
    ).tag(config=True)
    schemes = List(
        Unicode(), help="Further schemes that clients may choose while it runs: module:Class."
    ).tag(config=True)


class IPController(App):
    """`ipcontroller`."""

    description = "run a controller: it knows the engines, and routes work to them and back"
    config_name = "ipcontroller"
    classes = [TaskScheduler]  # noqa: RUF012 - as traitlets has it
    options = (
        *PROFILE_OPTIONS,
        Option("ip", "ip", "ADDRESS", "listen here (127.0.0.1); '*': on every interface"),
        Option("location", "location", "HOST", "the name or address others reach this host by"),
        Option("client-port", "client_port", "PORT", "port for clients (any free one)"),
        Option("engine-port", "engine_port", "PORT", "port for engines (any free one)"),
        Option("journal", "journal", "KIND", "file (default), or none: a kill ends all work"),
        Option("fresh", "fresh", "", "begin without what a killed controller has left"),
        Option("database", "database", "URL", "sqlite (default), none, or postgresql://…"),
        Option("reuse", "reuse", "", "keep the keys; as when ports are given"),
        Option(
            "scheme", "TaskScheduler.scheme_name", "NAME", f"{', '.join(SCHEMES)}, pure or {OWN}"
        ),
        Option(
            "hwm", "TaskScheduler.hwm", "N", "tasks an engine may have at a time (auto); 0: any"
        ),
        *LOG_OPTIONS,
    )
    examples = """
        ipcontroller                                            for engines of this host
        ipcontroller --ip='*' --client-port=10101 --engine-port=10102
                            for any host; connection files, copied once, stay valid
    """

    ip = Unicode("127.0.0.1", help="Address to listen at.").tag(config=True, setting=True)
    location = Unicode("", help="How others reach this host.").tag(config=True, setting=True)
    client_port = Int(0, min=0, max=65535, help="Port for clients; 0: any free one.").tag(
        config=True, setting=True
    )
    engine_port = Int(0, min=0, max=65535, help="Port for engines; 0: any free one.").tag(
        config=True, setting=True
    )
    reuse = Bool(False, help="Keep the keys of the last start.").tag(config=True, setting=True)
    journal = CaselessStrEnum(
        ("file", "none"),
        default_value="file",
        help="Where it is written what a controller needs that starts again after a kill.",
    ).tag(config=True, setting=True)
    fresh = Bool(False, help="Begin without what a killed controller has left.").tag(
        config=True, setting=True
    )
    database = Unicode(
        "sqlite",
        help="Where the history is kept: sqlite (in the profile), none, or a URL of SQLAlchemy.",
    ).tag(config=True, setting=True)
    database_bytes = Int(1 << 30, min=0, help="Bytes that it may take; 0: no limit.").tag(
        config=True, setting=True
    )
    database_age = Float(30 * 86400.0, min=0, help="Seconds that it is kept; 0: for ever.").tag(
        config=True, setting=True
    )
    database_value_bytes = Int(
        1 << 20, min=0, help="Bytes of the result of one task that are kept there."
    ).tag(config=True, setting=True)
    shared_memory = Bool(
        True, help="Share memory for large arrays with engines and clients of this host."
    ).tag(config=True, setting=True)
    host_to_host = Bool(
        True, help="Let hosts of engines give large arrays to each other, over the network."
    ).tag(config=True, setting=True)

    record_limit = Int(100_000, min=0, help="Finished tasks that are kept in memory.").tag(
        config=True, setting=True
    )
    record_bytes = Int(256 << 20, min=0, help="Bytes of finished tasks that are kept there.").tag(
        config=True, setting=True
    )
    memory_limit = Int(
        3 << 30,
        min=128 << 20,
        help="Bytes of memory for the controller; beyond it, who fills it is cut off.",
    ).tag(config=True, setting=True)

    def modernize(self, config: Config) -> None:
        """`schemename` is the older spelling of `scheme_name`."""
        section = config.get("TaskScheduler", {})
        if "schemename" in section:
            section.setdefault("scheme_name", section.pop("schemename"))

    def settings(self) -> dict[str, Any]:
        """The fields of a `ControllerConfig`; giving a port is enough to keep the keys (A4)."""
        found = super().settings()
        scheduler = self.part(TaskScheduler)
        schemes = tuple(scheduler.schemes)
        try:
            known(scheduler.scheme_name, schemes, found["profile_dir"])
        except ClusterError as error:
            raise UsageError(str(error)) from None
        return found | {
            "hwm": scheduler.hwm,
            "result_bytes": scheduler.result_bytes,
            "queue_limit": scheduler.queue_limit,
            "queue_bytes": scheduler.queue_bytes,
            "scheme": scheduler.scheme_name,
            "schemes": schemes,
            "reuse": self.reuse or bool(self.client_port or self.engine_port),
        }
