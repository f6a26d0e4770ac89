"""The option that says how many tasks an engine may have at a time."""

from __future__ import annotations

from typing import Any

from traitlets import TraitType

from ..core.ahead import meant

HWM = "Tasks an engine may have at a time; 0: any number; auto: one, or several brief ones."


class Hwm(TraitType[Any, Any]):
    """A number from 0 up, or "auto"."""

    info_text = "'auto' or a number from 0 up"

    def validate(self, obj: Any, value: Any) -> Any:
        """The value, if it is one of those."""
        try:
            meant(value)
        except ValueError:
            self.error(obj, value)
        return value

    def from_string(self, s: str) -> Any:
        """What was written on the command line."""
        try:
            return int(s)
        except ValueError:
            return s
