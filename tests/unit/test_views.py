"""The flags of views: what they accept, how they are set for a while, and what they refuse."""

import os
from types import SimpleNamespace

import numpy
import pytest

from enginery.client.balanced import LoadBalancedView
from enginery.client.decorators import (
    ParallelFunction,
    RemoteFunction,
    bound_copy,
    interactive,
    local_function,
)
from enginery.client.dependency import Dependency
from enginery.client.direct import DirectView
from enginery.client.map import MapOptions, window_size


class Holder(SimpleNamespace):
    """As much of a client as a view needs while nothing is sent."""

    def view_moved(self, view, old):
        self.moved.append((view, old))


@pytest.fixture
def holder():
    link = SimpleNamespace(engines=dict.fromkeys([0, 1, 2]), welcome=SimpleNamespace(scheme="lru"))
    return Holder(block=False, ids=[0, 1, 2], link=link, moved=[])


@pytest.fixture
def direct(holder):
    return DirectView(holder, [0, 1, 2])


@pytest.fixture
def balanced(holder):
    return LoadBalancedView(holder)


@pytest.fixture(params=["direct", "balanced"])
def view(request):
    return request.getfixturevalue(request.param)


def test_views_start_with_the_block_of_their_client(holder):
    assert DirectView(holder, 0).block is False
    holder.block = True
    assert DirectView(holder, 0).block is True
    assert LoadBalancedView(holder).block is True


def test_set_flags(view):
    assert view.set_flags(block=True, label="night run") is view
    assert (view.block, view.label) == (True, "night run")


def test_temp_flags_last_for_the_block_and_no_longer(view):
    with view.temp_flags(block=True, targets=[1, 2]) as inside:
        assert inside is view
        assert view.block is True
        assert view.targets == [1, 2]
    assert view.block is False
    assert view.targets in (None, [0, 1, 2])
    with pytest.raises(ZeroDivisionError), view.temp_flags(label="x"):
        _ = 1 / 0
    assert view.label == ""


def test_temp_flags_leave_a_dependency_as_it_was(balanced):
    balanced.after = before = Dependency(["7f3-1"])
    with balanced.temp_flags(after=Dependency(["7f3-1"], all=False, failure=True)):
        assert balanced.after.failure
    assert balanced.after is before


def test_temp_flags_end_although_an_engine_of_the_view_has_gone(direct, holder):
    def fail():
        with direct.temp_flags(targets=0, track=True):
            holder.ids = [0, 1]
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert direct.targets == [0, 1, 2]
    assert direct.track is False
    assert holder.moved[-1] == (direct, (DirectView, 0))


def test_what_is_added_to_a_dependency_counts_from_the_next_call(balanced, holder):
    holder.link.farms = False
    plain = balanced.wishes
    assert balanced.wishes is plain
    balanced.after, balanced.follow = "7f3-1", Dependency(["7f3-1"])
    assert balanced.wishes.terms.after.ids == ("7f3-1",)
    balanced.after.add("7f3-2")
    balanced.follow.failure = True
    assert balanced.wishes.terms.after.ids == ("7f3-1", "7f3-2")
    assert balanced.wishes.terms.follow.failure


def test_dependencies_are_equal_when_the_same_meets_them():
    ids = ["7f3-1", "7f3-2"]
    assert Dependency(ids) == Dependency(ids[::-1]) == set(ids)
    assert Dependency(ids) != Dependency(ids, all=False)
    assert (Dependency(ids) != Dependency(ids)) is False
    assert Dependency(ids) != Dependency(ids[:1])
    assert Dependency(ids) != ids
    with pytest.raises(TypeError, match="unhashable"):
        hash(Dependency(ids))


def test_a_variant_leaves_the_view_alone(view):
    other = view.variant(block=True, label=None)
    assert other.block is True
    assert view.block is False
    assert type(other) is type(view)
    assert view.variant() is view
    assert view.variant(block=None) is view


@pytest.mark.parametrize("name", ["blok", "retry", "afters", "client", "__class__"])
def test_an_unknown_flag_is_named(view, name):
    with pytest.raises(TypeError, match=f"has no flag '{name}', only (after, )?block, "):
        view.set_flags(**{name: 1})
    with pytest.raises(TypeError), view.temp_flags(**{name: 1}):
        pass
    with pytest.raises(TypeError):
        view.map(len, [[1]], **{name: 1})
    assert view.block is False


def test_an_unknown_attribute_cannot_be_set(view):
    with pytest.raises(AttributeError):
        view.blok = True


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [("block", "yes"), ("block", None), ("label", 3), ("progress", "bar"), ("targets", [7])],
)
def test_values_are_checked(view, flag, wrong):
    with pytest.raises((TypeError, IndexError)):
        setattr(view, flag, wrong)


def test_a_label_that_no_message_can_hold_is_refused(view):
    name = os.fsdecode(b"caf\xe9")
    with pytest.raises(ValueError, match=r"^label: 'caf\\udce9' cannot be sent") as caught:
        view.set_flags(label=name)
    advice = str(caught.value).rpartition(": ")[2]
    view.label = eval(advice, {"text": name})
    assert view.label == "caf?"


@pytest.mark.parametrize("wrong", [-1, 1.5, "2", True, None, 1 << 63])
def test_retries_are_counted(balanced, wrong):
    with pytest.raises((TypeError, ValueError)):
        balanced.retries = wrong


def test_direct_views_have_no_retries(direct):
    with pytest.raises(TypeError, match="a DirectView has no flag 'retries'"):
        direct.set_flags(retries=1)


def test_the_kind_of_a_view_is_fixed(direct, balanced):
    with pytest.raises(TypeError, match="load_balanced_view"):
        direct.targets = None
    balanced.targets = "all"
    assert balanced.targets is None
    balanced.targets = 1
    assert balanced.targets == [1]


def test_assigning_targets_tells_the_client(direct, holder):
    direct.targets = slice(0, 2)
    assert direct.targets == [0, 1]
    assert holder.moved == [(direct, (DirectView, (0, 1, 2)))]


def test_reprs(direct, balanced, holder):
    assert repr(direct) == "<DirectView [0, 1, 2]>"
    assert repr(DirectView(holder, 0)) == "<DirectView 0>"
    assert repr(DirectView(holder, "all")) == "<DirectView all>"
    assert repr(balanced) == "<LoadBalancedView all 3 engines, lru, retries=0>"
    balanced.targets, balanced.retries = [0, 2], 2
    assert repr(balanced) == "<LoadBalancedView engines [0, 2], lru, retries=2>"


def test_lengths(direct, balanced, holder):
    assert len(direct) == len(balanced) == 3
    assert len(DirectView(holder, 1)) == 1
    assert len(LoadBalancedView(holder, [1, 2])) == 2


def test_what_is_not_a_function_is_refused(view):
    for call in (view.apply, view.apply_async, view.apply_sync):
        with pytest.raises(TypeError, match="a function is needed, not 3"):
            call(3)
    with pytest.raises(TypeError, match="a function is needed, not None"):
        view.map(None, [1])
    with pytest.raises(TypeError, match="needs a sequence"):
        view.map(len)


def test_names_are_texts(direct):
    with pytest.raises(TypeError, match=r"an engine of a client: rc\[0\]"):
        direct[0]
    with pytest.raises(TypeError, match="a name is a text, not 1"):
        direct.push({1: 2})
    with pytest.raises(TypeError, match="a name is a text, not 2"):
        direct.pull(["a", 2])
    with pytest.raises(ValueError, match="dist='r' is not known"):
        direct.scatter("a", [1], dist="r")


def test_chunks_are_for_balanced_maps(direct, balanced):
    with pytest.raises(ValueError, match="chunksize is for a load-balanced view"):
        direct.map(len, [[1]], chunksize=2)
    for wrong in (0, -1, 2.5, "2"):
        with pytest.raises(ValueError, match="chunksize is a number from 1 up"):
            MapOptions(wrong).size()
    size = MapOptions(numpy.int64(4)).size()
    assert (size, type(size)) == (4, int)


def test_window_of_a_lazy_map():
    assert window_size("auto", 8) == 128
    assert window_size("auto", 0) == 64
    assert window_size(5, 8) == 5
    assert type(window_size(numpy.int64(9), 8)) is int
    for wrong in (0, -1, 2.5, "many"):
        with pytest.raises(ValueError, match="max_outstanding"):
            window_size(wrong, 4)


# --- decorators -------------------------------------------------------------------------------


def square(x, *, shift=0):
    """Square a number."""
    return x * x + shift


def test_decorated_functions_look_like_themselves(direct):
    remote, parallel = direct.remote()(square), direct.parallel(block=True)(square)
    assert isinstance(remote, RemoteFunction)
    assert isinstance(parallel, ParallelFunction)
    assert remote.__name__ == parallel.__name__ == "square"
    assert remote.__doc__ == "Square a number."
    assert repr(remote) == "<RemoteFunction square on <DirectView [0, 1, 2]>>"
    assert local_function(remote) is square
    assert remote.__reduce__() == (local_function, (square,))


def test_sequences_of_a_parallel_function_have_one_length(direct):
    f = direct.parallel()(square)
    with pytest.raises(ValueError, match=r"sequences of one length are needed, not of \[1, 2\]"):
        f([1], [2, 3])
    with pytest.raises(TypeError, match="needs a sequence"):
        f()


def test_a_bound_copy_leaves_the_function_alone():
    twin = bound_copy(square)
    assert twin is not square
    assert twin(3, shift=1) == 10
    assert twin.__name__ == "square"
    marks = set(vars(twin)) - set(vars(square))
    assert len(marks) == 1
    assert set(vars(interactive(lambda: 0))) == marks
    with pytest.raises(TypeError, match="bound=True is for Python functions"):
        bound_copy(len)
