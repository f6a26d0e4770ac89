"""A real ipykernel that does what it is told, for tests; its manager has a process of its own, too.

The input is a JSON list of steps, the output one of what each has shown, without colours.

["run", code]               until it has ended
["interrupt", code, mark]   until it has printed the mark; then interrupts it, until it has ended;
                            without code, while nothing runs, again and again until it has shown
                            something: just after a cell a kernel does not listen
"""

import json
import queue
import re
import sys

from jupyter_client.manager import start_new_kernel

PATIENCE = 60
AGAIN = 0.5
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Kernel:
    """The kernel and what it has shown since somebody asked."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3")
        self.shown = ""

    def take(self, patience=PATIENCE):
        """Wait for one message; whether code has ended."""
        message = self.client.get_iopub_msg(timeout=patience)
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                self.shown += content["text"]
            case "error":
                self.shown += "\n".join(content["traceback"])
            case "status":
                asked = message["parent_header"].get("msg_type")
                return content["execution_state"] == "idle" and asked == "execute_request"
        return False

    def step(self, what, code, mark=""):
        """Do a step; what it has shown."""
        self.shown = ""
        if code:
            self.client.execute(code, store_history=True)
        while mark not in self.shown:
            self.take()
        if what == "interrupt":
            self.manager.interrupt_kernel()
        if code:
            while not self.take():
                pass
        while not (code or self.shown.endswith("\n")):
            try:
                self.take(AGAIN)
            except queue.Empty:
                self.manager.interrupt_kernel()
        return ESCAPES.sub("", self.shown)


def main():
    """Do the steps of the input."""
    kernel = Kernel()
    try:
        told = [kernel.step(*step) for step in json.load(sys.stdin)]
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
