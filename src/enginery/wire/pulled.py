"""What a task of the 2008 interface gives when it is code: the values of names."""

from __future__ import annotations

from typing import Any


class Pulled(dict[str, Any]):
    """Names and their values; the type tells them from a dictionary that a function returned."""
