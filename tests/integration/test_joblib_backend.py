"""A view as a backend of joblib, and so of scikit-learn."""

from __future__ import annotations

import multiprocessing
import os
import time

import joblib
import pytest
from joblib import Parallel, delayed, parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

import enginery

PATIENCE = 20.0


@pytest.fixture
def lview(rc):
    """A balanced view that is a backend under the name `engines`."""
    view = rc.load_balanced_view()
    view.register_joblib_backend("engines")
    yield view
    del joblib.parallel.BACKENDS["engines"]


def test_all_engines_compute_unless_fewer_jobs_are_asked_for(rc, lview):
    def slow(i):
        time.sleep(0.01)
        return i, os.getpid()

    engines = rc[:].apply_sync(os.getpid)
    with parallel_config("engines"):
        assert joblib.effective_n_jobs() == 4
        assert joblib.effective_n_jobs(99) == 4
        assert joblib.effective_n_jobs(-2) == 3
        some = Parallel(batch_size=1)(delayed(slow)(i) for i in range(60))
        few = Parallel(n_jobs=2, batch_size=1)(delayed(slow)(i) for i in range(60))
    assert [i for i, _ in some] == [i for i, _ in few] == list(range(60))
    assert {pid for _, pid in some} == set(engines)
    assert {pid for _, pid in few} == set(engines[:2])


def test_with_a_view_of_some_engines_they_compute(rc, lview):
    lview.targets = [1, 2, 3]
    engines = rc[:].apply_sync(os.getpid)
    with parallel_config("engines"):
        assert joblib.effective_n_jobs() == 3
        some = Parallel(batch_size=1)(delayed(os.getpid)() for _ in range(50))
        few = Parallel(n_jobs=2, batch_size=1)(delayed(os.getpid)() for _ in range(50))
        here = Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(5))  # as with any backend
    assert set(some) <= set(engines[1:])
    assert set(few) <= set(engines[1:3])
    assert set(here) == {os.getpid()}


def test_the_error_is_that_of_the_function_and_ends_the_rest(rc, lview, gate, tmp_path):
    def fail_when_others_run(i):
        if i < 3:
            (tmp_path / str(i)).touch()
            gate.held()
        while sum(path.name.isdigit() for path in tmp_path.iterdir()) < 3:
            time.sleep(0.01)
        raise KeyError(i)

    with parallel_config("engines"), pytest.raises(KeyError, match="3") as raised:
        Parallel(batch_size=1)(delayed(fail_when_others_run)(i) for i in range(40))
    assert "on engine" in "".join(raised.value.__notes__)
    assert rc.wait(timeout=PATIENCE)  # though nobody opens the gate


def test_a_timeout_is_kept(rc, lview, gate):
    with parallel_config("engines"), pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2)(delayed(gate.held)() for _ in range(9))
    assert rc.wait(timeout=PATIENCE)


def test_values_can_be_taken_as_they_come(lview, gate):
    def held(i):
        if i == 0:
            gate.held()
        return i

    with parallel_config("engines"):
        values = Parallel(return_as="generator_unordered", batch_size=1)(
            delayed(held)(i) for i in range(8)
        )
        first = [next(values) for _ in range(7)]
        gate.open()
        assert sorted(first) == list(range(1, 8))
        assert list(values) == [0]


def test_what_uses_joblib_in_a_task_computes_there(lview):
    def nested(n):
        pids = Parallel()(delayed(os.getpid)() for _ in range(n))
        return set(pids) == {os.getpid()}

    with parallel_config("engines"):
        assert all(Parallel()(delayed(nested)(n) for n in range(1, 9)))


def test_batches_have_the_flags_of_the_view(rc, lview):
    lview.label = "squares"
    with parallel_config("engines"):
        assert Parallel()(delayed(pow)(i, 2) for i in range(9)) == [i**2 for i in range(9)]
    records = rc.db_query({"label": "squares"}, keys=["name"])
    assert {record["name"] for record in records} == {"apply(joblib_batch)"}


def test_scikit_learn_finds_the_same(lview):
    numbers, digits = load_digits(return_X_y=True)
    tree = DecisionTreeClassifier(random_state=0)
    grid = {"max_depth": [2, 4, 8], "min_samples_leaf": [1, 5]}
    search = GridSearchCV(tree, grid, cv=3)
    with parallel_config("engines"):
        there = search.fit(numbers, digits).cv_results_["mean_test_score"]
    here = GridSearchCV(tree, grid, cv=3, n_jobs=1).fit(numbers, digits)
    assert there.tolist() == here.cv_results_["mean_test_score"].tolist()


def test_zero_jobs_are_refused(lview):
    with parallel_config("engines"), pytest.raises(ValueError, match="-1 stands for all engines"):
        Parallel(n_jobs=0)([])


def test_without_a_cluster_that_is_said_when_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    enginery.register_joblib_backend("nobody")
    try:
        with parallel_config("nobody"), pytest.raises(enginery.NoControllerError):
            Parallel()(delayed(abs)(-i) for i in range(3))
    finally:
        del joblib.parallel.BACKENDS["nobody"]
