"""What words on a command line mean: selectors of tasks, filters of lists."""

from __future__ import annotations

import itertools

import pytest

from enginery.cli.entry import UsageError
from enginery.cli.filters import (
    OPEN,
    STATUSES,
    WORDS,
    Filter,
    engines,
    inner_name,
    states,
    word_of,
    words_of,
)
from enginery.cli.known import document
from enginery.cli.selectors import select
from enginery.core import database
from enginery.error import UnknownTask

HISTORY = ["aaaaaa-1", "bbbbbb-1", "aaaaaa-2", "123456-7", "bbbbbb-2"]
LABELS = {"fit": ["bbbbbb-1", "bbbbbb-2"], "1": ["aaaaaa-2"], "a,b": ["123456-7"], "x-1": HISTORY}


def chosen(*words: str, history: list[str] = HISTORY) -> list[str]:
    """The ids that these words mean among the tasks above."""
    return select(words, history, lambda label: LABELS.get(label, []))


# --- selectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "ids"),
    [
        ("1", ["aaaaaa-1"]),
        ("5", ["bbbbbb-2"]),
        ("2-4", HISTORY[1:4]),
        ("3-3", ["aaaaaa-2"]),
        ("1,3,4-5", ["aaaaaa-1", "aaaaaa-2", "123456-7", "bbbbbb-2"]),
        ("4,1", ["123456-7", "aaaaaa-1"]),
        ("last", ["bbbbbb-2"]),
        ("all", HISTORY),
        ("aaaaaa-2", ["aaaaaa-2"]),
        ("aaaaaa-2,1", ["aaaaaa-2", "aaaaaa-1"]),
        ("123456-7", ["123456-7"]),  # digits only, and yet an id
        ("fit", ["bbbbbb-1", "bbbbbb-2"]),
        ("label=fit", ["bbbbbb-1", "bbbbbb-2"]),
        ("label=1", ["aaaaaa-2"]),
        ("label=a,b", ["123456-7"]),
        ("x-1", HISTORY),
    ],
)
def test_a_selector(word: str, ids: list[str]) -> None:
    assert chosen(word) == ids


def test_several_mean_each_task_once_in_the_order_of_the_words() -> None:
    assert chosen("last", "2", "fit", "1-2") == ["bbbbbb-2", "bbbbbb-1", "aaaaaa-1"]


@pytest.mark.parametrize(
    "word", ["6", "4-6", "nosuch", "label=nosuch", "cccccc-1", "aaaaaa-9", "01"]
)
def test_what_is_not_there_is_told(word: str) -> None:
    with pytest.raises(UnknownTask, match=r"remembers no task .*; there are 1-5\n.*list tasks"):
        chosen(word)


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("0", "numbers begin with 1"),
        ("0-2", "numbers begin with 1"),
        ("3-2", "3 is more than 2"),
        ("123456-8", "123456 is more than 8"),  # an id that is not kept any more
        ("1,,2", "is no selector"),
        ("", "is no selector"),
    ],
)
def test_what_cannot_be_meant_is_refused(word: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        chosen(word)


def test_no_tasks_at_all() -> None:
    assert chosen("all", history=[]) == []
    for word in ("last", "1", "x"):
        with pytest.raises(UnknownTask, match=r"remembers no(ne| task)"):
            chosen(word, history=[])


# --- filters --------------------------------------------------------------------------------------

ENDINGS = [("done", status) for status in (*STATUSES, "expired")]
TASKS = [
    {"msg_id": "running" if running else "x", "state": state, "status": status, "name": name,
     "label": label, "engine_id": engine}
    for (state, status, running), name, label, engine in itertools.product(
        [*((s, "", False) for s in OPEN), ("sent", "", True), *((*e, False) for e in ENDINGS)],
        ("map(fit)", "execute", "apply(<lambda>)"), ("", "night"), (-1, 3),
    )
]  # fmt: skip


@pytest.mark.parametrize("words", list(itertools.combinations(WORDS, 2)))
def test_what_is_asked_for_holds_all_that_is_looked_for(words: tuple[str, str]) -> None:
    wanted = Filter(states=words)
    where = database.checked(wanted.where())
    kept = [task for task in TASKS if wanted.keeps(task, {"running"})]
    assert kept
    assert all(database.matches(task, where) for task in kept)


@pytest.mark.parametrize(
    ("word", "n"),
    [("failed", 7), ("done", 9), ("unfinished", 6), ("running", 1), ("sent", 2), ("ok", 1)],
)
def test_states(word: str, n: int) -> None:
    kinds = len(TASKS) // 15  # 6 states of those that have not ended, 9 endings
    assert sum(Filter(states=[word]).keeps(task, {"running"}) for task in TASKS) == n * kinds


def test_a_map_that_was_divided_has_not_failed_but_its_shares_have() -> None:
    chunk = {"msg_id": "a-1", "state": "done", "status": "error", "name": "map(f)", "items": [0, 9]}
    failed = Filter(states=["failed"])
    assert not failed.keeps(chunk, ())
    assert failed.keeps({**chunk, "msg_id": "a-1.4", "items": [4, 5]}, ())
    assert (word_of(chunk, False), word_of({**chunk, "status": "ok"}, False)) == ("error", "ok")


def test_the_word_for_a_state_is_one_that_filters_know() -> None:
    words = {word_of(task, task["msg_id"] == "running") for task in TASKS}
    assert words == {*OPEN, "running", "ok", "failed", "aborted"}
    for task in TASKS:
        running = task["msg_id"] == "running"
        assert word_of(task, running) in words_of(task, running)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("fit", {"map(fit)"}),
        ("map(fit)", {"map(fit)"}),
        ("map(*)", {"map(fit)"}),
        ("*i*", {"map(fit)"}),
        ("<lambda>", {"apply(<lambda>)"}),
        ("execute", {"execute"}),
        ("it", set()),
    ],
)
def test_functions(function: str, names: set[str]) -> None:
    wanted = Filter(functions=[function])
    where = database.checked(wanted.where())
    found = {t["name"] for t in TASKS if database.matches(t, where) and wanted.keeps(t, ())}
    assert found == names
    assert inner_name("map(f(g))") == "f(g)"


def test_labels_and_engines_are_asked_for() -> None:
    where = database.checked(Filter(labels=["night", "day"], engines=[3, 4]).where())
    found = [task for task in TASKS if database.matches(task, where)]
    assert {(task["label"], task["engine_id"]) for task in found} == {("night", 3)}


def test_engines_of_an_option() -> None:
    assert engines("3") == [3]
    assert engines("0-2,7") == [0, 1, 2, 7]
    for wrong in ("", "x", "2-1", "1,", "-1", "0-9999999"):
        with pytest.raises(UsageError, match="names no engines"):
            engines(wrong)


def test_states_of_an_option() -> None:
    assert states("held,failed") == ["held", "failed"]
    with pytest.raises(UsageError, match="there is no state 'fialed'; there are held, "):
        states("fialed")
    with pytest.raises(UsageError, match="there are busy, idle"):
        states("held", ("busy", "idle"))


# --- what is printed ------------------------------------------------------------------------------

TASK = {
    "msg_id": "aaaaaa-1", "client": "aaaaaa", "name": "", "label": "", "state": "waiting",
    "status": "", "engine_id": -1, "attempt": 0, "retries": 2, "priority": 0.0,
    "submitted": 1700000000.25, "started": 0.0, "completed": 0.0, "size": 300, "reason": "",
}  # fmt: skip


def test_what_is_not_known_yet_is_null() -> None:
    told = document(TASK, 3, running=True)  # an engine has it by now, but had not just before
    nothing = ("status", "engine_id", "attempt", "started", "completed", "reason")
    assert [told[key] for key in nothing] == [None] * 6
    assert (told["number"], told["retries"], told["priority"]) == (3, 2, 0.0)
    assert (told["name"], told["label"], told["running"]) == ("", "", False)
    assert told["submitted"] == "2023-11-14T22:13:20.250000Z"
    assert document({**TASK, "state": "sent"}, 3, running=True)["running"]
    assert told.keys() - {"number", "running"} == {*database.KEYS, "items"}
