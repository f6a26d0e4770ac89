"""What commands have printed is remembered within bounds that hold however it was printed."""

import tracemalloc

import pytest

from enginery.engine import commands as module
from enginery.engine.commands import ALL, EACH, MORE, REMEMBERED, Commands


@pytest.fixture
def commands():
    return Commands()


def held_while(action):
    """The memory, in bytes, that is held after this more than before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        action()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def print_all(commands, number, writes):
    with commands.noting(number, "task"):
        for stream, text in writes:
            commands.hear(stream, text)


def test_small_writes_take_hardly_more_than_their_characters(commands):
    writes = [("stdout", chr(0x100 + i % 200)) for i in range(50_000)]
    held = held_while(lambda: print_all(commands, 1, writes))
    assert commands.command(1).printed()["stdout"] == "".join(text for _, text in writes)
    assert held < 3 * len(writes)


def test_small_writes_to_both_streams_in_turn_are_bounded_too(commands):
    writes = [("stdout", "o"), ("stderr", "e")] * 50_000
    held = held_while(lambda: print_all(commands, 1, writes))
    printed = commands.command(1).printed()
    assert held < 3 * EACH
    assert printed["stdout"].startswith("ooo")
    assert MORE in printed["stdout"] + printed["stderr"]


def test_empty_writes_are_not_remembered(commands):
    print_all(commands, 1, [("stdout", ""), ("stderr", "")] * 10)
    assert commands.command(1).parts == []


def test_the_order_of_a_stream_is_kept(commands):
    writes = [("stdout", "a"), ("stdout", "b" * module.PIECE), ("stderr", "c"), ("stdout", "d")]
    print_all(commands, 1, writes)
    assert commands.command(1).printed() == {
        "stdout": "a" + "b" * module.PIECE + "d", "stderr": "c",
    }  # fmt: skip


def test_one_command_is_cut_where_its_room_ends(commands):
    print_all(commands, 1, [("stdout", "x" * (EACH // 2))] * 4)
    text = commands.command(1).printed()["stdout"]
    assert text.endswith(MORE)
    assert EACH - 3 * module.OVERHEAD < len(text) - len(MORE) <= EACH


def test_what_exactly_fills_the_room_is_not_cut_but_what_follows_is(commands):
    print_all(commands, 1, [("stdout", "x" * (EACH - module.OVERHEAD))])
    assert MORE not in commands.command(1).printed()["stdout"]
    print_all(commands, 2, [("stdout", "x" * (EACH - module.OVERHEAD)), ("stderr", "y")])
    assert commands.command(2).printed()["stderr"] == MORE


def test_a_number_that_comes_again_is_the_last_one_and_counts_once(commands):
    for number in (1, 2, 3):
        print_all(commands, number, [("stdout", f"first {number}")])
    for _ in range(2 * ALL // EACH):
        print_all(commands, 1, [("stdout", "x" * (EACH // 2))])
    print_all(commands, 1, [("stdout", "again")])
    assert commands.command().printed()["stdout"] == "again"
    assert commands.command(2).printed()["stdout"] == "first 2"  # there was no want of room
    assert commands._size == sum(commands.command(n).size for n in (1, 2, 3))


def test_the_oldest_make_room_and_the_count_stays_true(commands):
    for number in range(40):
        print_all(commands, number, [("stdout", "x" * (EACH // 2)), ("stderr", "y")])
    assert commands.command(0).printed() == {"stdout": MORE, "stderr": ""}
    assert commands.command().printed()["stderr"] == "y"
    assert commands._size == sum(commands.command(n).size for n in range(40)) <= ALL


def test_the_oldest_commands_are_forgotten(commands):
    for number in range(REMEMBERED + 1):
        print_all(commands, number, [("stdout", "x")])
    with pytest.raises(IndexError, match=f"no command 0; the last was {REMEMBERED}"):
        commands.command(0)
    assert commands._size == REMEMBERED * (module.OVERHEAD + 1)
