"""When the journal's machine writes everything anew."""

from enginery.core import laws
from enginery.core import messages as m
from enginery.core.controller import Controller, Limits
from enginery.core.events import Append, JournalFailed, Synced, Tick
from enginery.core.journal import GROWTH, LONG, PART, RETRY, Journal
from enginery.schemes import LeastLoad

from .hand_controller import Hand, task

LARGE = GROWTH // 4


class Writing(Hand):
    """A controller with a journal, whose disk is as slow as the test wants."""

    def __init__(self):
        super().__init__(hwm=1)
        self.core = Controller("c", "0", LeastLoad(), Limits(hwm=1), journal=Journal("j"))
        self.core.journal.begin_anew()
        self.records = []

    def handle(self, event):
        effects = self.core.handle(event, self.now)
        self.records += [effect for effect in effects if isinstance(effect, Append)]
        laws.check(self.core)
        return []

    def grown(self, size, log=1000):
        """All is on disk and takes so many bytes; whether all is written anew then."""
        known = len(self.records)
        self.handle(Synced(self.core.journal.turn, size, log))
        self.handle(Tick())
        return any(record.anew for record in self.records[known:])


def large(id):
    return task(id, buffers=(m.Buffer(bytes(LARGE)),))


def full():
    """A journal of ten such tasks, which wait."""
    hand = Writing()
    hand.client("ann")
    assert not hand.grown(1000)
    hand.submit("ann", *(large(f"ann-{n}") for n in range(10)))
    return hand


def test_it_is_not_written_anew_while_half_of_it_still_matters():
    assert not full().grown(10 * LARGE + 1000)


def test_it_is_when_less_does():
    hand = full()
    hand.say("ann/control", m.Abort([f"ann-{n}" for n in range(6)], number=1))
    assert hand.grown(10 * LARGE + 2000)


def test_not_before_it_is_worth_it():
    hand = full()
    hand.say("ann/control", m.Abort([f"ann-{n}" for n in range(6)], number=1))
    assert not hand.grown(GROWTH - 1)


def test_a_long_log_is_written_anew_whatever_still_matters():
    assert full().grown(10 * LARGE, log=LONG + 1)


def test_after_a_full_disk_nothing_counts_until_all_is_written_anew():
    hand = Writing()
    hand.client("ann")
    hand.submit("ann", *(task(f"ann-{n}") for n in range(2 * PART)))
    hand.handle(JournalFailed("disk full"))
    hand.wait(RETRY)
    first = hand.core.journal.turn
    assert hand.records[-1].anew
    hand.handle(Synced(first, 1000, 1000))  # the first part of all
    assert hand.core.journal.durable < first
    hand.wait(1)
    hand.wait(1)
    last = hand.core.journal.turn
    hand.handle(Synced(last, 3000, 3000))
    assert hand.core.journal.durable == last > first


def behind():
    """A journal whose disk has not written ten results of a hundred bytes yet, which is much."""
    hand = Writing()
    hand.core.journal.room = 1000
    hand.client("ann")
    for name in ("engine1", "engine2"):
        hand.engine(name)
    hand.grown(1000)  # which lets these engines begin
    hand.submit("ann", *(task(f"ann-{n}") for n in range(12)))
    for seq in range(1, 11):
        if (record := next(iter(hand.core.work.places[0].sent.values()), None)) is None:
            break
        hand.result("engine1", m.Result(record.spec.id, 1, "ok", bytes(100)), seq=seq)
    return hand


def test_engines_get_nothing_more_while_the_disk_does_not_keep_up():
    hand = behind()
    one, two = hand.core.work.places.values()
    assert hand.core.journal.full
    assert (len(one.sent), len(two.sent)) == (0, 1)
    assert hand.core.work.placement.waiting
    hand.result("engine2", m.Result(next(iter(two.sent.values())).spec.id, 1, "ok", b""), seq=1)
    assert not two.sent
    hand.handle(Synced(hand.core.journal.turn, 5000, 5000))
    assert not hand.core.journal.full
    assert (len(one.sent), len(two.sent)) == (1, 1)


def test_a_disk_that_is_full_holds_nobody_up():
    hand = behind()
    hand.handle(JournalFailed("disk full"))
    assert not hand.core.journal.full
    assert len(hand.core.work.places[0].sent) == 1
