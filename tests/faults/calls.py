"""Every public call that could wait for the cluster, and what it is to do when that is dead.

Whoever adds a method to a public class finds that `test_public_calls` fails until it stands here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from enginery import AsyncResult, Client, Cluster, DirectView, LoadBalancedView

TIMEOUT = 1.0
"""Seconds that the calls with a timeout get."""

ASKED = 10.0
"""Seconds that a request gets which says nothing else."""

Call = Callable[[Client, Any], Any]
"""A client, and the result of a task that never ends."""

NEVER = 600.0


def sleep(*_: Any) -> None:
    """A task that never ends."""
    time.sleep(NEVER)


def awaited(rc: Client, ar: Any) -> Any:
    """The result, awaited."""

    async def wait() -> Any:
        return await ar

    return asyncio.run(wait())


WITHOUT_TIMEOUT: dict[str, Call] = {
    "ar.get": lambda rc, ar: ar.get(),
    "ar.result": lambda rc, ar: ar.result(),
    "ar.r": lambda rc, ar: ar.r,
    "ar.exception": lambda rc, ar: ar.exception(),
    "ar.get_dict": lambda rc, ar: ar.get_dict(),
    "ar.wait": lambda rc, ar: ar.wait(),
    "ar.wait_for_output": lambda rc, ar: ar.wait_for_output(),
    "ar.display_outputs": lambda rc, ar: ar.display_outputs(),
    "ar.wait_interactive": lambda rc, ar: ar.wait_interactive(),
    "await ar": awaited,
    "ar[0]": lambda rc, ar: ar[0],
    "for value in ar": lambda rc, ar: list(ar),
    "rc.wait": lambda rc, ar: rc.wait(),
    "rc.wait(ar)": lambda rc, ar: rc.wait(ar),
    "rc.get_result": lambda rc, ar: rc.get_result(ar, block=True),
    "rc.wait_for_engines": lambda rc, ar: rc.wait_for_engines(99),
    "view.apply_sync": lambda rc, ar: rc[0].apply_sync(sleep),
    "view.map_sync": lambda rc, ar: rc[:].map_sync(sleep, range(4)),
    "view.execute": lambda rc, ar: rc[:].execute("pass", block=True),
    "view.push": lambda rc, ar: rc[:].push({"a": 1}, block=True),
    "view.pull": lambda rc, ar: rc[:].pull("a", block=True),
    "view[name]": lambda rc, ar: rc[0]["a"],
    "view.scatter": lambda rc, ar: rc[:].scatter("a", range(4), block=True),
    "view.gather": lambda rc, ar: rc[:].gather("a", block=True),
    "lview.apply_sync": lambda rc, ar: rc[None].apply_sync(sleep),
    "lview.map_sync": lambda rc, ar: rc[None].map_sync(sleep, range(4)),
    "lview.map_lazy": lambda rc, ar: list(rc[None].imap(sleep, range(4))),
    "lview.reduce": lambda rc, ar: rc[None].reduce(sleep, range(4)),
    "lview.apply": lambda rc, ar: rc.load_balanced_view(block=True).apply(sleep),
    "lview.map": lambda rc, ar: rc.load_balanced_view(block=True).map(sleep, range(4)),
    "view.apply": lambda rc, ar: rc.direct_view(block=True).apply(sleep),
    "view.map": lambda rc, ar: rc.direct_view(block=True).map(sleep, range(4)),
    "view.update": lambda rc, ar: rc.direct_view(block=True).update({"a": 1}),
    "view.zip_pull": lambda rc, ar: rc[:].zip_pull(["a", "b"]),
    "view.reduce": lambda rc, ar: rc[:].reduce(sleep, range(4)),
    "view.run": lambda rc, ar: rc[:].run(__file__, block=True),
    "view.get_properties": lambda rc, ar: rc[:].get_properties(block=True),
    "view.has_properties": lambda rc, ar: rc[:].has_properties("a", block=True),
    "view.set_properties": lambda rc, ar: rc[:].set_properties({}, block=True),
    "view.del_properties": lambda rc, ar: rc[:].del_properties("a", block=True),
    "view.push_module": lambda rc, ar: rc[:].push_module("tests.gate", block=True),
    "ar.wait_for_item": lambda rc, ar: ar.wait_for_item(0),
}
"""Calls that wait until something is done that will never be done."""

WITH_THE_SAME_CLIENT = ["second thread", "third thread"]
"""Threads that wait with the client that "ar.get" waits with."""

WITH_TIMEOUT: dict[str, Call] = {
    "ar.get": lambda rc, ar: ar.get(TIMEOUT),
    "ar.wait": lambda rc, ar: ar.wait(TIMEOUT),
    "ar.exception": lambda rc, ar: ar.exception(TIMEOUT),
    "ar.get_dict": lambda rc, ar: ar.get_dict(TIMEOUT),
    "ar.wait_for_output": lambda rc, ar: ar.wait_for_output(TIMEOUT),
    "ar.wait_for_send": lambda rc, ar: ar.wait_for_send(TIMEOUT),
    "ar.wait_interactive": lambda rc, ar: ar.wait_interactive(timeout=TIMEOUT),
    "ar.cancel": lambda rc, ar: ar.cancel(),
    "rc.wait": lambda rc, ar: rc.wait(timeout=TIMEOUT),
    "rc.wait(id)": lambda rc, ar: rc.wait("nobody-1", timeout=TIMEOUT),
    "rc.wait_for_engines": lambda rc, ar: rc.wait_for_engines(99, timeout=TIMEOUT),
    "rc.shutdown": lambda rc, ar: rc.shutdown(timeout=TIMEOUT),
    "repr(rc)": lambda rc, ar: repr(rc),
    "Client(timeout=)": lambda rc, ar: Client(rc.cluster.client_connection_file, timeout=TIMEOUT),
}
"""Calls that were given a second, or take no more."""

REQUESTS: dict[str, Call] = {
    "ar.abort": lambda rc, ar: ar.abort(),
    "rc.abort": lambda rc, ar: rc.abort(),
    "rc.abort(id)": lambda rc, ar: rc.abort("nobody-1"),
    "rc.get_result(id)": lambda rc, ar: rc.get_result("nobody-1"),
    "rc.queue_status": lambda rc, ar: rc.queue_status(),
    "rc.clear": lambda rc, ar: rc.clear(),
    "rc.send_signal": lambda rc, ar: rc.send_signal("SIGINT"),
    "rc.shutdown": lambda rc, ar: rc.shutdown(block=False),
    "rc.shutdown(hub)": lambda rc, ar: rc.shutdown(hub=True),
    "rc.db_query": lambda rc, ar: rc.db_query({}),
    "rc.hub_history": lambda rc, ar: rc.hub_history(),
    "rc.result_status": lambda rc, ar: rc.result_status("nobody-1"),
    "rc.purge_results": lambda rc, ar: rc.purge_results("all"),
    "rc.resubmit": lambda rc, ar: rc.resubmit("nobody-1"),
    "rc.explain": lambda rc, ar: rc.explain(ar),
    "rc.story": lambda rc, ar: rc.story(ar),
    "rc.use_scheme": lambda rc, ar: rc.use_scheme("lru"),
    "ar.interrupt": lambda rc, ar: ar.interrupt(),
    "cluster.engine_pids": lambda rc, ar: rc.cluster.engine_pids,
    "cluster.restart_engines": lambda rc, ar: rc.cluster.restart_engines_sync([0]),
}
"""What the controller is asked."""


def names(text: str) -> frozenset[str]:
    """Several names, as people write them."""
    return frozenset(text.split())


CLASSES: dict[str, type] = {
    "rc": Client,
    "view": DirectView,
    "lview": LoadBalancedView,
    "ar": AsyncResult,
    "cluster": Cluster,
}
"""What the names of the calls begin with."""

AS_ANOTHER: dict[str, str] = {
    "rc.apply": "view.apply",
    "rc.map": "view.map",
    "rc.get_results": "rc.get_result",
    "rc.parallel": "view.map",
    "rc.spin": "ar.wait",
    "rc.close": "rc.wait",
    "view.get": "view.pull",
    "view.finish": "view.apply",
    "view.execute_at": "view.execute",
    "view.pull_function": "view.pull",
    "view.push_function": "view.push",
    "view.update_properties": "view.get_properties",
    "view.clear_properties": "view.get_properties",
    "view.queue_status": "rc.queue_status",
    "view.clear": "rc.clear",
    "view.shutdown": "rc.shutdown",
    "view.wait": "rc.wait",
    "view.abort": "rc.abort",
    "view.get_result": "rc.get_result",
    "view.sync_imports": "view.execute",
    "view.remote_block": "view.execute",
    "view.imap": "lview.map_lazy",
    "view.parallel": "view.map",
    "view.remote": "view.apply",
    "lview.finish": "lview.apply",
    "lview.imap": "lview.map_lazy",
    "lview.wait": "rc.wait",
    "lview.abort": "rc.abort",
    "lview.get_result": "rc.get_result",
    "lview.parallel": "lview.map",
    "lview.remote": "lview.apply",
    "ar.resubmit": "rc.resubmit",
    "ar.wait_on_send": "ar.wait_for_send",
    "cluster.restart_engines_sync": "cluster.restart_engines",
    "cluster.restart_engine": "cluster.restart_engines",
    "cluster.restart_engine_sync": "cluster.restart_engines",
    "cluster.signal_engine": "rc.send_signal",
    "cluster.signal_engine_sync": "rc.send_signal",
    "cluster.signal_engines": "rc.send_signal",
    "cluster.signal_engines_sync": "rc.send_signal",
    "cluster.stop_engine": "rc.shutdown",
    "cluster.stop_engine_sync": "rc.shutdown",
    "cluster.connect_client": "Client(timeout=)",
    "cluster.connect_client_sync": "Client(timeout=)",
    "cluster.from_connection": "Client(timeout=)",
    "cluster.from_file": "Client(timeout=)",
}
"""Calls that wait where another one does."""

PROCESSES = names(
    "start_cluster start_cluster_sync start_and_connect start_and_connect_sync start_engines "
    "start_engines_sync add_engines stop_cluster stop_cluster_sync stop_engines stop_engines_sync "
    "stop_supervisor stop_supervisors"
)
"""What a cluster does with processes of its own, each with a time limit: see test_cluster.py."""

LOCAL: dict[str, frozenset[str]] = {
    "rc": names(
        "activate block cluster direct_view expect_engines history id ids load_balanced_view "
        "magics_view metadata outstanding queue_limit queue_timeout result results run_again "
        "scheme shown_as slots_of view view_moved when_full"
    ),
    "view": names(
        "FLAGS activate apply_async block client executor join key label map_async places "
        "progress request set_flags shape sync_path targets temp_flags track variant "
        "wishes"
    ),
    "lview": names(
        "FLAGS after apply_async block clear_after clear_before client executor fits follow join "
        "key label map_async places priority progress recovery register_joblib_backend retries "
        "set_flags targets temp_flags time_limit timeout track variant wishes"
    ),
    "ar": names(
        "add_done_callback as_argument assembly at_work cancelled done elapsed eta failed "
        "last_at_work link metadata msg_ids ordered part partial progress ran_on ready retried "
        "return_exceptions sent serial_time shown_as slots stream_output successful taken "
        "timedelta total wall_time when_done"
    ),
    "cluster": names(
        "client_connection_file cluster_file controller controller_pid processes running "
        "wait_for_end"
    )
    | PROCESSES,
}
"""What waits for nobody; submitting waits for room, see test_queue_full.py."""
