"""What the methods of the 2008 multiengine interface have in common: `targets` and `block`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..client.actions import Action
from ..client.direct import DirectView
from ..client.flags import Checked, truth
from ..client.results import AsyncResult
from ..client.targets import Targets, present, resolve
from ..frames import trimmed
from .pendingresult import Known, PendingResult

if TYPE_CHECKING:
    from ..client.client import Client

Then = Callable[[Any], Any]


class Targeted:
    """Base of `MultiEngineClient`: every call is for engines, and waits or does not.

    `targets` (an engine id, a list of them, a slice, or "all" there are at each call) and `block`
    hold for every call to which they are not given.
    """

    client: Client
    _targets: Targets = "all"
    _block = True
    block = Checked(truth, "Whether calls wait for their results.")

    @property
    def targets(self) -> Any:
        """The engines that calls are for; checked when it is set."""
        return list(self._targets) if isinstance(self._targets, list) else self._targets

    @targets.setter
    @trimmed
    def targets(self, value: Any) -> None:
        self._targets = resolve(value, self.client.ids)

    def view(self, targets: Any = None, block: bool | None = None) -> DirectView:
        """A direct view for one call, which gives lists for one engine, too."""
        meant = self._targets if targets is None else resolve(targets, self.client.ids)
        view = DirectView(self.client, [meant] if isinstance(meant, int) else meant)
        return view.set_flags(block=self._waits(block))

    def _call(
        self,
        method: Callable[[DirectView], Any],
        targets: Any,
        block: bool | None,
        then: Then | None = None,
    ) -> Any:
        """Call something of a view; `then` makes the result of what that gives in the end."""
        view = self.view(targets, block)
        got = method(view)
        if not view.block:
            return PendingResult(got, then)
        return got if then is None else then(got)

    def _do(
        self,
        action: Action,
        args: tuple[Any, ...],
        targets: Any,
        block: bool | None,
        *,
        name: str = "",
        then: Then | None = None,
    ) -> Any:
        """Have each engine do something."""

        def request(view: DirectView) -> Any:
            result: AsyncResult = view.request(
                action, args, {}, name or action.__name__, waiting=view.block
            )
            return view.finish(result)

        return self._call(request, targets, block, then)

    def _now(self, name: str, value: Any, block: bool | None) -> Any:
        """What the controller has said or done already, as any other result."""
        return value if self._waits(block) else PendingResult(Known(name, value))

    def _waits(self, block: bool | None) -> bool:
        return self._block if block is None else truth(block)

    def _engines(self, targets: Any) -> list[int]:
        meant = self._targets if targets is None else resolve(targets, self.client.ids)
        return present(meant, self.client.ids)
