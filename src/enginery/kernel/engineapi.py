"""What code that runs on an engine can say of that engine."""

from __future__ import annotations

import pkgutil
from collections.abc import MutableMapping
from typing import Any


class EngineAPI:
    """The engine that runs this code.

        from enginery.kernel import EngineAPI
        EngineAPI().properties["RAM"] = 2**33

    Tasks choose engines by these (`client.Task(..., depend=f)`).
    """

    @property
    def properties(self) -> MutableMapping[str, Any]:
        """The engine's properties, a dictionary to be changed in place; RuntimeError elsewhere."""
        try:
            found = pkgutil.resolve_name("enginery.engine.actions:properties")()
        except RuntimeError:
            raise RuntimeError(
                "EngineAPI().properties is for code that runs on an engine, and this is none; "
                'for instance: tc.run(client.Task("EngineAPI().properties[...] = ..."))'
            ) from None
        return found  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return "EngineAPI()"
