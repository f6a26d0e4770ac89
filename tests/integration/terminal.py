"""A real IPython in a real terminal, for tests: typed into, and waited for by what it shows."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pexpect

PATIENCE = 60
"""Seconds that a text may take to come; nothing that works takes long."""

ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|[=>])")


class Terminal:
    """IPython at its first prompt; its files are in `home`."""

    def __init__(self, home: Path, *options: str) -> None:
        environment = {
            **os.environ,
            "IPYTHONDIR": str(home / "ipython"),
            "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here answers where the cursor is
            "TERM": "xterm",
        }
        self._child = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=nocolor", *options],
            env=environment,
            cwd=str(home),
            dimensions=(50, 200),
            encoding="utf-8",
            timeout=PATIENCE,
        )
        self._number = 0
        self.prompt()

    def prompt(self) -> str:
        """Wait for the next prompt; what was shown before it."""
        self._number += 1
        return self.expect(f"In [{self._number}]:")

    def expect(self, text: str) -> str:
        """Wait for a text; what was shown before it."""
        self._child.expect_exact(text)
        return plain(self._child.before)

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        self._child.send(f"{line}\r")

    def press(self, keys: str) -> None:
        """Type this, without Enter."""
        self._child.send(keys)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._child.sendintr()

    def run(self, line: str) -> str:
        """Type a line, and wait for the next prompt; what was shown for it."""
        self.type(line)
        return self.prompt()

    def block(self, *lines: str) -> str:
        """Type several lines and end the input with empty ones; what was shown for it."""
        for line in lines:
            self.type(line)
        if lines[0].startswith("%%"):
            self.type("")
        return self.run("")

    def leave(self) -> None:
        """Type "exit", and wait until the process has ended."""
        self.type("exit")
        self._child.expect(pexpect.EOF)
        self.end()

    def end(self) -> None:
        """End the process if it has not ended."""
        self._child.close(force=True)


def plain(text: str) -> str:
    """A text without what moves the cursor or changes colours."""
    return ESCAPES.sub("", text).replace("\r", "")
