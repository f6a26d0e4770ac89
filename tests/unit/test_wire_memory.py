"""Memory files: sealed, written again only when nobody has them, and opened only if they are ours.

Other processes are real ones here; they open and hold what this one lends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from enginery.core import messages as m
from enginery.error import MemoryUnavailable, ProtocolError
from enginery.wire import codec
from enginery.wire.memory import arena as arenas
from enginery.wire.memory import raw, segments
from enginery.wire.memory import windows as panes
from enginery.wire.memory.arena import Arena
from enginery.wire.memory.keeper import Keeper
from enginery.wire.memory.peer import LEAST, Memory
from enginery.wire.memory.probe import Probe
from enginery.wire.memory.segments import HEADER, Own, opened
from enginery.wire.memory.windows import Windows

SIZE = 1 << 20
LINE = "the first line of a file"

HOLDER = """
import sys
from enginery.core.messages import Segment
from enginery.wire.memory.windows import Windows
pid, fd, size, token = sys.argv[1:]
held = Windows().view(Segment(int(pid), int(fd), int(size), bytes.fromhex(token)))
print(bytes(held[64:72]).hex(), flush=True)
sys.stdin.read()
"""


def view(data: bytes | bytearray) -> memoryview:
    return memoryview(data).cast("B")


def filled(data: bytes = b"x" * 100, size: int = SIZE) -> Own:
    own = Own(size)
    own.fill([view(data)])
    return own


@contextlib.contextmanager
def held_elsewhere(name: m.Segment) -> Iterator[subprocess.Popen[str]]:
    """Another process that has this segment mapped until the end of the block, or its own."""
    numbers = [str(name.pid), str(name.fd), str(name.size), name.token.hex()]
    command = [sys.executable, "-c", HOLDER, *numbers]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip(), "it could not open it"
            yield process
        finally:
            process.kill()


def memory_descriptors() -> int:
    """How many memory files this process has open."""
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("/memfd:enginery")
    return count


def memory_mappings() -> int:
    """How many mappings of memory files this process has."""
    return Path("/proc/self/maps").read_text().count("/memfd:enginery")


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    gc.collect()
    before = memory_descriptors(), memory_mappings()
    yield
    gc.collect()
    assert (memory_descriptors(), memory_mappings()) == before


# --- one segment --------------------------------------------------------------------------------


def test_a_segment_can_be_read_by_who_opens_it_and_not_be_written() -> None:
    own = filled(b"hello" * 20)
    fd = opened(own.name)
    try:
        assert os.pread(fd, 5, HEADER) == b"hello"
        with pytest.raises(OSError):
            os.pwrite(fd, b"other", HEADER)
        with pytest.raises(OSError):
            mmap.mmap(fd, SIZE)
    finally:
        os.close(fd)


def test_nobody_can_write_to_it_who_opens_it_for_that() -> None:
    own = filled()
    fd = os.open(f"/proc/self/fd/{own.fd}", os.O_RDWR)
    try:
        for attempt in (
            lambda: os.pwrite(fd, b"other", HEADER),
            lambda: mmap.mmap(fd, SIZE),
            lambda: os.ftruncate(fd, 1),
            lambda: os.ftruncate(fd, 2 * SIZE),
        ):
            with pytest.raises(PermissionError):
                attempt()
    finally:
        os.close(fd)


def test_it_holds_several_buffers_each_aligned() -> None:
    own = Own(SIZE)
    data = [b"a" * 3, b"b" * 64, b"c" * 65, b"d"]
    own.fill([view(each) for each in data])
    assert own.places == [64, 128, 192, 320, 384]
    whole = own.lend()
    for each, at in zip(data, own.places, strict=False):
        assert whole[at : at + len(each)] == each


def test_what_is_lent_is_read_only_and_keeps_the_segment() -> None:
    own = filled()
    part = own.lend()[HEADER:]
    assert part.readonly
    assert not own.free
    del part
    assert own.free


def test_a_view_outlives_its_segment() -> None:
    own = filled(b"kept")
    part = own.lend()[HEADER : HEADER + 4]
    own.close()
    del own
    assert bytes(part) == b"kept"


def test_it_is_claimed_only_when_nobody_has_it_open() -> None:
    own = filled()
    fd = opened(own.name)
    assert not own.claim()
    os.close(fd)
    assert own.claim()


def test_a_mapping_without_its_descriptor_is_enough_to_keep_it() -> None:
    own = filled()
    with held_elsewhere(own.name):
        assert not own.claim()


def test_a_process_that_was_killed_keeps_it_no_longer() -> None:
    own = filled()
    with held_elsewhere(own.name) as process:
        assert not own.claim()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert own.claim()


def test_what_was_filled_again_has_another_name() -> None:
    own = filled(b"first")
    before = own.name
    assert own.claim()
    own.fill([view(b"second")])
    assert (own.name.fd, own.name.size) == (before.fd, before.size)
    with pytest.raises(MemoryUnavailable, match="something else by now"):
        opened(before)
    fd = opened(own.name)
    assert os.pread(fd, 6, HEADER) == b"second"
    os.close(fd)


def test_a_kernel_without_that_seal_gives_segments_that_are_written_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segments, "can_write_again", lambda: False)
    own = filled(b"once")
    assert bytes(own.lend()[HEADER : HEADER + 4]) == b"once"
    assert own.free
    assert not own.claim()
    assert own.holds([view(b"once")])
    os.close(opened(own.name))


# --- what is not opened -------------------------------------------------------------------------


def named(fd: int, size: int, token: bytes = bytes(16)) -> m.Segment:
    return m.Segment(os.getpid(), fd, size, token)


def test_what_is_no_memory_file_is_not_opened(tmp_path: Path) -> None:
    fifo, plain = tmp_path / "fifo", tmp_path / "memfd:enginery"
    os.mkfifo(fifo)
    plain.write_text(LINE)
    with contextlib.ExitStack() as stack:
        for fd in (
            os.open(fifo, os.O_RDWR),
            os.open(plain, os.O_RDONLY),
            os.open("/dev/null", os.O_RDWR),
            os.memfd_create("another's"),
        ):
            stack.callback(os.close, fd)
            with pytest.raises(MemoryUnavailable, match="no memory file"):
                opened(named(fd, len(LINE)))


def test_only_a_sealed_one_of_the_stated_size_and_content_is_opened() -> None:
    fd = os.memfd_create("enginery", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, SIZE)
        for seals, why in (
            (0, "not sealed"),
            (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW, "not sealed"),
            (fcntl.F_SEAL_WRITE, None),
        ):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            if why is not None:
                with pytest.raises(MemoryUnavailable, match=why):
                    opened(named(fd, SIZE))
        for size, token, why in (
            (SIZE + 1, bytes(16), "another size"),
            (SIZE - 1, bytes(16), "another size"),
            (SIZE, b"", "something else"),
            (SIZE, b"\1" * 16, "something else"),
        ):
            with pytest.raises(MemoryUnavailable, match=why):
                opened(named(fd, size, token))
        os.close(opened(named(fd, SIZE)))
    finally:
        os.close(fd)
    shrinks = os.memfd_create("enginery", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:  # who maps it would die of it
        fcntl.fcntl(shrinks, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW)
        with pytest.raises(MemoryUnavailable, match="not sealed"):
            opened(named(shrinks, 0))
    finally:
        os.close(shrinks)


def test_one_whose_owner_keeps_it_locked_is_not_waited_for() -> None:
    own = filled()
    fcntl.flock(own.fd, fcntl.LOCK_EX)
    with pytest.raises(MemoryUnavailable):
        opened(own.name)


@pytest.mark.parametrize(
    "segment",
    [
        m.Segment(0, 0, 1, bytes(16)),
        m.Segment(-1, 0, 1, bytes(16)),
        m.Segment(os.getpid(), -1, 1, bytes(16)),
        m.Segment(os.getpid(), 1 << 40, 1, bytes(16)),
        m.Segment(1 << 60, 3, 1, bytes(16)),
    ],
)
def test_what_is_not_there_is_not_opened(segment: m.Segment) -> None:
    with pytest.raises(MemoryUnavailable, match="cannot be used"):
        opened(segment)


# --- those of a process -------------------------------------------------------------------------


def lend(arena: Arena, *data: bytes | bytearray) -> tuple[Own, memoryview]:
    lent = arena.lend([view(each) for each in data])
    assert lent is not None
    return lent


def test_a_segment_is_used_again_when_nobody_has_it() -> None:
    arena = Arena()
    first, part = lend(arena, b"a" * SIZE)
    second, _ = lend(arena, b"b" * SIZE)
    assert second is not first
    assert bytes(part[HEADER : HEADER + 3]) == b"aaa"
    del part
    third, part = lend(arena, b"c" * SIZE)
    assert third is first
    assert bytes(part[HEADER : HEADER + 3]) == b"ccc"


def test_a_segment_that_another_process_maps_is_not_used_again() -> None:
    arena = Arena()
    first, part = lend(arena, b"a" * SIZE)
    with held_elsewhere(first.name):
        del part
        second, _part = lend(arena, b"b" * SIZE)
        assert second is not first
    third, _ = lend(arena, b"c" * SIZE)
    assert third is first


def test_the_same_bytes_are_not_copied_again() -> None:
    arena = Arena()
    data = bytearray(os.urandom(SIZE))
    first, part = lend(arena, data, b"more")
    token = first.token
    second, same = lend(arena, bytes(data), b"more")
    assert (second, second.token) == (first, token)
    del part, same
    third, _ = lend(arena, data, b"more")  # although nobody had it meanwhile
    assert (third, third.token) == (first, token)
    data[SIZE // 2] ^= 1
    _, part = lend(arena, data, b"more")
    assert part[HEADER : HEADER + SIZE] == data


def test_nor_is_one_of_several_of_the_same_size_such_as_parts_of_data() -> None:
    arena = Arena()
    parts = [bytes(SIZE - 1) + bytes([i]) for i in range(10)]
    held = [lend(arena, part) for part in parts]
    tokens = [segment.token for segment, _ in held]
    held.clear()
    assert [lend(arena, part)[0].token for part in parts] == tokens
    assert len(set(tokens)) == 10


def test_a_segment_much_too_large_is_left_alone() -> None:
    arena = Arena()
    large, _ = lend(arena, b"a" * 8 * SIZE)
    small, _ = lend(arena, b"b" * SIZE)
    assert small is not large


def test_idle_segments_are_given_up_beyond_a_limit() -> None:
    arena = Arena(idle_bytes=3 * SIZE)
    parts = [lend(arena, bytes([i]) * SIZE)[1] for i in range(8)]
    before = memory_descriptors()
    parts.clear()
    assert memory_descriptors() <= before - 6
    arena.close()
    assert memory_descriptors() == before - 8


def test_one_idle_segment_is_kept_however_large() -> None:
    arena = Arena(idle_bytes=SIZE)
    first = lend(arena, b"a" * 4 * SIZE)[0].token
    assert lend(arena, b"a" * 4 * SIZE)[0].token == first


def test_what_is_idle_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    arena = Arena()
    assert arena.look() is None
    part = lend(arena, b"a" * SIZE)[1]
    lend(arena, b"b" * SIZE)
    before = memory_descriptors()
    rest = arena.look()
    assert rest is not None
    assert 0 < rest <= arenas.IDLE_TIME
    assert memory_descriptors() == before
    monkeypatch.setattr(arenas, "IDLE_TIME", 0.0)
    assert arena.look() == 0.0  # something is lent, and may be idle later
    assert memory_descriptors() == before - 1
    del part
    assert arena.look() is None
    assert memory_descriptors() == before - 2


def test_what_another_process_still_has_is_known_when_it_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its memory would not be free, and a function that holds it would get another name."""
    monkeypatch.setattr(arenas, "IDLE_TIME", 0.0)
    arena = Arena()
    segment, part = lend(arena, b"a" * SIZE)
    token = segment.token
    with held_elsewhere(segment.name):
        del part
        assert arena.look() == 0.0
        assert lend(arena, b"a" * SIZE)[0].token == token
    assert arena.look() is None


def test_a_fork_does_not_use_the_segments_of_its_parent() -> None:
    arena = Arena()
    lend(arena, b"a" * SIZE)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if arena.lend([view(b"b" * SIZE)]) is None else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_when_descriptors_run_short_nothing_is_lent() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    arena = Arena()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    try:
        assert arena.lend([view(b"a" * SIZE)]) is None
    finally:
        for fd in files:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert arena.lend([view(b"a" * SIZE)]) is not None


def test_threads_lend_at_the_same_time() -> None:
    arena, wrong = Arena(), list[int]()

    def work(byte: int) -> None:
        for i in range(50):
            data = bytes([byte, i]) * (SIZE // 2)
            _, part = lend(arena, data)
            if part[HEADER : HEADER + SIZE] != data:
                wrong.append(byte)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- those of another process stay mapped -------------------------------------------------------


def test_what_is_filled_again_is_seen_through_the_same_window() -> None:
    windows = Windows()
    own = filled(b"a")
    seen = windows.view(own.name)
    at, mappings = raw.address(seen), memory_mappings()
    assert seen[HEADER] == ord("a")
    assert not own.claim()  # somebody looks
    part = seen[HEADER : HEADER + 1]
    del seen
    assert not own.claim()
    del part
    assert memory_mappings() == mappings - 1  # that of the lock; the window is there
    assert own.claim()
    own.fill([view(b"b")])
    again = windows.view(own.name)
    assert (raw.address(again), again[HEADER], memory_mappings()) == (at, ord("b"), mappings)
    assert not own.claim()
    windows.close()
    assert again[HEADER] == ord("b")
    assert not own.claim()


def test_views_of_one_segment_keep_it_each() -> None:
    windows = Windows()
    own = filled(b"a")
    one, other = windows.view(own.name), windows.view(own.name)
    assert raw.address(one) == raw.address(other)
    del one
    assert not own.claim()
    del other
    assert own.claim()


def test_through_no_window_another_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of an inode may be given again."""
    windows = Windows()
    first, second = filled(b"a"), filled(b"b")
    one = windows.view(first.name)
    stat = os.fstat(first.fd)
    monkeypatch.setattr(os, "fstat", lambda fd: stat)
    other = windows.view(second.name)
    assert (one[HEADER], other[HEADER]) == (ord("a"), ord("b"))
    assert windows.view(first.name)[HEADER] == ord("a")


def test_windows_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows()
    assert windows.look() is None
    own = filled(b"a")
    before = memory_mappings()
    windows.view(own.name)
    rest = windows.look()
    assert rest is not None
    assert 0 < rest <= panes.IDLE_TIME
    assert memory_mappings() == before + 1
    monkeypatch.setattr(panes, "IDLE_TIME", 0.0)
    assert windows.look() is None
    assert memory_mappings() == before


def test_each_window_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(panes, "time", SimpleNamespace(monotonic=lambda: now))
    windows = Windows()
    first, second = filled(b"a"), filled(b"b")
    before = memory_mappings()
    windows.view(first.name)
    now = panes.IDLE_TIME - 0.5
    windows.view(second.name)
    assert windows.look() == 0.5
    now = panes.IDLE_TIME
    assert windows.look() == panes.IDLE_TIME - 0.5
    assert memory_mappings() == before + 1


@pytest.mark.parametrize("limit", ["NUMBER", "BYTES"])
def test_few_windows_are_kept_the_last_ones(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panes, limit, {"NUMBER": 2, "BYTES": 4 * SIZE}[limit])
    windows = Windows()
    owned = [filled(bytes([i]), 2 * SIZE) for i in range(4)]
    before = memory_mappings()
    for own in (owned[0], owned[1], owned[0], owned[2]):
        windows.view(own.name)
    assert memory_mappings() == before + 2
    held = windows.view(owned[0].name)
    assert memory_mappings() == before + 3  # it was there, and has a lock now
    windows.view(owned[3].name)
    assert (held[HEADER], memory_mappings()) == (0, before + 3)


def test_a_window_that_is_too_large_is_not_kept_nor_costs_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(panes, "BYTES", 4 * SIZE)
    windows = Windows()
    small, large = filled(b"a"), filled(b"b", 5 * SIZE)
    before = memory_mappings()
    windows.view(small.name)
    assert windows.view(large.name)[HEADER] == ord("b")
    assert memory_mappings() == before + 1


# --- between peers ------------------------------------------------------------------------------


class Pair:
    """A peer and a controller, which have met, in one process."""

    def __init__(self) -> None:
        self.peer, self.keeper = Memory(), Keeper()
        hello = m.Hello(1, "", "engine", "tasks", b"", memory=self.peer.probe.name)
        self.keeper.meet(hello)
        assert hello.memory is not None
        self.peer.meet(m.Welcome("c", 1, memory=self.keeper.probe.name))

    def send(self, buffers: tuple[m.Buffer, ...]) -> tuple[list[bytes], tuple[m.Buffer, ...]]:
        """The frames from the peer, and what the controller makes of them."""
        frames = codec.encode([m.Submit(1, [m.Task("t", b"", b"", buffers)])], by_reference=True)
        (submit,) = codec.decode(frames, False, self.keeper.borrowing(os.getpid()))
        assert isinstance(submit, m.Submit)
        return frames, submit.tasks[0].buffers

    def pass_on(self, buffers: tuple[m.Buffer, ...]) -> tuple[m.Buffer, ...]:
        """What the peer makes of what the controller sends it."""
        frames = codec.encode([m.Run([m.Attempt(1, "t", 1, b"", b"", buffers)])], by_reference=True)
        assert len(frames) == 1
        (run,) = codec.decode(frames, borrow=self.peer.borrow)
        assert isinstance(run, m.Run)
        return run.attempts[0].buffers

    def close(self) -> None:
        self.peer.close()
        self.keeper.probe.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_large_buffers_go_by_reference_all_the_way(pair: Pair) -> None:
    buffers = (m.Buffer(os.urandom(LEAST)), m.Buffer(os.urandom(20_000)))
    lent = pair.peer.lend(buffers)
    frames, kept = pair.send(lent)
    assert (len(frames), len(frames[0]) < 300) == (1, True)
    assert [b.nbytes for b in kept] == [LEAST, 20_000]
    assert kept == buffers
    del lent
    arrived = pair.pass_on(kept)
    del kept
    assert arrived == buffers
    assert all(memoryview(b.data).readonly for b in arrived)


def test_what_comes_again_is_the_same_buffer_as_long_as_somebody_has_it(pair: Pair) -> None:
    lent = pair.peer.lend((m.Buffer(os.urandom(SIZE)), m.Buffer(b"b" * SIZE)))
    before = memory_descriptors()
    _, first = pair.send(lent)
    _, again = pair.send(lent[:1])
    assert again[0] is first[0]
    assert first[0] is not first[1]
    assert memory_descriptors() == before + 1
    kept = weakref.ref(first[0])
    del first, again
    assert kept() is None
    assert memory_descriptors() == before


def test_what_was_filled_again_is_another_buffer(pair: Pair) -> None:
    _, (old,) = pair.send(pair.peer.lend((m.Buffer(b"a" * SIZE),)))
    kept = weakref.ref(old)
    del old
    _, (new,) = pair.send(pair.peer.lend((m.Buffer(b"b" * SIZE),)))
    assert kept() is None
    assert bytes(new) == b"b" * SIZE


def test_small_buffers_go_in_frames(pair: Pair) -> None:
    buffers = (m.Buffer(b"x" * (LEAST - 1)),)
    assert pair.peer.lend(buffers) is buffers


def test_what_is_read_from_the_controller_outlives_all(pair: Pair) -> None:
    data = os.urandom(SIZE)
    _, kept = pair.send(pair.peer.lend((m.Buffer(data),)))
    (arrived,) = pair.pass_on(kept)
    del kept
    pair.close()
    again = Arena()
    lend(again, b"z" * SIZE)
    assert bytes(arrived) == data


def test_what_another_reads_is_not_written_over(pair: Pair) -> None:
    data = os.urandom(SIZE)
    _, kept = pair.send(pair.peer.lend((m.Buffer(data),)))
    for i in range(4):
        pair.peer.lend((m.Buffer(bytes([i]) * SIZE),))
    assert bytes(kept[0]) == data


def test_who_does_not_share_gets_frames(pair: Pair) -> None:
    data = os.urandom(2 * SIZE)
    _, kept = pair.send(pair.peer.lend((m.Buffer(data),)))
    frames = codec.encode([m.Run([m.Attempt(1, "t", 1, b"", b"", kept)])])
    (run,) = codec.decode([bytes(frame) for frame in frames])
    assert isinstance(run, m.Run)
    assert bytes(run.attempts[0].buffers[0]) == data


def test_memory_that_is_gone_spoils_its_own_buffer_only(pair: Pair) -> None:
    _, gone = pair.send(pair.peer.lend((m.Buffer(b"a" * SIZE),)))
    _, here = pair.send(pair.peer.lend((m.Buffer(b"b" * SIZE),)))
    attempts = [m.Attempt(i, "t", 1, b"", b"", each) for i, each in enumerate((gone, here))]
    frames = codec.encode([m.Run(attempts)], by_reference=True)
    attempts.clear()
    del gone
    (run,) = codec.decode(frames, borrow=pair.peer.borrow)
    assert isinstance(run, m.Run)
    first, second = (attempt.buffers[0] for attempt in run.attempts)
    assert first.nbytes == SIZE
    with pytest.raises(MemoryUnavailable, match="cannot be used"):
        bytes(first)
    assert bytes(second) == b"b" * SIZE


def test_a_thousand_messages_leave_no_descriptor(pair: Pair) -> None:
    before = memory_descriptors()
    for i in range(1000):
        data = i.to_bytes(2, "big") * (LEAST // 2)
        _, kept = pair.send(pair.peer.lend((m.Buffer(data),)))
        assert bytes(kept[0]) == data
        del kept
    assert memory_descriptors() <= before + 3


def test_a_controller_short_of_descriptors_maps(pair: Pair) -> None:
    data = os.urandom(SIZE)
    lent = pair.peer.lend((m.Buffer(data),))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    try:
        before = memory_descriptors()
        _, kept = pair.send(lent)
        assert memory_descriptors() == before
    finally:
        for fd in files:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    frames = codec.encode([m.Run([m.Attempt(1, "t", 1, b"", b"", kept)])], by_reference=True)
    assert len(frames) > 1
    assert bytes(kept[0]) == data


def test_who_can_map_no_more_copies(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(SIZE)
    _, kept = pair.send(pair.peer.lend((m.Buffer(data),)))

    def no_more(fd: int, size: int, writable: bool = False) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(raw, "mapped", no_more)
    (arrived,) = pair.pass_on(kept)
    assert bytes(arrived) == data
    with pytest.raises(MemoryUnavailable, match="cannot be mapped"):
        bytes(kept[0])


def test_references_are_refused_from_who_shares_nothing(pair: Pair) -> None:
    lent = pair.peer.lend((m.Buffer(b"a" * SIZE),))
    frames = codec.encode([m.Submit(1, [m.Task("t", b"", b"", lent)])], by_reference=True)
    with pytest.raises(MemoryUnavailable, match="does not share"):
        codec.decode(frames)
    with pytest.raises(MemoryUnavailable, match="named by"):
        codec.decode(frames, False, pair.keeper.borrowing(os.getpid() + 1))


@pytest.mark.parametrize(
    ("offset", "nbytes"), [(-1, 5), (0, -1), (SIZE, 1), (1, SIZE), (0, 1 << 62)]
)
def test_references_stay_within_their_memory(pair: Pair, offset: int, nbytes: int) -> None:
    own = filled(b"x")

    class Forged:
        reference = (own.name, offset, nbytes)

        def view(self) -> memoryview:
            raise AssertionError

    Forged.nbytes = nbytes  # type: ignore[attr-defined]
    task = m.Task("t", b"", b"", (m.Buffer(None, Forged()),))  # type: ignore[arg-type]
    frames = codec.encode([m.Submit(1, [task])], by_reference=True)
    with pytest.raises(ProtocolError, match="outside"):
        codec.decode(frames, False, pair.keeper.borrowing(os.getpid()))


def test_who_offers_no_probe_shares_nothing() -> None:
    silent, other = Probe(wanted=False), Probe()
    assert silent.name is None
    assert silent.found(other.name) is None
    assert other.found(None) is None
    assert other.found(named(0, 64)) is None
    assert other.found(other.name) == other.name
    memory = Memory()
    memory.meet(m.Welcome("c", 1, memory=m.Segment(os.getpid(), 0, 64, bytes(16))))
    assert memory.controller == 0
    buffers = (m.Buffer(b"x" * SIZE),)
    assert memory.lend(buffers) is buffers
    memory.close()


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 5000, 20_000, 300_001])
def test_memory_is_compared_to_the_last_byte(size: int) -> None:
    data = bytearray(os.urandom(size))
    own = filled(bytes(data))
    assert own.holds([view(data)])
    for at in {0, size // 3, size // 2, size - 1}:
        data[at] ^= 1
        assert not own.holds([view(data)])
        data[at] ^= 1
    assert own.holds([view(data)])
