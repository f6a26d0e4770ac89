"""A process learns at once that the one which started it is gone, even when that went first."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from enginery.net.owner import Owner

CHILD = """
import os, select, sys
from enginery.net.owner import Owner
{before}
owner = Owner(int(sys.argv[1]))
print("alive" if not owner.gone() else "gone", flush=True)
poll = select.poll()
poll.register(owner.fileno(), select.POLLIN)
while not owner.gone():
    poll.poll({timeout})
print("gone", flush=True)
owner.close()
"""

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
sys.stdin.read()
os._exit(0)
"""


def start(before: str = "", timeout: int = 20000) -> subprocess.Popen[str]:
    """A process with a child that watches it; it ends when its input does."""
    code = CHILD.format(before=before, timeout=timeout)
    command = [sys.executable, "-c", PARENT, code]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


@pytest.mark.parametrize(
    ("before", "timeout"), [("", 20000), ("del os.pidfd_open", 20)], ids=["pidfd", "getppid"]
)
def test_the_end_of_the_owner_is_told(before, timeout):
    parent = start(before, timeout)
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == "alive\n"
    parent.stdin.close()
    assert parent.wait(20) == 0
    assert parent.stdout.readline() == "gone\n"
    assert parent.stdout.read() == ""  # the child has ended as well
    parent.stdout.close()


def test_a_killed_owner_is_told():
    parent = start()
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == "alive\n"
    parent.kill()
    parent.wait(20)
    assert parent.stdout.read() == "gone\n"
    parent.stdin.close()
    parent.stdout.close()


def test_who_is_not_our_parent_is_gone():
    """Its number may be in use again by a stranger, such as this living process."""
    for stranger in (os.getpid(), 1 if os.getppid() != 1 else os.getpid(), 2**22 + 1):
        owner = Owner(stranger)
        assert owner.gone()
        assert select.select([owner], [], [], 5)[0] == [owner]
        owner.close()


def test_our_parent_is_alive():
    owner = Owner(os.getppid())
    assert not owner.gone()
    assert select.select([owner], [], [], 0)[0] == []
    owner.close()
    owner.close()
