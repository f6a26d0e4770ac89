"""What a supervisor keeps for its engines: large buffers that came once from another host."""

from __future__ import annotations

from ..core import messages as m
from ..wire.memory.arena import Arena
from ..wire.memory.probe import Probe


class Copies:
    """The copies that are kept, by number."""

    def __init__(self) -> None:
        self.probe = Probe()  # by which a controller sees that it is on another host
        self._arena = Arena()
        self._kept: dict[int, memoryview] = {}

    def keep(self, message: m.Keep) -> m.Kept | None:
        """Keep what this brings, and nothing that is not needed any more; what to answer."""
        self._kept = {n: view for n, view in self._kept.items() if n in message.live}
        if not message.number:
            return None
        views = [memoryview(buffer.data).cast("B") for buffer in message.buffers]
        lent = self._arena.lend(views)
        if lent is None:
            return m.Kept(message.number, None, [])
        segment, self._kept[message.number] = lent
        return m.Kept(message.number, segment.name, segment.places[: len(views)])

    def look(self) -> float | None:
        """Give back memory that has been idle for long; seconds until to look again, if at all."""
        return self._arena.look()

    def clear(self) -> None:
        """Keep nothing: the controller is another one."""
        self._kept.clear()

    def close(self) -> None:
        """Keep nothing any more."""
        self.clear()
        self.probe.close()
        self._arena.close()
