"""Whatever hosts do with large buffers: each engine gets its work, and nothing stays."""

from hypothesis import given, settings
from hypothesis import strategies as st

from enginery.core import messages as m
from enginery.core.hosts import PACE, PATIENCE
from enginery.core.spread import WORTH
from tests.unit.test_core_spread import Many

HOSTS = 5

hosts = st.integers(0, HOSTS - 1)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("broadcast"), st.sets(hosts, min_size=1)),
        st.tuples(st.just("again"), st.sets(hosts, min_size=1)),
        st.tuples(st.just("kept"), hosts),
        st.tuples(st.just("full"), hosts),
        st.tuples(st.just("unreached"), hosts),
        st.tuples(st.just("closes"), hosts),
        st.tuples(st.just("returns"), hosts),
        st.tuples(st.just("waits"), st.sampled_from([0.2, 5.0, 11.0])),
    ),
    max_size=40,
)


class Story(Many):
    """A cluster whose engines run at once what they are given."""

    def __init__(self):
        super().__init__(HOSTS)
        self.seqs_of = dict.fromkeys(self.hosts, 0)

    def run_all(self):
        """Every engine ends what it was sent."""
        came, self.came = self.came, {}
        for host in came:
            place = self.core.work.places[host]
            for record in [r for r in place.sent.values() if r.n <= place.n]:
                self.seqs_of[host] += 1
                result = m.Result(record.spec.id, record.attempt, "ok", b"")
                self.route(self.result(f"engine{host}", result, seq=self.seqs_of[host]))

    def answer(self, host, how):
        """A supervisor answers what it was asked last."""
        asked = self.asked.get(host)
        if asked is None:
            return
        if how == "kept":
            self.kept(host)
        else:
            self.kept(host, None, asked.door if how == "unreached" else None)

    def happens(self, what, of):
        """One of the happenings."""
        match what:
            case "broadcast":
                self.broadcast(sorted(of))
            case "again":
                self.broadcast(sorted(of), buffer=self.buffer)
            case "kept" | "full" | "unreached":
                self.answer(of, what)
            case "closes":
                self.route(self.close(f"supervisor{of}"))
            case "returns":
                self.hello(of)
                self.route([])
            case "waits":
                self.route(self.wait(of))


@settings(max_examples=150, deadline=None)
@given(happenings)
def test_every_engine_gets_its_work_and_nothing_stays(those):
    story = Story()
    for what, of in those:
        story.happens(what, of)
        deadline = story.core.hosts.deadline()
        assert deadline is None or deadline > story.now
    late = PATIENCE + 100 * WORTH / PACE
    for _ in range(3 * HOSTS):
        story.route(story.wait(late))  # nobody answers any more
    assert not story.core.hosts._held
    for _ in range(len(those) + 1):  # engines get at most four tasks ahead
        story.run_all()
        story.route(story.wait(late))
        story.route(story.wait(late))
    assert story.core.work.unfinished == 0
    assert not list(story.core.hosts.copies)
    assert not story.core.hosts._spreads
