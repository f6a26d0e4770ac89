"""Room for unfinished tasks: who is accepted, who waits, and who is told to keep what he has."""

from enginery.core import messages as m
from enginery.core.delivery import Delivery
from enginery.core.once import LEAST
from enginery.core.quota import Quota
from enginery.core.sessions import Session

from .hand_controller import Hand, secret, task

SIZE = task("ann-1").size()


def rooms(said):
    """What clients were told of room: (connection, seq, whether there is any)."""
    return [(to, x.seq, not x.lacking) for to, x in said if isinstance(x, m.Room)]


def submit(hand, name, *ids):
    """A submission; what was said to anybody."""
    seq = hand.core.sessions[secret(name)].submitted + 1
    return hand.say_all(f"{name}/tasks", m.Submit(seq, [task(id) for id in ids]))


def test_who_holds_little_is_accepted_although_another_one_fills_the_queue():
    hand = Hand(budget=100 * SIZE, credit=1 << 30)
    hand.client("ann")
    hand.client("bob")
    submit(hand, "ann", *(f"ann-{n}" for n in range(101)))
    submit(hand, "ann", "ann-101")
    submit(hand, "bob", "bob-1")
    ann, bob = (hand.core.sessions[secret(name)] for name in ("ann", "bob"))
    assert (ann.accepted, ann.taken) == (1, 2)
    assert (bob.accepted, bob.taken) == (1, 1)
    submit(hand, "bob", *(f"bob-{n}" for n in range(2, 20)))
    submit(hand, "bob", "bob-20")
    assert (bob.accepted, bob.taken) == (2, 3)


def test_a_count_of_tasks_is_a_limit_too():
    hand = Hand(queue=32)
    hand.engine("engine")
    [welcome, *_] = hand.client("ann")
    assert welcome.credit_tasks == 2
    for n in range(0, 32, 2):
        submit(hand, "ann", f"ann-{n}", f"ann-{n + 1}")
    submit(hand, "ann", "ann-32", "ann-33")
    ann = hand.core.sessions[secret("ann")]
    assert (ann.accepted, ann.taken) == (16, 17)
    for seq in range(1, 4):
        hand.result("engine", m.Result(f"ann-{seq - 1}", 1, "ok", b""), seq=seq)
    assert ann.accepted == 17


def test_many_names_get_no_more_credit_than_all_may_have():
    """Each has its own credit, and yet what comes beyond a few of them is not even taken."""
    hand = Hand(budget=10 * SIZE, credit=5 * SIZE)
    names = [f"n{i}" for i in range(20)]
    for name in names:
        hand.client(name)
        submit(hand, name, *(f"{name}-{n}" for n in range(5)))
    assert hand.core.work.quota.tasks <= 10 + 4 * 5 + 5 + 5
    told = [name for name in names if hand.core.sessions[secret(name)].submitted == 0]
    assert set(told) == {
        s.identity.rstrip(b"-").decode() for s in hand.core.intake.turned_away.values()
    }
    assert hand.drops == []


def test_what_was_turned_away_is_asked_for_when_there_is_room():
    hand = Hand(budget=2 * SIZE, credit=1)
    hand.engine("engine")
    hand.client("ann")
    submit(hand, "ann", "ann-1", "ann-2", "ann-3")
    assert rooms(submit(hand, "ann", "ann-4")) == [("ann/tasks", 1, False)]
    assert rooms(submit(hand, "ann", "ann-4")) == [("ann/tasks", 1, False)]
    told = []
    for seq in (1, 2, 3):
        result = m.Results(seq, [m.Result(f"ann-{seq}", 1, "ok", b"")])
        told += rooms(hand.say_all("engine/tasks", result, role="engine"))
    assert told == [("ann/tasks", 1, True)]
    assert rooms(submit(hand, "ann", "ann-4")) == []
    assert hand.core.sessions[secret("ann")].accepted == 2


def test_who_fetches_nothing_is_accepted_no_more_and_it_alone():
    quota = Quota(1 << 30)
    assert not quota.refusal(b"ann", due=0)
    assert "not fetched 268.4 MB" in quota.refusal(b"ann", due=(256 << 20) + 1)
    assert not quota.refusal(b"bob", due=0)


def test_when_memory_is_short_nothing_is_accepted_or_taken():
    quota = Quota(1 << 30)
    quota.strained = "it needs more memory than it may have"
    assert quota.refusal(b"ann")
    assert quota.lacking(b"ann") == "it needs more memory than it may have"


def test_a_buffer_that_many_tasks_have_counts_once():
    """A search gives each of its tasks the same data: it is there once."""
    data = m.Buffer(bytes(100 * SIZE))  # more than 64 KiB
    hand = Hand(budget=300 * SIZE, credit=1 << 30)
    hand.engine("engine")
    hand.client("ann")
    for n in range(1, 11):
        hand.submit("ann", task(f"ann-{n}", buffers=(data,)))
    ann, work = hand.core.sessions[secret("ann")], hand.core.work
    assert ann.accepted == 10
    assert 110 * SIZE <= work.quota.bytes < 112 * SIZE
    for n in range(1, 11):
        hand.result("engine", m.Result(f"ann-{n}", 1, "ok", b""), seq=n)
    assert work.quota.bytes == 0
    assert 110 * SIZE <= work.history.bytes < 120 * SIZE


def test_buffers_of_their_own_count_each():
    hand = Hand(budget=300 * SIZE, credit=1 << 30)
    hand.client("ann")
    for n in range(1, 11):
        hand.submit("ann", task(f"ann-{n}", buffers=(m.Buffer(bytes(100 * SIZE)),)))
    assert hand.core.sessions[secret("ann")].accepted == 3


def test_a_buffer_counts_until_the_last_task_that_has_it_has_ended():
    data, small = m.Buffer(bytes(LEAST)), m.Buffer(bytes(10))
    quota = Quota(1 << 30)
    quota.take(b"ann", LEAST + 20, buffers=(data, small))
    quota.take(b"ann", 2 * LEAST + 20, buffers=(data, small, data))
    quota.take(b"bob", LEAST + 5, buffers=(data,))
    assert quota.shares[b"ann"].bytes == LEAST + 40  # the small one stands with each
    assert quota.shares[b"bob"].bytes == LEAST + 5
    quota.give_back(b"ann", LEAST + 20, (data, small))
    assert quota.shares[b"ann"].bytes == LEAST + 20
    quota.give_back(b"ann", 2 * LEAST + 20, (data, small, data))
    quota.give_back(b"bob", LEAST + 5, (data,))
    assert (quota.bytes, quota.shares) == (0, {})


def test_what_recoveries_get_too_counts_once():
    data = m.Buffer(bytes(LEAST))
    hand = Hand()
    hand.client("ann")
    for n in range(10):
        mend = task("", buffers=(data,))
        terms = m.Terms(recoveries=(mend,))
        hand.submit("ann", task(f"ann-{n}", buffers=(data,), terms=terms))
    assert LEAST < hand.core.work.quota.bytes < 2 * LEAST


# --- what is kept for clients that take nothing -------------------------------------------------


def test_the_oldest_results_of_who_takes_none_are_given_up_and_that_is_told(monkeypatch):
    monkeypatch.setattr("enginery.core.sessions.WINDOW", 1)  # one delivery always goes
    hand = Hand(results=50_000)
    hand.engine("engine")
    for name in ("ann", "bob"):
        hand.client(name)
    for n in range(1, 12):
        submit(hand, "ann", f"ann-{n}")
        hand.result("engine", m.Result(f"ann-{n}", 1, "ok", bytes(10_000)), seq=2 * n - 1)
        submit(hand, "bob", f"bob-{n}")
        hand.result("engine", m.Result(f"bob-{n}", 1, "ok", b"small"), seq=2 * n)
    ann, bob = (hand.core.sessions[secret(name)] for name in ("ann", "bob"))
    assert hand.core.delivery.due_bytes <= 50_000
    told = [(item.id, item.status) for item in ann.due]
    gone = ann.expired
    assert 0 < gone < 8
    assert [status for _, status in told] == ["expired"] * gone + ["ok"] * (len(told) - gone)
    assert [id for id, _ in told] == [f"ann-{n}" for n in range(2, 12)]
    assert all(item.status == "ok" for item in bob.due)


def test_answers_that_are_kept_are_bounded_by_bytes():
    hand = Hand()
    hand.client("ann")
    ann = hand.core.sessions[secret("ann")]
    ids = ["x" * 1000] * 1000
    for number in range(1, 20):
        hand.say("ann/control", m.Query(number, "fetch", ids))
    assert 1 < len(ann.answers) < 5
    assert 19 in ann.answers


def test_clients_that_left_without_a_word_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr("enginery.core.controller.AWAY_CLIENTS", 3)
    hand = Hand()
    hand.client("ann")
    submit(hand, "ann", "ann-1")
    for name in ("ann", *(f"n{i}" for i in range(9))):
        hand.client(name)
        hand.close(f"{name}/tasks")
        hand.close(f"{name}/control")
    left = {identity.rstrip(b"-").decode() for identity in hand.core.sessions}
    assert left == {"ann", "n7", "n8"}


def test_a_share_that_has_expired_still_says_of_which_items():
    session = Session(1, b"a" * 16, "ann", "client")
    session.due.append(m.Outcome("ann-1.4", "ok", b"v" * 10_000, start=4, stop=9))
    session.expire(10_000)
    [outcome] = session.due
    assert (outcome.status, outcome.start, outcome.stop) == ("expired", 4, 9)


def test_where_nothing_is_worth_to_be_given_up_it_is_not_looked_for_each_turn():
    delivery = Delivery(limit=1000)
    ann = delivery.sessions[b"a"] = Session(1, b"a", "ann", "client")
    bob = delivery.sessions[b"b"] = Session(2, b"b", "bob", "client")

    def turn(session, size):
        delivery.owe(session, m.Outcome("1", "ok", b"v" * size))
        list(delivery.pump([]))
        return session.due

    for _ in range(200):
        turn(ann, 100)
    queues = [turn(ann, 100) for _ in range(200)]
    assert len({id(queue) for queue in queues}) < 20  # each look leaves another one
    assert [outcome.status for outcome in turn(bob, 2000)] == ["ok"]  # less is due to it
    turn(ann, 100_000)
    assert [outcome.status for outcome in ann.due] == ["ok"] * 400 + ["expired"]
    assert delivery.due_bytes == ann.due_bytes + bob.due_bytes
