"""Which tasks a list shows: by the words for their states, by label, engine and function.

What can be asked of the controller is, so that little travels; the rest is looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from .entry import UsageError

OPEN = ("held", "waiting", "divided", "queued", "sent")
"""States of tasks that have not ended, as in Python."""

STATUSES = ("ok", "error", "aborted", "lost", "kills", "overtime", "impossible", "timeout")
"""How tasks end, as in Python."""

WORDS = (*OPEN, "running", "unfinished", "done", "failed", *STATUSES)
"""What can be said of a task's state."""


def words_of(document: Mapping[str, Any], running: bool) -> frozenset[str]:
    """Every word that is true of a task; `running`: its engine is at it now."""
    state, status = document["state"], document["status"]
    if status not in (None, "", "ok") and is_chunk(document):
        return frozenset({"done", status})  # its shares have failed, or were aborted
    if state != "done":
        return frozenset({state, "unfinished", *(["running"] if running else [])})
    return frozenset({"done", status, *([] if status in ("ok", "aborted") else ["failed"])})


def is_chunk(document: Mapping[str, Any]) -> bool:
    """Whether a task was divided into others, its shares, each of which is told of by itself."""
    return bool(document.get("items")) and "." not in document["msg_id"]


def word_of(document: Mapping[str, Any], running: bool) -> str:
    """The one word that a table shows: one of OPEN, "running", "ok", "failed" or "aborted"."""
    words = words_of(document, running)
    return next(w for w in ("running", "ok", "aborted", "failed", *OPEN, *STATUSES) if w in words)


class Filter(NamedTuple):
    """What is looked for; an empty part is no condition."""

    states: Sequence[str] = ()
    labels: Sequence[str] = ()
    engines: Sequence[int] = ()
    functions: Sequence[str] = ()

    def where(self) -> dict[str, Any]:
        """What the controller is asked for: all that is looked for, and maybe more."""
        where: dict[str, Any] = {}
        if self.labels:
            where["label"] = {"$in": list(self.labels)}
        if self.engines:
            where["engine_id"] = {"$in": list(self.engines)}
        if len(self.functions) == 1 and not set("*?[]") & set(self.functions[0]):
            where["name"] = {"$glob": f"*{self.functions[0]}*"}
        return where | self._where_state()

    def _where_state(self) -> dict[str, Any]:
        words = set(self.states)
        if not words:
            return {}
        if words <= {"failed", *STATUSES}:
            if "failed" in words:
                return {"state": "done", "status": {"$nin": [*({"ok", "aborted"} - words)]}}
            return {"status": {"$in": sorted(words)}}
        if words <= {*OPEN, "running", "unfinished"}:
            if "unfinished" in words:
                return {"state": {"$ne": "done"}}
            return {"state": {"$in": sorted({"sent" if w == "running" else w for w in words})}}
        return {}

    def keeps(self, document: Mapping[str, Any], running: Collection[str]) -> bool:
        """Whether this is what is looked for; `running`: the ids of tasks that run now.

        The document needs the keys msg_id, state, status and name.
        """
        if self.states:
            words = words_of(document, document["msg_id"] in running)
            if words.isdisjoint(self.states):
                return False
        if not self.functions:
            return True
        names = {document["name"], inner_name(document["name"])}
        return any(
            wanted in names or any(fnmatchcase(name, wanted) for name in names)
            for wanted in self.functions
        )


def inner_name(name: str) -> str:
    """The function in the name of a call: "fit" of "map(fit)"."""
    _, bracket, rest = name.partition("(")
    return rest.removesuffix(")") if bracket else name


def states(text: str, known: Sequence[str] = WORDS) -> list[str]:
    """The words of `--state`, separated by commas; UsageError for what is none of the `known`."""
    words = text.split(",")
    for word in words:
        if word not in known:
            raise UsageError(f"there is no state {word!r}; there are {', '.join(known)}")
    return words


def engines(text: str) -> list[int]:
    """The engine ids of `--engine`: "3", "0-3,7"; UsageError for what is none."""
    ids: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part, re.ASCII)
        some = range(int(found[1]), int(found[2] or found[1]) + 1) if found else ()
        if not some:
            raise UsageError(f"{text!r} names no engines; that is done by 3, 0-3 or 0-3,7")
        ids += some
    return ids
