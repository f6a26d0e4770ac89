"""How large a run is: `NIGHTLY_SCALE=0.05 make nightly` looks whether it works at all."""

from __future__ import annotations

import os

SCALE = float(os.environ.get("NIGHTLY_SCALE", "1"))


def scaled(number: float) -> int:
    """So many, at full size."""
    return max(1, int(number * SCALE))
