"""The log of a process: one line an event, in UTC, as logfmt or JSON.

    2026-11-20T10:42:03.118Z WARNING engine.lost engine=3 host=n4 reason=signal:9

Names of events are stable. What repeats is told at once the first time, and from then on once a
minute with its count: `(× 412 in 60 s)`. Nothing that stands in a value can break a line, move a
terminal's cursor, or pass for another field, and none is longer than `LONGEST`. Bytes are never
shown, since they may be secrets.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}

FORMATS = ("logfmt", "json")

REPEATS_BY = {"peer.rejected": ("address",)}
"""By which of its fields an event is the same again; without an entry, by all of them."""

WINDOW = 60.0
"""Seconds for which repeats are only counted."""

KINDS = 1000
"""Different events whose repeats are counted at a time."""

LONGEST = 1000
"""Characters of a text in a field: whoever is connected says some of them, such as its host."""

RESERVED = ("time", "level", "event", "times", "window")


def setup(
    name: str,
    file: str | os.PathLike[str] | None = None,
    level: str | int = "info",
    format: str = "logfmt",
    *,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> logging.Logger:
    """Let the logger `enginery.<name>` write to a file (0600, appended) and to a stream.

    Without either it writes to stderr. Again for the same name: instead of what was set up before.
    Raises ValueError for a level or format that there is not.
    """
    if format not in FORMATS:
        raise ValueError(f"log format {format!r} is none of {', '.join(FORMATS)}")
    logger = logging.getLogger(f"enginery.{name}")
    close(logger)
    targets: list[logging.Handler] = []
    if file is not None:
        Path(file).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        targets.append(PrivateFile(Path(file), encoding="utf-8", errors="backslashreplace"))
    if stream is not None or file is None:
        targets.append(logging.StreamHandler(stream or sys.stderr))
    for target in targets:
        target.setFormatter(Lines(as_json=format == "json"))
    logger.addHandler(RepeatFilter(targets, clock=clock))
    logger.setLevel(level.upper() if isinstance(level, str) else level)
    logger.propagate = False
    return logger


def event(logger: logging.Logger, level: str, name: str, /, **fields: Any) -> None:
    """Log one event; `level` is "debug", "info", "warning", "error" or "critical"."""
    number = LEVELS[level]
    if logger.isEnabledFor(number):
        logger.log(number, name, extra={"fields": bounded(fields)})


def bounded(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with their texts cut to `LONGEST`."""
    return {key: _cut(v) if isinstance(v, str) else v for key, v in fields.items()}


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    kept = LONGEST - 50  # what is cut fits, and is not cut again
    return f"{text[:kept]}… ({len(text) - kept:,} more characters)"


def close(logger: logging.Logger) -> None:
    """Tell the repeats that are not told yet, and close what `setup` has opened."""
    for handler in [h for h in logger.handlers if isinstance(h, RepeatFilter)]:
        logger.removeHandler(handler)
        handler.close()


def file_of(logger: logging.Logger) -> Path | None:
    """The file that `setup` has let this logger write to, if any."""
    targets = (t for h in logger.handlers if isinstance(h, RepeatFilter) for t in h.targets)
    return next((Path(t.baseFilename) for t in targets if isinstance(t, PrivateFile)), None)


class PrivateFile(logging.FileHandler):
    """A log file that only its owner may read."""

    def _open(self) -> Any:
        return open(
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            errors=self.errors,
            opener=lambda path, flags: os.open(path, flags | os.O_CLOEXEC, 0o600),
        )


# --- repeats ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Repeated:
    """An event that was told at `since`, and came `times` more since then, the `last` time so."""

    since: float
    last: logging.LogRecord | None = None  # they are large, and most come once
    times: int = 0


class RepeatFilter(logging.Handler):
    """Passes records on to its targets, the repeats among them as a count.

    Counts are told when their window is over and anything is logged, by `flush`, and at the end.
    """

    def __init__(
        self,
        targets: list[logging.Handler],
        window: float = WINDOW,
        keys: Mapping[str, tuple[str, ...]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.targets, self.window, self.clock = targets, window, clock
        self.keys = REPEATS_BY if keys is None else keys
        self._seen: OrderedDict[Hashable, Repeated] = OrderedDict()  # the oldest window first

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, or count it."""
        now = self.clock()
        self._expire(now)
        key = self._key(record)
        if known := self._seen.get(key):
            known.last, known.times = record, known.times + 1
            return
        self._seen[key] = Repeated(now)
        self._pass(record)
        if len(self._seen) > KINDS:
            _, oldest = self._seen.popitem(last=False)
            self._tell(oldest, now)

    def flush(self) -> None:
        """Tell the counts whose window is over."""
        with self.lock:  # type: ignore[union-attr]
            self._expire(self.clock())

    def close(self) -> None:
        """Tell all counts, and close the targets."""
        with self.lock:  # type: ignore[union-attr]
            now = self.clock()
            for repeated in self._seen.values():
                self._tell(repeated, now)
            self._seen.clear()
        for target in self.targets:
            target.close()
        super().close()

    def _expire(self, now: float) -> None:
        while self._seen:
            key, oldest = next(iter(self._seen.items()))
            if now - oldest.since < self.window:
                return
            del self._seen[key]
            if oldest.times:  # it goes on: the next window begins, silently
                self._tell(oldest, now)
                self._seen[key] = Repeated(now)

    def _tell(self, repeated: Repeated, now: float) -> None:
        if repeated.last is not None:
            summary = logging.makeLogRecord(repeated.last.__dict__)
            summary.repeats = (repeated.times, now - repeated.since)
            self._pass(summary)

    def _pass(self, record: logging.LogRecord) -> None:
        for target in self.targets:
            target.handle(record)

    def _key(self, record: logging.LogRecord) -> Hashable:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        names = self.keys.get(record.msg, tuple(fields))
        return record.name, record.levelno, record.getMessage(), str([fields.get(n) for n in names])


# --- lines ------------------------------------------------------------------------------------


class Lines(logging.Formatter):
    """A record as one line of logfmt, or of JSON with the same keys."""

    def __init__(self, as_json: bool = False) -> None:
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": when.replace("+00:00", "Z"), "level": record.levelname}
        head |= {"event": self._event(record)}
        fields = {_name(key): _plain(value) for key, value in self._fields(record).items()}
        times, window = getattr(record, "repeats", (0, 0.0))
        if self.as_json:
            tail = {"times": times, "window": round(window, 3)} if times else {}
            return json.dumps({**head, **fields, **tail})
        told = [*head.values(), *(f"{key}={quoted(_text(v))}" for key, v in fields.items())]
        return " ".join(told) + (f" (× {times} in {window:.0f} s)" if times else "")

    def _event(self, record: logging.LogRecord) -> str:
        return str(record.msg) if hasattr(record, "fields") else "message"

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = getattr(record, "fields", None)
        if fields is None:  # from other code, which speaks in sentences
            fields = {"logger": record.name, "text": record.getMessage()}
        if record.exc_info:
            fields = fields | {"traceback": self.formatException(record.exc_info)}
        return dict(fields)


def _name(key: str) -> str:
    safe = "".join(c if c.isalnum() or c in "_.-" else "_" for c in key)
    return f"{safe}_" if safe in RESERVED else safe


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return str(value)


def _text(value: Any) -> str:
    """What `_plain` gave, for people."""
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6f}".rstrip("0").rstrip(".")
        case dict():
            return ",".join(f"{k}:{_text(v)}" for k, v in value.items())
        case list():
            return ",".join(map(_text, value))
    return str(value)


def quoted(text: str) -> str:
    """The text as the value of a field: in quotes unless it is plain, and always on one line."""
    if text and all(c.isprintable() and c not in ' "=\\' for c in text):
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(c: str) -> str:
    if c in '"\\':
        return f"\\{c}"
    return c if c.isprintable() else c.encode("unicode_escape").decode()
