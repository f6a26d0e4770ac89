"""Where a client of the 2008 interface finds its controller."""

from __future__ import annotations

from typing import Any


class DefaultAddress:
    """Stands for the place where a client looks when it is told none: the profile's files."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


default_task_address = DefaultAddress("default_task_address")
default_multiengine_address = DefaultAddress("default_multiengine_address")


def connection_info(address: Any) -> Any:
    """What `Client` is to be given for this address: (host, port), a file, or the default.

    TypeError for a tuple that is no address.
    """
    if isinstance(address, DefaultAddress):
        return None
    if not isinstance(address, tuple):
        return address
    match address:
        case (str(host), int(port)) if not isinstance(port, bool):
            return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    raise TypeError(f'an address is a tuple like ("192.168.1.1", 10113), not {address!r}')
