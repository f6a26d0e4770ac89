"""What both clients of 2008 are: a connection to a cluster, by addresses of that time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from ..client.client import Client
from ..frames import trims
from .address import connection_info


@trims
class Connected:
    """Base of `TaskClient` and `MultiEngineClient`; `client` is the modern `Client`."""

    def __init__(
        self,
        address: Any = None,
        *,
        profile: str | None = None,
        profile_dir: str | Path | None = None,
        cluster_id: str = "",
        timeout: float = 10.0,
    ) -> None:
        self.client = Client(
            connection_info(address),
            profile=profile,
            profile_dir=profile_dir,
            cluster_id=cluster_id,
            timeout=timeout,
        )
        self._begin()

    def _begin(self) -> None:
        """The connection is made."""

    def close(self) -> None:
        """Leave the cluster, which goes on with what was submitted."""
        self.client.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} stays in its process; make another one there")

    def __repr__(self) -> str:
        return repr(self.client).replace("<Client", f"<{type(self).__name__}", 1)
