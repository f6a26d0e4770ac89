"""What the methods of the 2008 multiengine interface have in common: `targets` and `block`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..client import actions
from ..client.actions import Action
from ..client.direct import DirectView, name_or_names
from ..client.flags import Checked, truth
from ..client.results import AsyncResult
from ..client.targets import Targets, present, resolve
from ..frames import trimmed, trims
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

    def _act(
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


@trims
class Properties(Targeted):
    """The properties of engines, by which tasks choose where they run (`depend`).

    What a call sets is there for the tasks that come after it, and tasks that were waiting for it
    start.
    """

    def set_properties(
        self, properties: Mapping[str, Any], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Give engines these properties, and take all others from them."""
        return self._act(actions.set_properties, (_properties(properties),), targets, block)

    def update_properties(
        self, properties: Mapping[str, Any], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Give engines these properties, too."""
        return self._act(actions.update_properties, (_properties(properties),), targets, block)

    def get_properties(
        self,
        names: str | Iterable[str] | None = None,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """The properties of each engine, a dictionary; `names`: only these.

        KeyError (of several engines, CompositeError) for one that an engine has not.
        """
        return self._act(actions.get_properties, (names and name_or_names(names),), targets, block)

    def has_properties(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Whether each engine has a property; of several, a list for each engine."""
        return self._act(actions.has_properties, (name_or_names(names),), targets, block)

    def del_properties(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Take these properties from engines; KeyError for one that is not there."""
        return self._act(actions.del_properties, (name_or_names(names),), targets, block)

    def clear_properties(self, targets: Any = None, block: bool | None = None) -> Any:
        """Take all properties from engines."""
        return self._act(actions.clear_properties, (), targets, block)


def _properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(properties, Mapping):
        raise TypeError(f"a dictionary of properties is needed, not {properties!r}")
    name_or_names(properties)
    return dict(properties)
