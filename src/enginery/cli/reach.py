"""From the options of a command to a controller, with the key that may do least of those that do.

Who only looks uses the monitor's key, where there is one: then a slip changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from ..error import NoControllerError, NotAllowedError

if TYPE_CHECKING:
    from ..client.link import Link
    from ..core.messages import Role
    from ..net.profile import Profile

LOOK: tuple[Role, ...] = ("monitor", "client")
READ: tuple[Role, ...] = ("client", "monitor")
CHANGE: tuple[Role, ...] = ("client",)
"""Roles whose keys let one look at the tasks of every client; see code where that can be had; and
see code or change something. The best one first.
"""

NAMED = 3
"""Other clusters that are named."""

ROLES: tuple[Role, ...] = ("task", "monitor")
"""Roles whose keys may be here and not do."""


class Where(NamedTuple):
    """A cluster, as options name it, and the seconds that it has for each answer; through ssh to
    `sshserver` if that is named.
    """

    profile: str = ""
    profile_dir: str = ""
    cluster_id: str = ""
    timeout: float = 10.0
    sshserver: str = ""
    sshkey: str = ""


class Reached(NamedTuple):
    """A controller: the link to it, what people call its cluster, and how one names it.

    `flags` are the options that lead there, each with a blank before it; `client` is the Python
    that does. `timeout`: seconds for each answer.
    """

    profile: Profile
    link: Link
    name: str
    flags: str = ""
    client: str = "enginery.Client()"
    timeout: float = 10.0


@contextmanager
def reached(where: Where, roles: tuple[Role, ...], what: str) -> Iterator[Reached]:
    """A link to the controller by the first of these keys that is there, closed at the end.

    `what` names what is to be done. Raises NoControllerError, and NotAllowedError when only keys of
    other roles are there.
    """
    from ..client.connect import connect
    from ..cluster.places import flags, needed_options

    profile, cluster_id = place(where)
    paths = (profile.find_file(role, cluster_id) for role in roles)
    path = next((path for path in paths if path is not None), None)
    if path is None:
        _check_running(profile, cluster_id, what)
        raise NotAllowedError(_not_allowed(profile, cluster_id, roles, what))
    link, name = connect(
        path, timeout=where.timeout, sshserver=where.sshserver, sshkey=where.sshkey
    )
    options = needed_options(profile, cluster_id).items()
    client = f"enginery.Client({', '.join(f'{key}={value!r}' for key, value in options)})"
    try:
        yield Reached(profile, link, name, flags(profile, cluster_id), client, where.timeout)
    finally:
        link.close()


def place(where: Where) -> tuple[Profile, str]:
    """The profile and the cluster id that are meant.

    Where none is named, and there is no default one, it is the only cluster that runs here.
    """
    from ..cluster.places import check_cluster_id, open_profile

    profile = open_profile(where.profile or "default", where.profile_dir)
    cluster_id = check_cluster_id(where.cluster_id)
    named = where.profile or where.profile_dir or cluster_id
    if named or any(profile.find_file(role) for role in ("client", *ROLES)):
        return profile, cluster_id
    from ..net.profile import clusters

    running = clusters()
    if len(running) == 1:
        return running[0].profile, running[0].cluster_id
    return profile, cluster_id


def _check_running(profile: Profile, cluster_id: str, what: str) -> None:
    """NoControllerError when there is no connection file, with what to do about it."""
    from ..client.connect import find
    from ..cluster.places import flags
    from ..net.profile import clusters

    try:
        find(None, profile, cluster_id)
    except NoControllerError as error:
        others = [flags(each.profile, each.cluster_id) for each in clusters()[:NAMED]]
        lines = [f"\n  Ask that one:  enginery {what}{each}" for each in others if what]
        raise NoControllerError(str(error) + "".join(lines)) from None


def _not_allowed(profile: Profile, cluster_id: str, roles: tuple[Role, ...], what: str) -> str:
    """The files that are there do not do."""
    here = " and ".join(role for role in ROLES if profile.find_file(role, cluster_id))
    needed = profile.file_path(roles[-1], cluster_id)
    return (
        f"{what} needs a {' or '.join(roles)} key; there is only that of a {here} here\n"
        f"  looked for {needed}: no such file\n"
        f"  Copy {needed.name} there from the controller's host."
    )
