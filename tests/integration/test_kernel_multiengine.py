"""Rows K10, F2, E2 and D8 of the contract: the multiengine interface of 2008.

The examples are those of the two revisions of its documentation, with their own values and in
their own order, in the spelling of today's Python: `print(c)` for `print c`.
"""

from __future__ import annotations

import shutil
import textwrap
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest

from enginery import (
    Client,
    Cluster,
    EngineError,
    NoControllerError,
    NotAllowedError,
    TaskAborted,
    interactive,
)
from enginery import TimeoutError as WaitTimeout
from enginery.engine import actions
from enginery.kernel import client
from enginery.net.keys import ConnectionFile

from .terminal import Terminal

PATIENCE = 30.0


@pytest.fixture
def engines(tmp_path):
    """Four engines on which nothing was executed yet."""
    cluster = Cluster(n=4, profile_dir=tmp_path / "profile_fresh")
    with cluster as rc:
        rc.wait_for_engines(4, timeout=PATIENCE)
        yield cluster


@pytest.fixture
def fresh(engines):
    """A client of engines on which nothing was executed yet."""
    with client.MultiEngineClient(engines.client_connection_file) as each:
        yield each


@pytest.fixture
def mec(cluster):
    """A client of the shared engines, whose namespaces it leaves empty."""
    with client.MultiEngineClient(cluster.client_connection_file) as each:
        yield each
        each.client.abort(running=True)
        each.client[:].apply_sync(actions.clear)
        each.client[:].clear_properties(block=True)


def shown(text):
    """What a prompt shows: the text of an example without its indentation."""
    return textwrap.dedent(text).lstrip("\n")


# --- creating a client -----------------------------------------------------------------------


@pytest.fixture
def default_profile(tmp_path, monkeypatch, cluster):
    """A home whose default profile is that of the shared cluster."""
    home = tmp_path / "ipython"
    monkeypatch.setenv("IPYTHONDIR", str(home))
    security = home / "profile_default" / "security"
    security.mkdir(parents=True, mode=0o700)
    shutil.copy(cluster.client_connection_file, security / "ipcontroller-client.json")
    return security


def test_a_client_without_an_address_finds_the_default_profile(default_profile):
    with client.MultiEngineClient() as mec:
        assert mec.get_ids() == [0, 1, 2, 3]
    with client.MultiEngineClient(client.default_multiengine_address) as mec:
        assert mec.get_ids() == [0, 1, 2, 3]


def test_a_client_by_a_file_of_any_name(cluster, tmp_path):
    furl = tmp_path / "ipcontroller-mec.furl"
    shutil.copy(cluster.client_connection_file, furl)
    with client.MultiEngineClient(str(furl)) as mec:
        assert mec.get_ids() == [0, 1, 2, 3]
        assert repr(mec).startswith("<MultiEngineClient ")
    assert repr(mec).endswith("closed>")


def test_a_client_by_an_address(default_profile):
    url = urlsplit(ConnectionFile.read(default_profile / "ipcontroller-client.json").url)
    with client.MultiEngineClient((url.hostname, url.port)) as mec:
        assert mec.get_ids() == [0, 1, 2, 3]


def test_an_address_that_is_none():
    with pytest.raises(TypeError, match=r'an address is a tuple like \("192\.168\.1\.1", 10113\)'):
        client.MultiEngineClient((1, 2, 3))


def test_no_controller(tmp_path):
    with pytest.raises(NoControllerError):
        client.MultiEngineClient(profile_dir=tmp_path / "profile_none")


# --- quick and easy parallelism --------------------------------------------------------------


def test_parallel_map(mec):
    serial_result = list(map(lambda x: x**10, range(32)))  # noqa: C417
    parallel_result = mec.map(lambda x: x**10, range(32))
    assert serial_result == parallel_result


def test_map_gives_engines_contiguous_parts_and_obeys_targets_and_block(mec):
    mec.push({"here": -1})
    for id in mec.get_ids():
        mec.push({"here": id}, targets=id)

    @interactive
    def where(x, y):
        return here, x + y  # noqa: F821

    result = mec.map(where, range(6), range(6), targets=[1, 3])
    assert result == [(1, 0), (1, 2), (1, 4), (3, 6), (3, 8), (3, 10)]
    pending = mec.map(where, range(2), range(2), block=False)
    assert isinstance(pending, client.PendingResult)
    assert pending.r == [(0, 0), (1, 2)]


def test_mapper_has_the_options_of_map(mec):
    mapper = mec.mapper(targets=[2, 0])
    assert mapper.map(lambda x, y: x * y, [1, 2, 3], [4, 5, 6]) == [4, 10, 18]
    assert mec.mapper(dist="b", block=False).map(abs, [-1]).r == [1]
    assert repr(mapper) == "<Mapper targets=[2, 0], block=None>"
    with pytest.raises(ValueError, match="dist='c' is not known"):
        mec.mapper(dist="c")


def test_parallel_function_decorator(mec):
    @mec.parallel()
    def f(x):
        return 10.0 * x**4

    assert f(range(32))[:3] == [0.0, 10.0, 160.0]
    assert f(range(32)) == [10.0 * x**4 for x in range(32)]

    @mec.parallel(targets=[1], block=False)
    def g(x):
        return x + 1

    assert g([1, 2]).r == [2, 3]


# --- running Python commands ----------------------------------------------------------------


def test_blocking_execution(fresh):
    mec = fresh
    assert repr(mec.execute("a=5")) == shown("""
        <Results List>
        [0] In [1]: a=5
        [1] In [1]: a=5
        [2] In [1]: a=5
        [3] In [1]: a=5""")
    assert repr(mec.execute("b=10")) == shown("""
        <Results List>
        [0] In [2]: b=10
        [1] In [2]: b=10
        [2] In [2]: b=10
        [3] In [2]: b=10""")
    assert repr(mec.execute("c=a+b", targets=[0, 2])) == shown("""
        <Results List>
        [0] In [3]: c=a+b
        [2] In [3]: c=a+b""")
    assert repr(mec.execute("c=a-b", targets=[1, 3])) == shown("""
        <Results List>
        [1] In [3]: c=a-b
        [3] In [3]: c=a-b""")
    assert repr(mec.execute("print(c)")) == shown("""
        <Results List>
        [0] In [4]: print(c)
        [0] Out[4]: 15

        [1] In [4]: print(c)
        [1] Out[4]: -5

        [2] In [4]: print(c)
        [2] Out[4]: 15

        [3] In [4]: print(c)
        [3] Out[4]: -5
        """)
    result_dict = mec.execute("d=10; print(d)")
    assert [str(r) for r in result_dict] == [
        "{'input': {'translated': 'd=10; print(d)', 'raw': 'd=10; print(d)'}, "
        f"'number': 5, 'id': {id}, 'stdout': '10\\n'}}"
        for id in range(4)
    ]
    assert [r["stdout"] for r in result_dict] == ["10\n"] * 4


def test_hello_world(fresh):
    assert repr(fresh.execute('print("Hello World")', targets=[0, 1])) == shown("""
        <Results List>
        [0] In [1]: print("Hello World")
        [0] Out[1]: Hello World

        [1] In [1]: print("Hello World")
        [1] Out[1]: Hello World
        """)


def test_one_engine_gives_a_list_too(fresh):
    result = fresh.execute("1 + 1", targets=2)
    assert repr(result) == "<Results List>\n[2] In [1]: 1 + 1\n[2] Out[1]: 2\n"
    assert len(result) == 1


def test_non_blocking_execution(fresh, gate):
    mec = fresh
    assert repr(mec.execute("import time")) == shown("""
        <Results List>
        [0] In [1]: import time
        [1] In [1]: import time
        [2] In [1]: import time
        [3] In [1]: import time""")
    held = gate.held
    mec.push({"time": SimpleNamespace(sleep=lambda seconds: held())})  # until the gate opens

    pr = mec.execute("time.sleep(10)", block=False)
    assert isinstance(pr, client.PendingResult)
    assert repr(pr).startswith("<PendingResult execute: 0 of 4 done")
    assert pr.get_result(block=False) is None
    assert pr.get_result(default="not yet", block=False) == "not yet"
    with pytest.raises(WaitTimeout, match="is not there after 0 s; it can be asked again"):
        pr.get_result(timeout=0)
    gate.open()
    assert repr(pr.get_result()) == shown("""
        <Results List>
        [0] In [2]: time.sleep(10)
        [1] In [2]: time.sleep(10)
        [2] In [2]: time.sleep(10)
        [3] In [2]: time.sleep(10)""")
    assert pr.get_result(default="not yet", block=False) is pr.get_result()

    pr = mec.execute("time.sleep(10)", block=False)
    assert repr(pr.r) == shown("""
        <Results List>
        [0] In [3]: time.sleep(10)
        [1] In [3]: time.sleep(10)
        [2] In [3]: time.sleep(10)
        [3] In [3]: time.sleep(10)""")


def test_barrier(fresh, gate):
    mec = fresh
    held = gate.held
    mec.push({"time": SimpleNamespace(sleep=lambda seconds: held())})
    mec.execute("a = 1", targets=[0, 2])
    mec.block = False
    pr_list = [mec.execute("time.sleep(3)") for i in range(10)]
    with pytest.raises(WaitTimeout, match="10 of 10 results are not there after 0 s"):
        mec.barrier(pr_list, timeout=0)
    gate.open()
    mec.barrier(pr_list)
    assert all(pr.ready for pr in pr_list)
    assert repr(pr_list[0].get_result(block=False)) == shown("""
        <Results List>
        [0] In [2]: time.sleep(3)
        [1] In [1]: time.sleep(3)
        [2] In [2]: time.sleep(3)
        [3] In [1]: time.sleep(3)""")


def test_barrier_takes_a_tuple_and_one_and_minds_no_failure(mec):
    failing = mec.execute("1/0", block=False)
    fine = mec.pull("__name__", block=False)
    mec.barrier((failing, fine))
    mec.barrier(fine)
    assert failing.ready
    with pytest.raises(TypeError, match="a barrier is for PendingResults, not for 7"):
        mec.barrier([fine, 7])


def test_the_block_and_targets_attributes(fresh):
    mec = fresh
    mec.targets = [0, 2]
    mec.block = False
    pr = mec.execute("a=5")
    assert repr(pr.r) == shown("""
        <Results List>
        [0] In [1]: a=5
        [2] In [1]: a=5""")
    mec.targets = "all"
    mec.block = True
    assert repr(mec.execute("b=10; print(b)")) == shown("""
        <Results List>
        [0] In [2]: b=10; print(b)
        [0] Out[2]: 10

        [1] In [1]: b=10; print(b)
        [1] Out[1]: 10

        [2] In [2]: b=10; print(b)
        [2] Out[2]: 10

        [3] In [1]: b=10; print(b)
        [3] Out[1]: 10
        """)


def test_targets_and_block_are_checked(mec):
    assert mec.targets == "all"
    assert mec.block is True
    mec.targets = slice(1, 3)
    assert mec.targets == [1, 2]
    for wrong, error, told in [
        ("some", TypeError, "the only name is 'all'"),
        (9, IndexError, "there is no engine 9; there are engines 0, 1, 2, 3"),
        ([0, 0], ValueError, "names an engine twice"),
        (None, TypeError, "is not an engine id"),
    ]:
        with pytest.raises(error, match=told):
            mec.targets = wrong
    assert mec.targets == [1, 2]
    with pytest.raises(IndexError, match="there is no engine 9"):
        mec.execute("a = 1", targets=[0, 9])
    with pytest.raises(TypeError, match="block: True or False is needed, not 3"):
        mec.block = 3
    with pytest.raises(TypeError, match="True or False is needed, not 'no'"):
        mec.execute("a = 1", block="no")
    with pytest.raises(TypeError, match="a text of code is needed, not 5"):
        mec.execute(5)
    assert mec.keys(targets="all") == [[], [], [], []]


# --- what was executed before ----------------------------------------------------------------


def test_get_result_gives_the_last_command_or_any(fresh):
    mec = fresh
    mec.execute("a = 1; print('first')")
    mec.execute("b = 2", targets=[1])
    assert repr(mec.get_result()) == shown("""
        <Results List>
        [0] In [1]: a = 1; print('first')
        [0] Out[1]: first

        [1] In [2]: b = 2
        [2] In [1]: a = 1; print('first')
        [2] Out[1]: first

        [3] In [1]: a = 1; print('first')
        [3] Out[1]: first
        """)
    assert repr(mec.get_result(1, targets=[1])) == shown("""
        <Results List>
        [1] In [1]: a = 1; print('first')
        [1] Out[1]: first
        """)
    with pytest.raises(client.CompositeError) as caught:
        mec.get_result(2, targets=[0, 1])
    assert str(caught.value).splitlines()[:2] == [
        "one or more exceptions from call to method: get_result",
        "[0:get_result]: IndexError: this engine knows no command 2; the last was 1",
    ]


def test_get_result_before_any_command(fresh):
    with pytest.raises(client.CompositeError, match="this engine has executed no command yet"):
        fresh.get_result()


def test_get_result_waits_in_the_queue(mec, gate):
    mec.push_function({"held": gate.held}, targets=[0, 1])
    mec.execute("held(); print('went on')", targets=[0, 1], block=False)
    pr = mec.get_result(targets=[0, 1], block=False)
    assert pr.get_result(block=False) is None
    gate.open()
    assert [reply["stdout"] for reply in pr.r] == ["went on\n"] * 2


def test_get_result_knows_what_other_clients_have_run(mec, cluster):
    with client.MultiEngineClient(cluster.client_connection_file) as other:
        other.execute("import sys; print('from', 'another'); print('err', file=sys.stderr)")
    replies = mec.get_result()
    assert [reply["stdout"] for reply in replies] == ["from another\n"] * 4
    assert [reply.stderr for reply in replies] == ["err\n"] * 4
    mec.client[:].execute("x = 7; x", block=True)
    assert [reply.result for reply in mec.get_result()] == ["7"] * 4


def test_get_result_of_what_has_failed_raises_that(mec):
    with pytest.raises(client.CompositeError):
        mec.execute("1/0", targets=[1, 2])
    with pytest.raises(client.CompositeError, match=r"\[2:execute\]: ZeroDivisionError"):
        mec.get_result(targets=[1, 2])


def test_what_a_task_executes_is_no_command(mec, cluster):
    mec.execute("a = 1", targets=0)
    with client.TaskClient(cluster.client_connection_file) as tc:
        tc.barrier([tc.run(client.Task("b = 2")) for _ in range(8)], timeout=PATIENCE)
    assert mec.get_result(targets=0)[0]["input"]["raw"] == "a = 1"


def test_a_lot_of_output_is_remembered_in_part(mec):
    mec.execute("print('a' * 3_000_000)", targets=0)
    with client.MultiEngineClient(mec.client.link.file) as other:
        [reply] = other.get_result(targets=0)
    assert reply["stdout"].startswith("a" * 1000)
    assert reply["stdout"].endswith("[what else was printed is not remembered]\n")
    assert len(reply["stdout"]) < 1_100_000


def test_run_a_file(mec, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("a = 3\nb = a / 0\n")
    with pytest.raises(client.CompositeError) as caught:
        mec.run(script)
    assert f'File "{script}", line 2' in caught.value.elist[0].traceback
    assert mec["a"] == [3, 3, 3, 3]


# --- moving Python objects around ------------------------------------------------------------


def test_basic_push_and_pull(fresh):
    mec = fresh
    assert mec.push(dict(a=1.03234, b=3453)) == [None, None, None, None]  # noqa: C408
    assert mec.pull("a") == [1.03234, 1.03234, 1.03234, 1.03234]
    assert mec.pull("b", targets=0) == [3453]
    assert mec.pull(("a", "b")) == [[1.03234, 3453]] * 4
    zipped = mec.zip_pull(("a", "b"))
    assert zipped == [(1.03234, 1.03234, 1.03234, 1.03234), (3453, 3453, 3453, 3453)]
    assert mec.push(dict(c="speed")) == [None, None, None, None]  # noqa: C408
    assert repr(mec.px("print(c)", targets=[0, 1])) == shown("""
        <Results List>
        [0] In [1]: print(c)
        [0] Out[1]: speed

        [1] In [1]: print(c)
        [1] Out[1]: speed
        """)
    mec.block = False
    pr = mec.pull("a")
    assert pr.r == [1.03234, 1.03234, 1.03234, 1.03234]
    assert mec.zip_pull(("a", "b"), targets=[1]).r == [(1.03234,), (3453,)]
    assert mec.push({"d": 1}).r == [None] * 4


def test_push_and_pull_for_functions(fresh):
    mec = fresh

    def f(x):
        return 2.0 * x**4

    assert mec.push_function(dict(f=f)) == [None, None, None, None]  # noqa: C408
    mec.execute("y = f(4.0)")
    assert repr(mec.execute("print(y)", targets=3)) == shown("""
        <Results List>
        [3] In [2]: print(y)
        [3] Out[2]: 512.0
        """)
    assert [g(4.0) for g in mec.pull_function("f")] == [512.0] * 4
    [[g, h]] = mec.pull_function(("f", "f"), targets=1)
    assert g(1.0) == h(1.0) == 2.0
    assert mec.push_function({"g": f}, block=False).r == [None] * 4
    assert mec.pull_function("g", targets=2, block=False).r[0](1.0) == 2.0


def test_the_dictionary_interface(mec):
    mec["a"] = ["foo", "bar"]
    assert mec["a"] == [["foo", "bar"], ["foo", "bar"], ["foo", "bar"], ["foo", "bar"]]
    mec.targets, mec.block = [1], False
    mec["a"] = 7
    assert mec["a"].r == [7]
    assert mec.pull("a", targets="all").r == [["foo", "bar"], 7, ["foo", "bar"], ["foo", "bar"]]
    with pytest.raises(TypeError, match=r"an engine: mec\.pull\('a', targets=0\)"):
        mec[0]


def test_scatter_and_gather(fresh):
    mec = fresh
    assert mec.scatter("a", range(16)) == [None, None, None, None]
    assert repr(mec.px("print(a)")) == shown("""
        <Results List>
        [0] In [1]: print(a)
        [0] Out[1]: [0, 1, 2, 3]

        [1] In [1]: print(a)
        [1] Out[1]: [4, 5, 6, 7]

        [2] In [1]: print(a)
        [2] Out[1]: [8, 9, 10, 11]

        [3] In [1]: print(a)
        [3] Out[1]: [12, 13, 14, 15]
        """)
    assert mec.gather("a") == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    assert mec.scatter("b", [1, 2], flatten=True, targets=[3, 0], block=False).r == [None, None]
    assert mec.pull("b", targets=[0, 3]) == [2, 1]
    assert mec.gather("a", targets=[2, 1], block=False).r == [8, 9, 10, 11, 4, 5, 6, 7]
    with pytest.raises(ValueError, match="dist='c' is not known"):
        mec.scatter("a", [1], dist="c")


def test_parallel_list_comprehensions(mec):
    mec.scatter("x", range(64))
    mec.px("y = [i**10 for i in x]")
    y = mec.gather("y")
    assert y[:7] == [0, 1, 1024, 59049, 1048576, 9765625, 60466176]
    assert y == [i**10 for i in range(64)]


def test_arrays(mec):
    mec.scatter("a", np.arange(8.0))
    assert np.array_equal(mec.gather("a"), np.arange(8.0))


# --- parallel exceptions ---------------------------------------------------------------------


MESSAGE = """one or more exceptions from call to method: execute
[0:execute]: ZeroDivisionError: division by zero
[1:execute]: ZeroDivisionError: division by zero
[2:execute]: ZeroDivisionError: division by zero
[3:execute]: ZeroDivisionError: division by zero"""


def test_a_composite_error(mec, capsys):
    with pytest.raises(client.CompositeError) as caught:
        mec.execute("1/0")
    assert str(caught.value) == MESSAGE
    try:
        mec.execute("1/0")
    except client.CompositeError as e:
        with pytest.raises(ZeroDivisionError, match="division by zero"):
            e.raise_exception()
        with pytest.raises(IndexError):
            e.raise_exception(4)
        e.print_tracebacks()
    printed = capsys.readouterr().out
    for id in range(4):
        assert f"[{id}:execute]:\nTraceback" in printed
    assert printed.count("ZeroDivisionError: division by zero") == 4


def test_error_handling_in_non_blocking_mode(mec):
    mec.block = False
    pr = mec.execute("1/0")
    for _ in range(2):
        with pytest.raises(client.CompositeError) as caught:
            pr.r  # noqa: B018
        assert str(caught.value) == MESSAGE
    with pytest.raises(client.CompositeError):
        pr.get_result(block=False)


@pytest.mark.parametrize("block", [True, False])
def test_every_method_raises_composite_errors(mec, block):
    for call in [
        lambda: mec.pull("nothing", block=block),
        lambda: mec.zip_pull(("nothing",), block=block),
        lambda: mec.gather("nothing", targets=[0], block=block),
        lambda: mec.pull_function("__name__", block=block),
        lambda: mec.del_properties("nothing", block=block),
    ]:
        if block:
            with pytest.raises(client.CompositeError):
                call()
        else:
            result = call()
            with pytest.raises(client.CompositeError):
                result.r  # noqa: B018


# --- engines and their queues ----------------------------------------------------------------


def test_keys_and_reset(mec):
    mec.push({"a": 1, "b": 2})
    mec.execute("import os\ndef f(): pass", targets=[1])
    assert mec.keys() == [["a", "b"], ["a", "b", "os", "f"], ["a", "b"], ["a", "b"]]
    assert mec.reset(targets=[0, 1]) == [None, None]
    assert mec.keys(block=False).r == [[], [], ["a", "b"], ["a", "b"]]
    assert mec.reset(block=False).r == [None] * 4
    assert mec.keys(targets=3) == [[]]


def test_reset_comes_after_what_waits(mec, gate):
    mec.push_function({"held": gate.held}, targets=0)
    mec.execute("held(); a = 1", targets=0, block=False)
    last = mec.pull("a", targets=0, block=False)
    pr = mec.reset(targets=0, block=False)
    gate.open()
    assert last.r == [1]
    assert pr.r == [None]
    assert mec.keys(targets=0) == [[]]


def test_queue_status_and_clear_queue(mec, gate):
    mec.push_function({"held": gate.held})
    mec.targets = [1, 0]
    running = mec.execute("held(); a = 1", block=False)
    assert running.wait(0) is False
    waiting = [mec.execute("b = 1", block=False) for _ in range(3)]
    status = mec.queue_status()
    assert [id for id, _ in status] == [1, 0]
    assert [told["queue"] + told["tasks"] for _, told in status] == [4, 4]
    verbose = mec.queue_status(verbose=True, block=False).r
    assert {len(told["queue"]) + len(told["tasks"]) for _, told in verbose} == {4}
    assert mec.clear_queue(block=False).r == [None, None]
    for pr in waiting:
        with pytest.raises(client.CompositeError) as caught:
            pr.get_result(timeout=PATIENCE)
        assert [type(each) for each in caught.value.elist] == [TaskAborted, TaskAborted]
    gate.open()
    mec.barrier(running, timeout=PATIENCE)
    assert mec.clear_queue() == [None, None]
    assert mec.keys() == [["held", "a"], ["held", "a"]]


def test_kill_engines(fresh, gate):
    mec = fresh
    mec.push_function({"held": gate.held})
    lost = mec.execute("held()", targets=[3], block=False)
    pr = mec.kill(targets=[3, 0], block=False)
    assert pr.get_result(timeout=PATIENCE) == [None, None]
    assert repr(pr) == "<PendingResult kill: done>"
    assert mec.get_ids() == [1, 2]
    with pytest.raises(client.CompositeError) as caught:
        lost.get_result(timeout=PATIENCE)
    assert isinstance(caught.value.elist[0], EngineError)
    assert mec.kill(targets=1) == [None]
    assert mec.get_ids() == [2]
    assert mec.pull("__name__") == ["__main__"]
    mec.targets = 2
    with pytest.raises(IndexError, match="there is no engine 1"):
        mec.targets = 1


def test_kill_the_controller_too(tmp_path):
    cluster = Cluster(n=2, profile_dir=tmp_path / "profile_own")
    with cluster as rc:
        rc.wait_for_engines(2, timeout=PATIENCE)
        mec = client.MultiEngineClient(rc.link.file)
        assert mec.kill(controller=True) == [None, None]
        assert repr(mec).endswith("closed>")
        with pytest.raises(NoControllerError):
            mec.execute("a = 1")


# --- properties ------------------------------------------------------------------------------


def test_properties(mec):
    assert mec.set_properties({"RAM": 2**33, "disk": 1}) == [None] * 4
    assert mec.get_properties() == [{"RAM": 2**33, "disk": 1}] * 4
    assert mec.get_properties("RAM", targets=1) == [{"RAM": 2**33}]
    assert mec.update_properties({"disk": 2, "gpu": True}, targets=[2]) == [None]
    assert mec.get_properties(("disk", "gpu"), targets=2) == [{"disk": 2, "gpu": True}]
    assert mec.has_properties("gpu") == [False, False, True, False]
    assert mec.has_properties(["RAM", "gpu"], targets=[0, 2]) == [[True, False], [True, True]]
    assert mec.del_properties(["disk"]) == [None] * 4
    assert mec.get_properties(targets=[0, 2]) == [{"RAM": 2**33}, {"RAM": 2**33, "gpu": True}]
    assert mec.set_properties({"only": 1}, targets=2) == [None]
    assert mec.get_properties(targets=2, block=False).r == [{"only": 1}]
    with pytest.raises(client.CompositeError, match="engine 0 has no property 'only'"):
        mec.del_properties("only")
    with pytest.raises(client.CompositeError, match="engine 2 has no property 'RAM'"):
        mec.get_properties("RAM")
    assert mec.clear_properties() == [None] * 4
    assert mec.get_properties() == [{}, {}, {}, {}]
    for wrong in ([("a", 1)], {1: 2}):
        with pytest.raises(TypeError):
            mec.set_properties(wrong)


def test_properties_decide_where_tasks_run(mec, cluster):
    mec.set_properties({"RAM": 2**30})
    with client.TaskClient(cluster.client_connection_file) as tc:

        def dep(properties):
            return properties["RAM"] > 2**32  # have at least 4GB

        number = tc.run(client.Task("a = id", pull="a", depend=dep))
        mec.update_properties({"RAM": 2**33}, targets=2)
        tr = tc.get_task_result(number, block=True, timeout=PATIENCE)
        assert tr.ns.a == tr.engineid == 2


# --- blocks ----------------------------------------------------------------------------------


def test_the_with_statement(fresh):
    mec = fresh
    with mec:
        client.remote()  # Required so the following code is not run locally
        a = 10
        b = 30
        c = a + b

    assert repr(mec.get_result()) == shown("""
        <Results List>
        [0] In [1]: a = 10
        b = 30
        c = a + b

        [1] In [1]: a = 10
        b = 30
        c = a + b

        [2] In [1]: a = 10
        b = 30
        c = a + b

        [3] In [1]: a = 10
        b = 30
        c = a + b
        """)
    assert mec["c"] == [40, 40, 40, 40]
    with pytest.raises(UnboundLocalError):
        print(a, b, c)


def test_blocks_honour_targets_and_block(mec, gate):
    mec.push_function({"held": gate.held})
    mec.targets, mec.block = [2], False
    with mec:
        client.remote()
        held()  # noqa: F821
        d = 5  # noqa: F841
    pr = mec.get_result()
    assert pr.get_result(block=False) is None
    gate.open()
    assert pr.r[0]["input"]["raw"] == "held()  # noqa: F821\nd = 5  # noqa: F841\n"
    assert mec.keys(targets="all", block=True) == [["held"], ["held"], ["held", "d"], ["held"]]


def test_a_block_that_fails_raises_composite_errors_and_leaves_the_client_open(mec):
    with pytest.raises(client.CompositeError) as caught, mec:  # noqa: PT012
        client.remote()
        zero = 0
        zero = 1 / zero
    assert str(caught.value) == MESSAGE
    assert caught.value.__context__ is None
    assert f'File "{__file__}", line ' in caught.value.elist[0].traceback
    assert "zero = 1 / zero" in caught.value.elist[0].traceback
    assert mec["zero"] == [0, 0, 0, 0]


def test_any_other_block_closes_the_client(cluster):
    with client.MultiEngineClient(cluster.client_connection_file) as mec:
        with mec:
            client.remote()
            e = 1  # noqa: F841
        assert mec["e"] == [1, 1, 1, 1]
        mec.reset()
    assert repr(mec).endswith("closed>")


def test_an_exit_stack_closes_the_client(cluster):
    with ExitStack() as stack:
        mec = stack.enter_context(client.MultiEngineClient(cluster.client_connection_file))
        with pytest.raises(RuntimeError, match="it was called elsewhere"):
            client.remote()
        assert mec.get_ids() == [0, 1, 2, 3]
    assert repr(mec).endswith("closed>")


def test_a_task_only_key_may_not_speak_to_engines(cluster):
    file = cluster.client_connection_file.replace("client", "task")
    told = "Connect with a client key"
    with client.MultiEngineClient(file) as mec, pytest.raises(NotAllowedError, match=told):
        mec.execute("a = 1")


def test_remote_where_it_is_not_the_first_statement(mec):
    ran = []
    with pytest.raises(RuntimeError, match=r"client\.remote\(\) is the first statement of a"):
        client.remote()
    with pytest.raises(SyntaxError, match=r"remote\(\) is the first") as caught, mec:  # noqa: PT012
        ran.append(1)
        client.remote()
    assert caught.value.text.strip() == "ran.append(1)"
    with pytest.raises(SyntaxError, match="there is nothing to run in this remote block"), mec:
        client.remote()
    with pytest.raises(RuntimeError, match="nothing was run"), nullcontext():  # noqa: PT012
        client.remote()
        ran.append(2)
    assert ran == [1]


def test_remote_in_another_function_than_the_block(cluster):
    def begin():
        client.remote()

    told, mec = "it was called elsewhere", client.MultiEngineClient(cluster.client_connection_file)
    with pytest.raises(RuntimeError, match=told), mec:
        begin()
    assert repr(mec).endswith("closed>")


# --- magics, in a real terminal --------------------------------------------------------------


@pytest.fixture
def terminal(tmp_path, engines):
    """A real IPython with a client of new engines, named as in the examples."""
    terminal = Terminal(tmp_path)
    try:
        terminal.run("from enginery.kernel import client")
        terminal.run(f"mec = client.MultiEngineClient({engines.client_connection_file!r})")
        yield terminal
        terminal.leave()
    finally:
        terminal.end()


def test_parallel_magic_commands(terminal):
    terminal.run("mec.activate()")
    imported = "".join(f"[{id}] In [1]: import numpy\n" for id in range(4))
    expected = f"Executing command on Controller\nOut[4]: \n<Results List>\n{imported}"
    assert expected in terminal.run("%px import numpy")
    told = terminal.run("%px print(int(numpy.linalg.norm([3, 4])))")
    listed = "".join(f"[{id}] In [2]: print(int(numpy.linalg.norm([3, 4])))\n"
                     f"[{id}] Out[2]: 5\n\n" for id in range(4))  # fmt: skip
    assert "Executing command on Controller\n" in told
    assert f"<Results List>\n{listed}" in told
    assert f"<Results List>\n{listed}" in terminal.run("%result")
    assert "<Results List>\n[0] In [1]: import numpy\n" in terminal.run("%result 1")


def test_autopx(terminal):
    terminal.run("mec.activate()")
    terminal.run("mec.block=False")
    assert "Auto Parallel Enabled\nType %autopx to disable\n" in terminal.run("%autopx")
    assert "<PendingResult execute: " in terminal.run("max_evals = []")
    terminal.block("for i in range(100):", "max_evals.append(float(i))")
    assert "Auto Parallel Disabled\n" in terminal.run("%autopx")
    terminal.run("mec.block=True")
    terminal.run("mec.targets=[1, 3]")
    told = terminal.run('px print("Average max eigenvalue is: ", sum(max_evals)/len(max_evals))')
    assert "Executing command on Controller\n" in told
    assert "\n[1] Out[3]: Average max eigenvalue is:  49.5\n\n[3] In [3]: print(" in told
    assert "[0]" not in told


def test_blocks_and_errors_at_the_prompt(terminal):
    terminal.block("with mec:", "client.remote()", "a = 10", "b = 30", "c = a+b")
    told = terminal.run("mec.get_result()")
    assert "<Results List>\n[0] In [1]: a = 10\nb = 30\nc = a+b\n\n[1] In [1]: a = 10\n" in told
    assert "NameError" in terminal.run("a")
    told = terminal.run("mec.execute('1/0')")
    assert MESSAGE in told
    assert "multiengineclient.py" not in told


def test_activate_needs_ipython(mec):
    with pytest.raises(RuntimeError, match="the magics need IPython"):
        mec.activate()


def test_a_client_of_2008_shares_engines_with_a_modern_one(mec, cluster):
    with Client(cluster.client_connection_file) as rc:
        rc[:].push({"shared": 5}, block=True)
        assert mec["shared"] == [5, 5, 5, 5]
        assert mec.client.ids == rc.ids
