"""An interrupt hits the attempt that it names, and nothing else."""

import os
import signal
import threading
import time

import pytest

from enginery.engine.interrupts import REQUEST, Interrupts
from enginery.engine.streams import Streams


@pytest.fixture
def interrupts():
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, REQUEST)}
    interrupts = Interrupts()
    interrupts.install()
    yield interrupts
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_what_code_raises_is_returned(interrupts):
    def fail():
        raise SystemExit(3)

    error = interrupts.run(("t", 1), fail)
    assert isinstance(error, SystemExit)
    assert interrupts.run(("t", 2), lambda: None) is None


def test_the_attempt_that_is_named_is_interrupted(interrupts):
    began = threading.Event()

    def code():
        began.set()
        time.sleep(30)

    def request():
        began.wait()
        interrupts.request(("t", 1))

    thread = threading.Thread(target=request)
    thread.start()
    before = time.monotonic()
    assert isinstance(interrupts.run(("t", 1), code), KeyboardInterrupt)
    assert time.monotonic() - before < 5
    thread.join()


def test_another_attempt_is_not(interrupts):
    def code():
        interrupts.request(("t", 1))
        interrupts.request(("u", 2))
        time.sleep(0.001)

    assert interrupts.run(("t", 2), code) is None


def test_a_request_that_comes_early_is_kept_for_its_attempt(interrupts):
    interrupts.request(("t", 2))
    ran = []
    assert interrupts.run(("t", 1), lambda: ran.append(1)) is None
    assert isinstance(interrupts.run(("t", 2), lambda: ran.append(2)), KeyboardInterrupt)
    assert interrupts.run(("t", 2), lambda: ran.append(3)) is None
    assert ran == [1, 3]


def test_sigint_from_outside_interrupts_user_code_only(interrupts):
    os.kill(os.getpid(), signal.SIGINT)
    error = interrupts.run(("t", 1), lambda: os.kill(os.getpid(), signal.SIGINT))
    assert isinstance(error, KeyboardInterrupt)
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_can_be_caught_and_come_again(interrupts):
    caught = []

    def code():
        for _ in range(2):
            try:
                interrupts.request(("t", 1))
                time.sleep(30)
            except KeyboardInterrupt:
                caught.append(1)

    assert interrupts.run(("t", 1), code) is None
    assert caught == [1, 1]


def test_a_storm_of_signals_never_leaves_user_code(interrupts):
    """Thousands of tiny attempts under fire: each ends as itself, and the loop goes on."""
    over = threading.Event()

    def fire():
        n = 0
        while not over.is_set():
            n += 1
            interrupts.request(("t", at[0]))
            if n % 3 == 0:
                os.kill(os.getpid(), signal.SIGINT)

    at = [0]
    hit = 0
    shooter = threading.Thread(target=fire)
    shooter.start()
    try:
        for n in range(20_000):
            at[0] = n
            error = interrupts.run(("t", n), lambda: sum(range(20)))
            assert error is None or type(error) is KeyboardInterrupt
            hit += error is not None
    finally:
        over.set()
        shooter.join()
    assert hit > 0


def test_a_fork_of_user_code_has_the_usual_handlers(interrupts):
    pid = os.fork()
    if pid == 0:
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        os._exit(0 if usual and signal.getsignal(REQUEST) is signal.SIG_DFL else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# --- what user code calls of the engine ----------------------------------------------------------


def test_an_interrupt_is_held_back_until_the_shield_is_down(interrupts):
    steps = []

    def code():
        with interrupts.shield:
            with interrupts.shield:
                interrupts.request(("t", 1))
                steps.append("inner")
            steps.append("outer")
        steps.append("after")

    assert isinstance(interrupts.run(("t", 1), code), KeyboardInterrupt)
    assert steps == ["inner", "outer"]
    assert not interrupts.pending
    assert interrupts.run(("t", 2), lambda: None) is None


def test_the_shield_of_the_main_thread_is_not_that_of_another(interrupts):
    def code():
        with interrupts.shield:
            up.set()
            down.wait()

    up, down = threading.Event(), threading.Event()
    thread = threading.Thread(target=code)
    thread.start()
    up.wait()
    assert not interrupts.shield.up
    assert isinstance(
        interrupts.run(("t", 1), lambda: interrupts.request(("t", 1)) or time.sleep(30)),
        KeyboardInterrupt,
    )
    down.set()
    thread.join()


def test_who_prints_without_end_can_be_interrupted_at_any_moment(interrupts):
    """Between any two lines of the streams, with somebody who takes what is there."""
    streams = Streams(lambda: None, interrupts.shield)
    streams.reachable(True)
    over = threading.Event()

    def take():
        while not over.wait(0.0002):
            streams.take()

    def code():
        while True:
            streams.write("stdout", "x")
            streams.write("stderr", "y")
            streams.report(0.5)

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    try:
        for n in range(300):
            streams.begin("t", n)
            timer = threading.Timer(0.0005 + n / 3e5, interrupts.request, [("t", n)])
            timer.start()
            assert isinstance(interrupts.run(("t", n), code), KeyboardInterrupt)
            streams.end()
            timer.join()
            assert streams._room.acquire(timeout=10), "the lock was left held"
            streams._room.release()
    finally:
        over.set()
        taker.join(10)
    while streams.take(1 << 20):
        pass
    assert streams.waiting == 0
