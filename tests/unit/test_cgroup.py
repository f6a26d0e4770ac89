"""What the kernel tells of memory is read from both versions of its control groups."""

import os

import pytest

from enginery.net import cgroup


@pytest.mark.parametrize(
    ("lines", "group"),
    [
        ("4:memory:/a/b\n0::/\n", "memory/a/b"),
        ("5:cpu,memory:/x\n", "memory/x"),
        ("0::/user.slice\n", "user.slice"),
        ("1:cpu:/\n", None),
    ],
)
def test_the_group_of_a_process(tmp_path, lines, group):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(lines)
    expected = None if group is None else cgroup.ROOT / group
    assert cgroup.memory_group(7, proc=tmp_path) == expected


def test_a_process_that_there_is_not(tmp_path):
    assert cgroup.memory_group(7, proc=tmp_path) is None
    assert cgroup.oom_kills(tmp_path) == 0
    assert cgroup.memory_limit(tmp_path) is None


def test_version_1(tmp_path):
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (tmp_path / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert cgroup.oom_kills(tmp_path) == 3
    assert cgroup.memory_limit(tmp_path) is None


def test_version_2(tmp_path):
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    (tmp_path / "memory.max").write_text("4096\n")
    assert cgroup.oom_kills(tmp_path) == 1
    assert cgroup.memory_limit(tmp_path) == 4096
    (tmp_path / "memory.max").write_text("max\n")
    assert cgroup.memory_limit(tmp_path) is None


def test_kills_anywhere(tmp_path):
    assert cgroup.system_oom_kills(tmp_path) == 0
    (tmp_path / "vmstat").write_text("pgfault 1\noom_kill 17\n")
    assert cgroup.system_oom_kills(tmp_path) == 17


@pytest.mark.skipif(not os.path.exists("/proc/self/cgroup"), reason="no control groups here")
def test_this_process_can_be_asked():
    group = cgroup.memory_group(os.getpid())
    assert group is None or cgroup.oom_kills(group) >= 0
