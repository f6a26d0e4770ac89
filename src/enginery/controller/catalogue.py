"""The schemes that a controller knows: those that are always there, and users' own.

A user's scheme is named by its import path, `mymodule:MyScheme`. Its module is looked for where
Python looks for modules, then in the profile's directory, then in the directory that the controller
was started in. Both stand last, so that no file there can take the place of an installed module;
and they are not looked at as long as no import path is given.
"""

from __future__ import annotations

import inspect
import os
import random
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module, invalidate_caches
from types import ModuleType

from ..error import ClusterError, EngineryError
from ..schemes import SCHEMES, Scheme
from .checked import Checked, in_words

PURE = "pure"
"""The name of the scheme that is none: libzmq balances by itself (`net.farm`)."""

_LOADING = "ENGINERY_LOADING_SCHEME"


def known(
    chosen: str,
    further: Iterable[str] = (),
    profile_dir: str | os.PathLike[str] = "",
    sys_path: Iterable[str] = (),
) -> tuple[dict[str, type[Scheme]], str]:
    """All schemes by name, and the name of the `chosen` one.

    Each of `further` is an import path, `chosen` may be one, or any name. A user's scheme is known
    by its class attribute `name`, or by the name of the class. ClusterError says what is wrong.
    """
    paths = [*further, *([chosen] if is_path(chosen) else [])]
    places = [place for place in (os.fspath(profile_dir), _here()) if place]
    if any(map(is_path, paths)):
        sys.path += [path for path in dict.fromkeys([*sys_path, *places]) if path not in sys.path]
    found = dict(SCHEMES)
    for path in paths:
        scheme = load(path, places)
        name = name_of(scheme)
        if name == PURE or found.setdefault(name, scheme) is not scheme:
            raise ClusterError(
                f"scheme {path!r}: another scheme is called {name!r};"
                f" give the class a `name` of its own"
            )
    if is_path(chosen):
        return found, name_of(load(chosen))
    if chosen == PURE:
        return found, PURE
    if chosen not in found:
        raise ClusterError(_unknown(chosen, found))
    return found, chosen


def load(name: str, places: Iterable[str] = ()) -> type[Scheme]:
    """The class of a scheme, by its name or import path; ClusterError says what is wrong.

    `places` are directories of the import path that are worth telling when there is no such module.
    """
    if not is_path(name):
        if name not in SCHEMES:
            raise ClusterError(_unknown(name, SCHEMES))
        return SCHEMES[name]
    module_name, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise ClusterError(f"scheme {name!r}: this is no import path, as in mymodule:MyScheme")
    module = _module(name, module_name, places)
    found = getattr(module, class_name, None)
    if found is None:
        file = getattr(module, "__file__", None)
        has = ", ".join(cls.__name__ for cls in _schemes_in(module)) or "none"
        raise ClusterError(
            f"scheme {name!r}: module {module_name!r}{f' ({file})' if file else ''}"
            f" has no {class_name!r}; schemes there: {has}"
        )
    if not (isinstance(found, type) and issubclass(found, Scheme)):
        raise ClusterError(
            f"scheme {name!r}: {class_name} is no subclass of enginery.schemes.Scheme"
        )
    if inspect.isabstract(found):
        lacks = ", ".join(sorted(found.__abstractmethods__))
        raise ClusterError(f"scheme {name!r}: {class_name} does not define {lacks}")
    return found


def make(scheme: type[Scheme], told: Callable[[str], None]) -> Scheme:
    """A scheme that is ready for use; ClusterError when it cannot be made.

    `told` hears in words of what goes wrong in it later.
    """
    name = name_of(scheme)
    try:
        made = scheme()
        made.name = name
        made.chance = random.random
    except Exception as error:
        raise ClusterError(
            f"scheme {name!r}: {scheme.__name__}() raised {in_words(error)}"
        ) from error
    if not hasattr(made, "open"):
        raise ClusterError(
            f"scheme {name!r}: {scheme.__name__}.__init__ has to call super().__init__()"
        )
    return made if SCHEMES.get(name) is scheme else Checked(made, told)


def is_path(name: str) -> bool:
    """Whether this is an import path and no name."""
    return ":" in name


def name_of(scheme: type[Scheme]) -> str:
    """By which name a scheme is known: its own, for one that was inherited is another's."""
    own = vars(scheme).get("name")
    return own if isinstance(own, str) and own else scheme.__name__


def _unknown(name: str, found: Iterable[str]) -> str:
    """What to say when there is no scheme of this name."""
    path = ":".join(name.rsplit(".", 1)) if "." in name.strip(".") else "mymodule:MyScheme"
    return (
        f"there is no scheme {name!r}; there are {', '.join(found)},"
        f" and your own by import path: {path}"
    )


def _schemes_in(module: ModuleType) -> list[type[Scheme]]:
    """The schemes that a module defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Scheme)
        and value.__module__ == module.__name__
    ]


def _here() -> str:
    """The directory that this process was started in, "" when it is not there any more."""
    with suppress(FileNotFoundError):
        return os.getcwd()
    return ""


def _module(name: str, module_name: str, places: Iterable[str]) -> ModuleType:
    """Import the module of the scheme `name`; ClusterError when that does not work."""
    if loading := os.environ.get(_LOADING):  # else each controller would start the next
        raise ClusterError(f"module {loading!r} must not start a cluster when it is imported")
    os.environ[_LOADING] = module_name
    invalidate_caches()
    try:
        return import_module(module_name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and _is_part(error.name, module_name):
            nor = "".join(f", nor in {place}" for place in dict.fromkeys(places))
            raise ClusterError(
                f"scheme {name!r}: there is no module {error.name!r} among the installed ones{nor}"
            ) from None
        program = isinstance(error, EngineryError | SystemExit)
        hint = "; what it does as a program goes under `if __name__ == '__main__':`"
        raise ClusterError(
            f"scheme {name!r}: importing {module_name!r} raised {in_words(error)}"
            f"{hint if program else ''}"
        ) from error
    finally:
        del os.environ[_LOADING]


def _is_part(missing: str | None, module_name: str) -> bool:
    """Whether the missing module is the one that was asked for, or a package it is in."""
    return f"{module_name}.".startswith(f"{missing}.")
