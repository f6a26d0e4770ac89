"""The machine of an ssh tunnel: when to begin the next ssh, and what is amiss while there is none.

An ssh that ends is begun again: at once when its tunnel had been open, then after pauses that grow.
There is no end to that but the owner's patience. But a tunnel that was never open, and fails for a
reason that no waiting mends, is *hopeless*: a key that is refused once is refused again, and who
asks too often is locked out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

FIRST_PAUSE = 0.1
"""Seconds before the second attempt in a row; each pause is twice as long as the one before."""

LONGEST_PAUSE = 3.0
"""Seconds, so that a network that is back is soon used again."""

MANY = 20
"""Failures after which no more are counted."""

SAID = 300
"""Characters of a line of ssh's that are kept."""

Kind = Literal[
    "missing", "unknown", "host-key", "key", "forwarding", "option", "unreachable", "port", "ended"
]

HOPELESS: frozenset[Kind] = frozenset(
    ("missing", "unknown", "host-key", "key", "forwarding", "option")
)

TELLTALES: tuple[tuple[str, Kind], ...] = (
    ("Temporary failure in name resolution", "unreachable"),
    ("Could not resolve hostname", "unknown"),
    ("Host key verification failed", "host-key"),
    ("Permission denied", "key"),
    ("Too many authentication failures", "key"),
    ("cannot listen to port", "forwarding"),
    ("Could not request local forwarding", "forwarding"),
    ("Bad configuration option", "option"),
    ("bad configuration options", "option"),
    ("ssh: connect to host", "unreachable"),
    ("kex_exchange_identification", "unreachable"),
    ("open failed: ", "port"),
)
"""What ssh says (in English, always), and what that means; the first that fits counts."""


class Trouble(NamedTuple):
    """Why there is no tunnel, or no way on from its other end; and the line that ssh said of it."""

    kind: Kind
    said: str = ""


class Tunnel:
    """See the module's theory. Whoever runs ssh tells here what becomes of it."""

    def __init__(self) -> None:
        self.open = False
        self.was_open = False
        self.trouble: Trouble | None = None
        self.begin_at: float | None = 0.0  # when ssh is to be begun; None: it runs, or never
        self._failures = 0  # in a row
        self._last = ""  # what this ssh said last

    def begun(self) -> None:
        """An ssh runs; its tunnel is not open yet."""
        self.begin_at = None
        self._last = ""

    def opened(self) -> None:
        """It is: what goes in comes out at the other end."""
        self.open = self.was_open = True
        self.trouble = None
        self._failures = 0

    def said(self, line: str) -> None:
        """A line of ssh's for people."""
        self._last = "".join(filter(str.isprintable, line))[:SAID].strip() or self._last
        kind = next((kind for text, kind in TELLTALES if text in line), None)
        # While it is open, ssh has something to tell of its other end alone.
        if kind is not None and (not self.open or kind == "port"):
            self.trouble = Trouble(kind, self._last)

    def ended(self, now: float) -> None:
        """The ssh has ended, for whatever reason."""
        if self.open:
            self.trouble = None  # whatever it was, it was of that connection
        self.open = False
        if self.trouble is None:
            self.trouble = Trouble("ended", self._last)
        pause = FIRST_PAUSE * 2 ** (self._failures - 1) if self._failures else 0.0
        self.begin_at = None if self.hopeless else now + min(pause, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, MANY)

    def missing(self) -> None:
        """There is no ssh on this host."""
        self.trouble = Trouble("missing")
        self.begin_at = None

    @property
    def hopeless(self) -> bool:
        """Whether it was never open, and will not be unless somebody changes something."""
        trouble = self.trouble
        return not self.was_open and trouble is not None and trouble.kind in HOPELESS

    def __repr__(self) -> str:
        state = "open" if self.open else "closed"
        return f"<Tunnel {state}, {self._failures} failures, {self.trouble}>"
