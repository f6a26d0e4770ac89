"""A controller's machine in the hand: say something to it, and see what it says to whom."""

from enginery.core import laws
from enginery.core import messages as m
from enginery.core.alike import in_columns, submissions
from enginery.core.controller import Controller, Limits
from enginery.core.events import Append, Closed, Drop, Received, Send, Synced, Tick
from enginery.core.journal import Journal
from enginery.core.names import content_hash
from enginery.core.replay import Replay
from enginery.schemes import LeastLoad
from enginery.version import PROTOCOL

BLOB = b"def fit(): ..."
FIT = content_hash(BLOB)
SUPERVISOR = b"s" * 16


def secret(name):
    """16 bytes."""
    return name.encode().ljust(16, b"-")


def task(id, **fields):
    """A task of function FIT."""
    return m.Task(id, FIT, b"", **fields)


class Hand:
    """Connections are named "ann/tasks" and so on; all laws are checked after each event."""

    def __init__(self, **limits):
        self.core = Controller("c", "0", LeastLoad(), Limits(**limits))
        self.now = 0.0
        self.drops = []
        self.seqs = {}

    def handle(self, event):
        """What is said, as (connection, message); what is cut goes to `drops`."""
        said = []
        for effect in self.core.handle(event, self.now):
            if isinstance(effect, Send):
                said.append((effect.conn, effect.message))
            elif isinstance(effect, Drop):
                self.drops.append(effect.conn)
        laws.check(self.core)
        return said

    def say(self, conn, message, role=None):
        """A message arrives; gives what is said to this connection, unless told otherwise."""
        role = role or ("engine" if conn.startswith(("engine", "supervisor")) else "client")
        return [said for to, said in self.handle(Received(conn, role, message)) if to == conn]

    def say_all(self, conn, message, role="client"):
        """The same; gives what is said to anybody."""
        return self.handle(Received(conn, role, message))

    def close(self, conn):
        """A connection ends."""
        return self.handle(Closed(conn))

    def wait(self, seconds):
        """Time passes."""
        self.now += seconds
        return self.handle(Tick())

    def engine(self, name, life="1", seen=0, lanes=("tasks", "control"), conn=""):
        """An engine says hello on both lanes; gives what it is told."""
        said = []
        for lane in lanes:
            hello = m.Hello(
                PROTOCOL, "0", "engine", lane, secret(name), secret(name + life), seen=seen
            )
            said += self.say(f"{conn or name}/{lane}", hello)
        return said

    def supervisor(self, *names):
        """A supervisor of these engines says hello."""
        places = tuple(secret(name) for name in names)
        hello = m.Hello(PROTOCOL, "0", "supervisor", "control", SUPERVISOR, places=places)
        return self.say("supervisor/control", hello)

    def brief(self):
        """An engine is there, a client, and word of how brief the function is."""
        self.supervisor("engine")
        self.engine("engine")
        self.client("ann")
        self.core.work.placement.durations.heard(FIT, 1e-6)

    def exited(self, name, life="1", started=0, finished=0, replaced=False):
        """The supervisor tells of an end."""
        message = m.Exited(
            secret(name), secret(name + life), started, finished, "signal 9 (SIGKILL)", replaced
        )
        return self.handle(Received("supervisor/control", "engine", message))

    def client(self, name, role="client", seen=0, define=True):
        """A client says hello on both lanes, and defines the function."""
        said = []
        for lane in ("tasks", "control"):
            hello = m.Hello(PROTOCOL, "0", "client", lane, secret(name), seen=seen)
            said += self.say(f"{name}/{lane}", hello, role)
        if define:
            self.say(f"{name}/tasks", m.Define(FIT, BLOB), role)
        return said

    def submit(self, name, *tasks, role="client"):
        """A client submits; gives what is said to anybody."""
        said = []
        for submit in submissions(list(tasks)):
            submit.seq = self.seqs[name] = self.seqs.get(name, 0) + 1
            said += self.say_all(f"{name}/tasks", submit, role)
        return said

    def result(self, name, *results, seq):
        """An engine tells how attempts have ended."""
        return self.say_all(f"{name}/tasks", in_columns(m.Results(seq, list(results))), "engine")

    def state(self, id):
        """The state of a task."""
        return self.core.work.tasks[id].state

    def outcome(self, id):
        """How it ended."""
        return self.core.work.tasks[id].outcome


class Durable(Hand):
    """A controller with a journal, which is on disk at once.

    `turns` is what a former one has left in its own; `complete` if nothing can be missing there.
    """

    def __init__(self, turns=None, complete=True, hwm=1):
        super().__init__(hwm=hwm)
        self.core = Controller("c", "0", LeastLoad(), Limits(hwm=hwm), journal=Journal("j"))
        self.turns = []
        if turns is None:
            self.core.journal.begin_anew()
        else:
            replay = Replay()
            replay.follow(turns)
            self.keep(self.core.restore(replay, complete, 1.0))
            laws.check(self.core)

    def keep(self, effects):
        """What is to be written is written, and on disk."""
        said = []
        for effect in effects:
            if isinstance(effect, Append):
                self.turns = [effect.turn] if effect.anew else [*self.turns, effect.turn]
                said += self.handle(Synced(effect.number, 1, 1))
            elif isinstance(effect, Send):
                said.append((effect.conn, effect.message))
        return said

    def handle(self, event):
        said = self.keep(self.core.handle(event, self.now))
        laws.check(self.core)
        return said


def runs(said, conn):
    """The attempts that this engine was sent: (id, attempt)."""
    return [
        (attempt.id, attempt.attempt)
        for to, message in said
        if to == conn and isinstance(message, m.Run)
        for attempt in message.one_by_one()
    ]


def kinds(messages):
    """The classes of messages."""
    return [type(message) for message in messages]
