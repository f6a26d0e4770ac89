"""Names that users give, one or several."""

from __future__ import annotations

from collections.abc import Iterable


def name_or_names(names: str | Iterable[str]) -> str | list[str]:
    """A name, or a list of names; TypeError."""
    if isinstance(names, str):
        return names
    names = list(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a name is a text, not {name!r}")
    return names
