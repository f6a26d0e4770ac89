"""enginery, with engines that print nothing."""

from __future__ import annotations

from .cluster import chatter

__all__ = ["chatter"]
