"""What engines do for a client besides the user's functions, by name: the code is theirs."""

from __future__ import annotations

import pkgutil
from typing import Any


class Action:
    """Stands here for the function of `enginery.engine.actions` that it becomes on an engine."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __reduce__(self) -> tuple[Any, ...]:
        return (pkgutil.resolve_name, (f"enginery.engine.actions:{self.__name__}",))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self.__name__} runs on engines only")


push = Action("push")
pull = Action("pull")
push_function = Action("push_function")
pull_function = Action("pull_function")
push_module = Action("push_module")
execute = Action("execute")
set_path = Action("set_path")
get_properties = Action("get_properties")
update_properties = Action("update_properties")
set_properties = Action("set_properties")
has_properties = Action("has_properties")
del_properties = Action("del_properties")
clear_properties = Action("clear_properties")
command = Action("command")
keys = Action("keys")
clear = Action("clear")
