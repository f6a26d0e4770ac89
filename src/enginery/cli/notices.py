"""The controller's warnings in words; each is a line of its log (docs/reference/log-events.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_words(warning: Mapping[str, Any]) -> str:
    """What a warning says; those that have no words here as in the log."""
    event, fields = warning["event"], warning["fields"]
    match event:
        case "engine.lost":
            return _lost(fields)
        case "engine.cannot_start":
            return f"engine {fields['engine']} on {fields['host']} cannot start: {fields['reason']}"
        case "peer.rejected":
            who = fields.get("address") or "somebody"
            return f"{who} was not let in: {fields['reason']}"
        case "peer.dropped":
            return f"a connection was cut: {fields['why']}"
        case "peer.refused":
            return f"a {fields['role']} key may not send {fields['what']}"
        case "client.flood":
            return f"client {fields['client']} has sent more than it may; it was cut off"
        case "scheme.wrong":
            return f"scheme {fields['scheme']}: {fields['what']}"
    return " ".join([event, *(f"{key}={value}" for key, value in fields.items())])


def _lost(fields: Mapping[str, Any]) -> str:
    text = f"engine {fields['engine']} lost, {brought_about(fields)}"
    if fields.get("task"):
        text += f", while running {fields.get('function') or 'something'}, task {fields['task']}"
    return text


def brought_about(fields: Mapping[str, Any]) -> str:
    """How an engine was lost: "killed by signal 9 (SIGKILL)", "killed by the kernel for memory"."""
    reason = str(fields.get("reason", ""))
    if fields.get("oom"):
        return "killed by the kernel for memory"
    if reason.startswith("signal"):
        return f"killed by {reason}"
    if reason.startswith("exit code"):
        return f"it ended with {reason}"
    return reason or "no reason is known"
