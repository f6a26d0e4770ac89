"""What the control thread can tell of a busy engine."""

import threading

from enginery.engine.control import stacks


def test_stacks_name_each_thread_and_what_it_does():
    began, over = threading.Event(), threading.Event()

    def waits_here():
        began.set()
        over.wait()

    thread = threading.Thread(target=waits_here, name="somebody")
    thread.start()
    try:
        began.wait()
        (told,) = (text for name, text in stacks().items() if name.startswith("somebody "))
        assert "in waits_here" in told
        assert any("test_stacks" in text for text in stacks().values())
    finally:
        over.set()
        thread.join()
