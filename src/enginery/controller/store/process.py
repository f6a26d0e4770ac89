"""The process of the hub database: it follows the journal, writes rows and answers questions.

It is a child of the controller, of low priority, and ends when that does: what stands in the
journal by then is written first. Whatever goes wrong ends it, and costs nobody anything: the next
one goes on where it was.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress

import msgspec
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...core.events import Question
from . import talk
from .answers import LIMIT, Answers, TooMuch
from .database import Database, Unusable
from .filler import Filler

COLLECT = 0.5
"""Seconds for which rows are collected, when not much happens."""

QUIET = 1.0
"""Seconds after which nothing more is looked for until the controller says that there is."""

CATCH_UP = 1.5
"""Seconds that a question waits for what the journal says."""

TRIM, TRIM_IDLE = 10.0, 600.0
"""Seconds between two looks at the limits: when something was written, and when not."""

LEFT = 60.0
"""Seconds that this process may need after the controller has ended."""

FAILED, UNUSABLE = 1, 3
"""Exit codes: another one may do better; trying again does not help."""


def main(argv: Sequence[str]) -> int:
    """Serve the controller at the other end of the descriptor that is named."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # this ends when the controller does
    line = socket.socket(fileno=int(argv[0]))
    threading.Thread(target=_watch, args=(line,), daemon=True).start()
    store = Store(line)
    try:
        store.run()
    except Unusable as error:
        store.say(talk.Wrong(str(error)))
        return UNUSABLE
    except (SQLAlchemyError, OSError) as error:
        store.say(talk.Wrong(in_words(error)))
        return FAILED
    return 0


def _watch(line: socket.socket) -> None:
    """End this process some time after the controller, whatever it is at."""
    poll = select.poll()
    poll.register(line, select.POLLHUP)
    poll.poll()
    time.sleep(LEFT)
    os._exit(FAILED)


def in_words(error: Exception) -> str:
    """What a database says is wrong, in a line."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause or error).split())


class Store:
    """The loop round a `Filler` and its `Answers`."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self._inbox = talk.Inbox(talk.ToStore)
        self._ended = False  # there is nobody to talk to any more
        self._over = False  # nor will anybody go on with the journal
        self._look_at: float | None = 0.0  # when to look whether there is something new
        self._quiet_at = 0.0
        self._trim_at = 0.0

    def say(self, message: talk.FromStore) -> None:
        """Tell the controller."""
        with suppress(OSError):  # it has ended
            self.line.sendall(talk.framed(message))

    def run(self) -> None:
        """Fill and answer until the controller ends."""
        heard = self._read(None)
        while not heard and not self._ended:
            heard = self._read(None)
        if not heard:
            return
        setup, *rest = heard
        assert isinstance(setup, talk.Setup)
        with closing(Database(setup.url, setup.file)) as database:
            database.create()
            answers = Answers(database, setup.cluster)
            older = answers.older()
            with closing(Filler(database, setup)) as filler:
                self.say(talk.Opened(older))
                for message in rest:
                    self._hear(message, filler, answers)
                self._serve(filler, answers)

    def _serve(self, filler: Filler, answers: Answers) -> None:
        self._quiet_at = time.monotonic() + QUIET
        while not self._ended:
            now = time.monotonic()
            if self._look_at is not None and now >= self._look_at:
                self._look(filler, now)
            if now >= self._trim_at:
                more = filler.trim()
                self._trim_at = now + (0.0 if more else TRIM_IDLE)
            due = [at for at in (self._look_at, self._trim_at) if at is not None]
            for message in self._read(max(0.0, min(due) - time.monotonic())):
                self._hear(message, filler, answers)
        while filler.fill():
            pass
        if self._over:
            filler.over()

    def _look(self, filler: Filler, now: float) -> None:
        """Read and write a portion, if there is one."""
        if filler.fill():
            self._quiet_at = now + QUIET
            self._trim_at = min(self._trim_at, now + TRIM)
            self._look_at = now if filler.tail.behind else now + COLLECT
        else:
            self._look_at = now + COLLECT if now < self._quiet_at else None

    def _read(self, timeout: float | None) -> list[talk.ToStore]:
        """What the controller has said, or says within some seconds."""
        poll = select.poll()
        poll.register(self.line, select.POLLIN)
        if not poll.poll(None if timeout is None else timeout * 1000):
            return []
        try:
            data = self.line.recv(1 << 20)
        except OSError:
            data = b""
        self._ended |= not data
        return list(self._inbox.add(data))

    def _hear(self, message: talk.ToStore, filler: Filler, answers: Answers) -> None:
        match message:
            case talk.News():
                self._wake()
            case talk.Finish(over=over):
                self._ended, self._over = True, over
            case talk.Asked(number=number, question=question):
                until = time.monotonic() + CATCH_UP
                while filler.tail.position.record < question.record and time.monotonic() < until:
                    if not filler.fill():
                        break  # it is written before it is asked for; or it could not be written
                self._wake()
                self.say(answered(answers, number, question))
            case talk.Setup():
                raise AssertionError("there is a database already")

    def _wake(self) -> None:
        now = time.monotonic()
        self._quiet_at = now + QUIET
        if self._look_at is None:
            self._look_at = now


def answered(answers: Answers, number: int, question: Question) -> talk.Answer:
    """The answer, or why there is none."""
    reason = ""
    try:
        return talk.Answer(number, msgspec.Raw(answers.answer(question)))
    except TooMuch as error:
        reason = str(error)
    except SQLAlchemyError as error:
        reason = f"the database cannot answer: {in_words(error)}"
        if any(word in reason for word in ("interrupted", "canceling statement")):
            reason = f"the database needs more than {LIMIT:.0f} s for this; ask for less"
    return talk.Answer(number, msgspec.Raw(b"\xc0"), reason)
