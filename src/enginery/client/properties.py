"""The properties of engines: what direct views and the interface of 2008 do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..frames import trims
from . import actions
from .names import name_or_names

if TYPE_CHECKING:
    from .actions import Action


@trims
class Properties:
    """The properties of engines, by which tasks choose where they run (`depend`).

    What a call sets is there for the tasks that come after it, and tasks that were waiting for it
    start. Who has these says by `_do` how each engine is to do something.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def _do(
            self, action: Action, args: tuple[Any, ...], targets: Any, block: bool | None
        ) -> Any: ...

    def set_properties(
        self, properties: Mapping[str, Any], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Give engines these properties, and take all others from them.

        >>> rc[0].set_properties({"gpu": True}, block=True)
        >>> rc[0].get_properties(block=True)
        {'gpu': True}
        """
        return self._do(actions.set_properties, (_properties(properties),), targets, block)

    def update_properties(
        self, properties: Mapping[str, Any], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Give engines these properties, too.

        >>> rc[0].set_properties({"gpu": True}, block=True)
        >>> rc[0].update_properties({"memory": 64}, block=True)
        >>> rc[0].get_properties("memory", block=True)
        {'memory': 64}
        """
        return self._do(actions.update_properties, (_properties(properties),), targets, block)

    def get_properties(
        self,
        names: str | Iterable[str] | None = None,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """The properties of each engine, a dictionary; `names`: only these.

        KeyError (of several engines, CompositeError) for one that an engine has not.

        >>> _ = dview.set_properties({"gpu": False}, block=True)
        >>> dview.get_properties(block=True)[3]
        {'gpu': False}
        """
        return self._do(actions.get_properties, (names and name_or_names(names),), targets, block)

    def has_properties(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Whether each engine has a property; of several, a list for each engine.

        >>> _ = dview.set_properties({"gpu": False}, block=True)
        >>> rc[0, 1].has_properties("gpu", block=True)
        [True, True]
        """
        return self._do(actions.has_properties, (name_or_names(names),), targets, block)

    def del_properties(
        self, names: str | Iterable[str], targets: Any = None, block: bool | None = None
    ) -> Any:
        """Take these properties from engines; KeyError for one that is not there.

        >>> rc[0].set_properties({"gpu": True, "memory": 64}, block=True)
        >>> rc[0].del_properties("gpu", block=True)
        >>> rc[0].get_properties(block=True)
        {'memory': 64}
        """
        return self._do(actions.del_properties, (name_or_names(names),), targets, block)

    def clear_properties(self, targets: Any = None, block: bool | None = None) -> Any:
        """Take all properties from engines.

        >>> rc[0].set_properties({"gpu": True}, block=True)
        >>> rc[0].clear_properties(block=True)
        >>> rc[0].get_properties(block=True)
        {}
        """
        return self._do(actions.clear_properties, (), targets, block)


def _properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(properties, Mapping):
        raise TypeError(f"a dictionary of properties is needed, not {properties!r}")
    name_or_names(properties)
    return dict(properties)
