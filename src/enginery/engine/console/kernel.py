"""The kernel of an engine: the thread that answers consoles while the main thread does its work.

It has the sockets, and alone uses them. The main thread posts what its execution says. Completion
and inspection happen here, also while a task runs. A second thread echoes heartbeats, in libzmq,
so that a console sees a living kernel while user code holds the interpreter.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import Any

import zmq

from ...net import sockets
from ...wire.codec import sayable
from ..namespace import Namespace
from ..shell import shell_of
from . import answers, execution
from .execution import Execution
from .messages import Message, Signer, plain
from .place import Place

LIMIT = 4 << 20
"""Characters of output that wait to be sent; then whoever writes waits."""

PIECE = 64 << 10
"""Characters in one message with output."""

LINGER = 0.2
"""Seconds that the last messages have to leave."""

GRACE = 0.7
"""Seconds that the input that runs has to end, when the engine does; then it is called ended."""

ENDED = {
    "ename": "EngineError",
    "evalue": "the engine has ended",
    "traceback": ["EngineError: the engine has ended"],
}

NOT_LEFT_SO = {
    "ename": "NotAllowedError",
    "evalue": "a console does not end its engine; rc.shutdown(id) does, from the client",
    "traceback": [],
}

INTERRUPTED = {"ename": "KeyboardInterrupt", "evalue": "", "traceback": ["KeyboardInterrupt"]}


class Kernel(threading.Thread):
    """See the module's theory. Made in the main thread, once while it lives.

    Raises OSError or zmq.ZMQError when it cannot be made, and then leaves nothing behind.
    """

    def __init__(self, space: Namespace) -> None:
        super().__init__(name="enginery-console", daemon=True)
        self.space = space
        self.desk = space.desk
        self.signer = Signer()
        self._sockets: list[Any] = []
        self._poller = zmq.Poller()
        self._room = threading.Condition()
        self._posted: deque[tuple[Any, ...]] = deque()
        self._size = 0  # characters of output in `_posted`
        self._over = False
        self._deadline = 0.0
        self._open: list[Execution] = []  # submitted and not ended, the oldest first
        self._asking: Execution | None = None
        self._origins: dict[bytes, int] = {}  # consoles -> descriptors of their connections
        with contextlib.ExitStack() as undo:
            self._wakeup = sockets.Wakeup()
            undo.callback(self._wakeup.close)
            self.place = Place(f"engine-{space.engine_id()}", self.signer.key)
            undo.callback(self.place.remove)
            self._context = sockets.new_context()
            undo.callback(self._leave)
            self._bind()
            self.place.write()
            shell_of(space)  # for the thread uses it
            self.desk.on_stop = self._wakeup.set
            undo.callback(setattr, self.desk, "on_stop", None)
            self.start()
            undo.pop_all()

    def _bind(self) -> None:
        def bound(channel: str, kind: int = zmq.ROUTER) -> sockets.Peer:
            socket = sockets.local_end(self._context, kind, self.place.path(channel))
            self._sockets.append(socket)
            return socket

        self._shell, self._control, self._stdin = map(bound, ("shell", "control", "stdin"))
        self._iopub = bound("iopub", zmq.PUB)
        heart = bound("hb")
        self._leaving = sockets.monitor(self._shell)
        self._sockets.insert(0, self._leaving)
        for source in (self._leaving, self._control, self._shell, self._stdin, self._wakeup):
            self._poller.register(source, zmq.POLLIN)
        threading.Thread(
            target=_echo, args=(heart,), name="enginery-console-heart", daemon=True
        ).start()
        self._sockets.remove(heart)  # its thread closes it

    # --- for the main thread, and others -------------------------------------------------------

    def publish(self, request: Message, kind: str, content: dict[str, Any], size: int = 0) -> None:
        """Tell every console; waits while too much output waits to be told."""
        if size:
            mine = threading.current_thread() is self  # user code prints when it is inspected
            with self._room:
                while self._size > LIMIT and not self._over and not mine:
                    self._room.wait()
                self._size += size
        self._post("publish", request, kind, content, size)

    def ask(self, work: Execution, prompt: str, password: bool) -> None:
        """Ask who typed this for a line."""
        self._post("ask", work, {"prompt": prompt, "password": password})

    def finish(self, work: Execution, reply: dict[str, Any]) -> None:
        """It has ended like this; after an error what its console has sent behind it is not run."""
        dropped = []
        if reply["status"] == "error" and work.stops_others:
            dropped = [
                other for other in self._of(work.request) if self.desk.withdraw(other.number)
            ]
        self._post("finish", work, reply)
        for other in dropped:
            self._post("finish", other, {"status": "aborted"})

    def close(self) -> None:
        """Tell what is to be told, and leave nothing behind. Called in the main thread."""
        self._over = True
        self._wakeup.set()
        self.join(GRACE)
        if self.is_alive():  # user code that it inspects does not end
            self.place.remove()

    def _post(self, *what: Any) -> None:
        self._posted.append(what)
        self._wakeup.set()

    # --- the thread ----------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the engine ends."""
        try:
            while not self._ended():
                ready = dict(self._poller.poll(self._timeout()))
                self._turn(ready)
            self._take_posted()
            for work in list(self._open):
                self._fail(work, ENDED)
        finally:
            with self._room:
                self._over = True  # nobody waits for room any more
                self._room.notify_all()
            for work in list(self._open):
                work.gone()  # nobody waits for a line any more
            self._leave()
            self._wakeup.close()

    def _ended(self) -> bool:
        """Whether all is over: the main thread is done, or does not get done."""
        if self.desk.life.exit_code is None:
            return self._over
        self._deadline = self._deadline or time.monotonic() + GRACE
        return self._over or time.monotonic() >= self._deadline

    def _timeout(self) -> int | None:
        if not self._deadline:
            return None
        return max(0, int((self._deadline - time.monotonic()) * 1000) + 1)

    def _turn(self, ready: dict[Any, int]) -> None:
        if self._wakeup.fileno() in ready:
            self._wakeup.clear()
        if self._leaving in ready:
            while (event := sockets.monitor_event(self._leaving)) is not None:
                if isinstance(event, sockets.Left):
                    self._left(event.fd)
        self._take_posted()
        for socket in (self._control, self._shell, self._stdin):
            if socket in ready:
                self._receive(socket)

    def _leave(self) -> None:
        for socket in self._sockets:
            socket.close(linger=int(LINGER * 1000))
        self._context.term()
        self.place.remove()

    # --- what consoles say ---------------------------------------------------------------------

    def _receive(self, socket: sockets.Peer) -> None:
        received = sockets.recv(socket)
        if received is None:
            return
        origin, _, fd, frames = received
        try:
            message = self.signer.read([origin, *map(bytes, frames)])
        except ValueError:
            return  # whoever that is does not have the key
        if socket is self._stdin:
            if self._asking is not None and message.kind == "input_reply":
                work, self._asking = self._asking, None
                line = message.content.get("value")
                work.answer(line if isinstance(line, str) else "")
            return
        if socket is self._shell:
            self._origins[origin] = fd
        try:
            self._take(socket, message)
        except BaseException as error:  # it may be the user's own code, which may raise SystemExit
            self._reply(socket, message, {"status": "error", **execution.told(error)})
            self._status("idle", message)

    def _take(self, socket: sockets.Peer, message: Message) -> None:
        """Do what a request asks; what this raises is told to the console."""
        if message.kind == "execute_request" and socket is self._shell:
            self._submit(message)
            return
        self._status("busy", message)
        content = self._answer(message)
        if content is not None:
            self._reply(socket, message, content)
        self._status("idle", message)

    def _answer(self, message: Message) -> dict[str, Any] | None:
        """What to say to a request that is answered at once; None: nothing."""
        if message.kind == "interrupt_request":
            self._interrupt(message)
            return {"status": "ok"}
        if message.kind == "shutdown_request":
            return {"status": "error", "restart": False, **NOT_LEFT_SO}
        answer = answers.ANSWERS.get(message.kind)
        if answer is None:
            return None
        said: dict[str, Any] = plain(answer(self.space, message.content))
        return {"status": "ok", **said}

    def _submit(self, request: Message) -> None:
        work = Execution(request, self.space, self.desk.life.streams, self)
        self._open.append(work)
        if work.leaves:
            count = shell_of(self.space).number - 1
            self._finished(
                work, {"status": "ok", "execution_count": count, "payload": [execution.LEAVE]}
            )
            return
        work.number = self.desk.submit(work)

    def _interrupt(self, request: Message) -> None:
        """Interrupt the input that runs, and drop those of this console that wait."""
        self.desk.interrupt()
        for work in self._of(request):
            if self.desk.withdraw(work.number):
                self._fail(work, INTERRUPTED)

    def _of(self, request: Message) -> list[Execution]:
        """What the console has sent that has sent this, and has not ended."""
        return [work for work in list(self._open) if work.request.session == request.session]

    def _left(self, fd: int) -> None:
        """A console has left: nobody answers what it is asked."""
        for origin in [o for o, number in self._origins.items() if number == fd]:
            del self._origins[origin]
            if self._asking is not None and self._asking.request.idents[0] == origin:
                self._asking.gone()
                self._asking = None

    # --- what is said to them ------------------------------------------------------------------

    def _take_posted(self) -> None:
        """Say what the main thread has posted."""
        while self._posted:
            what, *rest = self._posted.popleft()
            if what == "publish":
                self._say(*rest)
            elif what == "ask":
                self._ask(*rest)
            else:
                self._finished(*rest)

    def _say(self, request: Message, kind: str, content: dict[str, Any], size: int) -> None:
        if kind == "execute_input":
            self._status("busy", request)
        elif kind == "stream":
            content, size = self._joined(request, content, size)
        self._publish(kind, content, request)
        if size:
            with self._room:
                self._size -= size
                self._room.notify_all()

    def _joined(
        self, request: Message, content: dict[str, Any], size: int
    ) -> tuple[dict[str, Any], int]:
        """This text and what was written to the same stream just after it, as one message."""
        name, parts = content["name"], [content["text"]]
        while self._posted and size < PIECE:
            what, *rest = self._posted[0]
            if what != "publish" or rest[:2] != [request, "stream"] or rest[2]["name"] != name:
                break
            self._posted.popleft()
            parts.append(rest[2]["text"])
            size += rest[3]
        return {"name": name, "text": sayable("".join(parts))}, size

    def _ask(self, work: Execution, content: dict[str, Any]) -> None:
        frames = self.signer.write("input_request", content, work.request, work.request.idents[1:])
        self._asking = work
        origin = work.request.idents[0]
        reached = origin in self._origins and sockets.send(self._stdin, frames, origin)
        if not reached:
            self._asking = None
            work.gone()

    def _finished(self, work: Execution, reply: dict[str, Any]) -> None:
        if work not in self._open:
            return
        self._open.remove(work)
        if self._asking is work:
            self._asking = None
        self._reply(self._shell, work.request, reply)
        self._status("idle", work.request)

    def _fail(self, work: Execution, error: dict[str, Any]) -> None:
        """It will not run, or not end."""
        self._publish("error", error, work.request)
        count = shell_of(self.space).number
        self._finished(work, {"status": "error", "execution_count": count, **error})

    def _status(self, state: str, about: Message) -> None:
        self._publish("status", {"execution_state": state}, about)

    def _publish(self, kind: str, content: dict[str, Any], about: Message | None) -> None:
        sockets.send(self._iopub, self.signer.write(kind, content, about, [kind.encode()]))

    def _reply(self, socket: sockets.Peer, request: Message, content: dict[str, Any]) -> None:
        kind = request.kind.removesuffix("_request") + "_reply"
        origin, *rest = request.idents
        sockets.send(socket, self.signer.write(kind, content, request, rest), origin)


def _echo(heart: sockets.Peer) -> None:
    """Send back what comes, without the interpreter, until the context is terminated."""
    with contextlib.suppress(zmq.ContextTerminated):
        zmq.proxy(heart, heart)
    heart.close(0)
