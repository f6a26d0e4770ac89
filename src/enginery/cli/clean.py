"""`enginery clean`: removes the files of clusters that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import Answer

if TYPE_CHECKING:
    from ..net.profile import Profile


def clean(profile: Profile) -> Answer:
    """Remove connection files and cluster files of controllers of this host that are gone."""
    from ..cluster.running import remove_stale  # loads what starts clusters

    removed = [str(path) for path in remove_stale(profile)]
    text = "\n".join(f"removed {path}" for path in removed) or "nothing to remove"
    return Answer({"removed": removed}, removed, lambda screen: text)
