"""The page tells what a process had started and finished, also when it was killed."""

import os
import signal

from enginery.engine.page import Page


def test_it_is_shared_with_a_forked_process_that_is_killed():
    page = Page()
    pid = os.fork()
    if pid == 0:
        page.start(7)
        page.finish(7)
        page.start(9)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert (page.started, page.finished) == (9, 7)
    assert repr(page) == "<Page started 9, finished 7>"
    page.reset()
    assert (page.started, page.finished) == (0, 0)
