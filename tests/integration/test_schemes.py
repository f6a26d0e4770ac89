"""Every scheme balances on real engines; a user's own decides, and its mistakes do no harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from enginery import Cluster, ClusterError
from enginery.schemes import SCHEMES

MINE = """
from enginery.schemes import Scheme


class Highest(Scheme):
    name = "highest"

    def choose(self, engines):
        return max(engines, key=lambda e: e.id)


class Broken(Scheme):
    def choose(self, engines):
        raise ValueError("no luck")


class Program(Highest):
    def __init__(self):
        raise OSError("no disk")
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile's directory with a module of schemes in it."""
    directory = tmp_path / "profile_own"
    directory.mkdir(mode=0o700)
    (directory / "tests_mod.py").write_text(MINE)
    return directory


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_each_scheme_runs_a_map(tmp_path: Path, scheme: str) -> None:
    with Cluster(n=2, scheme=scheme, profile_dir=tmp_path, hwm=4) as rc:
        lview = rc.load_balanced_view()
        assert scheme in repr(lview)
        assert lview.map_sync(lambda x: x * x, range(300)) == [x * x for x in range(300)]


def test_lru_takes_turns(tmp_path: Path) -> None:
    with Cluster(n=2, scheme="lru", profile_dir=tmp_path) as rc:
        lview = rc.load_balanced_view()
        pids = [lview.apply_sync(os.getpid) for _ in range(6)]
        assert len(set(pids)) == 2
        assert pids[:2] * 3 == pids


def test_the_users_own_scheme_decides(profile: Path) -> None:
    cluster = Cluster(n=2, scheme="tests_mod:Highest", profile_dir=profile)
    with cluster as rc:
        lview = rc.load_balanced_view()
        assert "highest" in repr(lview)
        assert {lview.apply_sync(os.getpid) for _ in range(6)} == {cluster.engine_pids[1]}


def test_it_can_be_chosen_in_the_configuration_file(profile: Path) -> None:
    (profile / "ipcontroller_config.py").write_text(
        'c = get_config()\nc.TaskScheduler.schemes = ["tests_mod:Highest"]\n'
        'c.TaskScheduler.scheme_name = "highest"\n'
    )
    cluster = Cluster(n=2, profile_dir=profile)
    with cluster as rc:
        lview = rc.load_balanced_view()
        assert {lview.apply_sync(os.getpid) for _ in range(4)} == {cluster.engine_pids[1]}


def test_a_module_beside_the_program_is_found(
    tmp_path: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "program"
    beside.mkdir()
    (profile / "tests_mod.py").rename(beside / "beside_mod.py")
    monkeypatch.syspath_prepend(str(beside))
    with Cluster(n=1, scheme="beside_mod:Highest", profile_dir=profile) as rc:
        assert "highest" in repr(rc.load_balanced_view())


def test_a_scheme_that_raises_costs_no_task(profile: Path) -> None:
    with Cluster(n=2, scheme="tests_mod:Broken", profile_dir=profile) as rc:
        lview = rc.load_balanced_view()
        assert lview.map_sync(lambda x: -x, range(50)) == [-x for x in range(50)]
    log = "".join(path.read_text() for path in (profile / "log").glob("ipcontroller*.log"))
    assert log.count("scheme.wrong") == 1
    assert "its choice raised ValueError: no luck" in log
    assert "tests_mod.py, line 14" in log


@pytest.mark.parametrize(
    ("scheme", "complaint"),
    [
        ("nosuch", "there is no scheme 'nosuch'; there are leastload"),
        ("nosuch_module:Mine", "there is no module 'nosuch_module' among the installed ones"),
        ("tests_mod:Nosuch", "has no 'Nosuch'; schemes there: Highest, Broken, Program"),
        ("tests_mod:Program", r"Program\(\) raised OSError: no disk"),
    ],
)
def test_a_scheme_that_is_not_possible(profile: Path, scheme: str, complaint: str) -> None:
    with pytest.raises(ClusterError, match=complaint) as caught:
        Cluster(n=1, scheme=scheme, profile_dir=profile).start_cluster_sync()
    assert "Traceback" not in str(caught.value)


def test_a_program_that_starts_a_cluster_when_imported_is_refused(profile: Path) -> None:
    """Each controller would import it, and so start the next."""
    (profile / "program_mod.py").write_text(
        MINE
        + "from enginery import Cluster\n"
        + f'Cluster(n=0, scheme="program_mod:Highest", profile_dir={str(profile)!r})'
        + ".start_cluster_sync()\n"
    )
    with pytest.raises(ClusterError, match=r"as a program goes under `if __name__ == '__main__':`"):
        Cluster(n=0, scheme="program_mod:Highest", profile_dir=profile).start_cluster_sync()


def test_a_class_in_place_of_its_path(profile: Path) -> None:
    with pytest.raises(ValueError, match=r"import path, here 'enginery.schemes:LeastLoad', not"):
        Cluster(scheme=SCHEMES["leastload"], profile_dir=profile)  # type: ignore[arg-type]
