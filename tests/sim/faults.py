"""What goes wrong: each fault picks its victim at random, and says whether it found one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from enginery.core.events import Measured

from .nodes import Peer
from .peers import EngineNode
from .strangers import Liar

if TYPE_CHECKING:
    from .world import World

T = TypeVar("T")

HEARTBEAT = 5.0
"""Seconds of silence after which the end of a connection that waits for signs of life cuts it."""


def kill_engine(world: World) -> bool:
    """SIGKILL to an engine; whoever has forked it sees it."""
    engine = _any(world, [e for e in world.engines if e.alive])
    if engine is None:
        return False
    world.notice_fault("kill engine", engine)
    engine.exit(-9)
    return True


def kill_supervisor(world: World) -> bool:
    """SIGKILL to a supervisor; its engines end as well, and nobody tells how."""
    supervisor = _any(world, [s for s in world.supervisors if s.alive])
    if supervisor is None or world.random.random() < 0.8:
        return False
    supervisor.kill()
    return True


def kill_client(world: World) -> bool:
    """SIGKILL to a client; its tasks go on."""
    client = _any(world, [c for c in world.clients if c.alive])
    if client is None or world.random.random() < 0.8:
        return False
    client.die()
    return True


def kill_controller(world: World) -> bool:
    """SIGKILL to the controller, which is started again."""
    return _stop_controller(world, fails=False)


def lose_power(world: World) -> bool:
    """The controller's machine fails: what was not waited for is not on its disk."""
    return _stop_controller(world, fails=True)


def _stop_controller(world: World, fails: bool) -> bool:
    controller, random = world.controller, world.random
    if not (controller.alive and world.settings.journal) or random.random() < 0.5:
        return False
    world.note(f"the controller {'loses power' if fails else 'is killed'}")
    controller.die()
    if fails:
        controller.disk.fail(random)
    else:
        controller.disk.kill(random)
    for peer in world.peers():
        for wires in peer.wires.values():
            for wire in wires:
                if wire.whole:
                    wire.up.limit = wire.up.arrived
                    wire.down.cut(random.random() * 0.01)
    world.clock.after(random.expovariate(0.5), controller.start)
    return True


def fill_disk(world: World) -> bool:
    """Nothing can be written to the disk for a while."""
    disk = world.controller.disk
    if disk.full or not world.settings.journal:
        return False
    disk.full = True
    world.clock.after(world.random.expovariate(0.5), disk.empty)
    return True


def join(world: World) -> bool:
    """Somebody starts another engine."""
    if sum(e.alive for e in world.engines) >= 8:
        return False
    world.loner()
    return True


def lie(world: World) -> bool:
    """An engine with a good key tells lies."""
    liars = [e for e in world.engines if isinstance(e, Liar) and e.alive]
    if not liars:
        if any(isinstance(e, Liar) for e in world.engines):
            return False
        liar = Liar(world)
        world.engines.append(liar)
        liar.begin()
    else:
        liars[0].lie()
    return True


def cut(world: World) -> bool:
    """A connection breaks; both ends learn of it, sooner or later, in any order."""
    peer = _any(world, world.peers())
    if peer is None:
        return False
    return _cut(world, peer, world.random.choice(peer.lanes))


def cut_peer(world: World) -> bool:
    """All connections of a peer break."""
    peer = _any(world, world.peers())
    if peer is None:
        return False
    were_whole = [_cut(world, peer, lane) for lane in peer.lanes]
    return any(were_whole)


def clog(world: World) -> bool:
    """Nothing comes through in one direction; after the heartbeat timeout one end cuts it."""
    peer = _any(world, world.peers())
    if peer is None:
        return False
    lane = world.random.choice(peer.lanes)
    if not peer.wires[lane]:
        return False
    wire = peer.wires[lane][-1]
    seconds = world.random.expovariate(0.3)
    pipe = world.random.choice((wire.up, wire.down))
    pipe.clogged = max(pipe.clogged, world.clock.now + seconds)
    if seconds > HEARTBEAT:
        # Who hears nothing cuts; the other end is told at once or has a timeout of its own.
        delay = world.random.choice((0.0, seconds - HEARTBEAT))
        delays = (0.0, delay) if pipe is wire.up else (delay, 0.0)
        late = world.random.random() < 0.5
        world.clock.after(HEARTBEAT, peer.break_off, lane, *delays, late)
    return True


def freeze(world: World) -> bool:
    """SIGSTOP to any process, SIGCONT later; others cut its connections if that takes long."""
    process = _any(world, [world.controller, *world.peers()])
    if process is None:
        return False
    seconds = world.random.expovariate(0.3)
    world.note(f"{process.name} is stopped for {seconds:.3f} s")
    process.freeze(seconds)
    if isinstance(process, EngineNode):
        world.notice_fault("freeze", process)
    frozen = world.peers() if process is world.controller else [process]
    if seconds > HEARTBEAT:
        for peer in frozen:
            assert isinstance(peer, Peer)
            for wires in peer.wires.values():
                if wires:
                    world.clock.after(HEARTBEAT + world.random.random(), wires[-1].cut)
    return True


def slow(world: World) -> bool:
    """A connection becomes a hundred times slower."""
    peer = _any(world, world.peers())
    if peer is None:
        return False
    for wires in peer.wires.values():
        if wires:
            for pipe in (wires[-1].up, wires[-1].down):
                pipe.base = min(pipe.base * 100, 1.0)
    return True


def storm(world: World) -> bool:
    """Every connection breaks, a few times in a row."""
    for i in range(world.random.randint(1, 3)):
        for peer in world.peers():
            for lane in peer.lanes:
                when = i * 0.1 + world.random.random() * 0.1
                world.clock.after(when, _cut, world, peer, lane)
    return True


def weigh(world: World) -> bool:
    """The controller is weighed, and mostly too heavy; much is held for some connections."""
    if not world.controller.alive:
        return False
    core, random = world.controller.core, world.random
    some = random.sample(list(core.peers), min(len(core.peers), random.randrange(3)))
    held = {connection: random.randrange(100 << 20) for connection in some}
    heavy = random.random() < 0.6
    resident = core.watchdog.limit + random.randrange(1, 100 << 20) if heavy else 0
    world.controller.handle(Measured(resident, held))
    return True


def _cut(world: World, peer: Peer, lane: str) -> bool:
    random = world.random
    slowly = random.random() < 0.3
    up = random.expovariate(1.0) if slowly else random.random() * 0.01
    down = random.expovariate(1.0) if slowly else random.random() * 0.01
    late = random.random() < 0.5
    if isinstance(peer, EngineNode):
        world.notice_fault("cut", peer)
    if late and peer.wires[lane]:  # what the old connection still has is read late, too
        old = peer.wires[lane][-1].down
        old.clogged = max(old.clogged, world.clock.now + random.random())
    return peer.break_off(lane, up, down, late)


def _any(world: World, things: Sequence[T]) -> T | None:
    return world.random.choice(things) if things else None


FAULTS: dict[str, Callable[[World], bool]] = {
    "kill engine": kill_engine,
    "kill supervisor": kill_supervisor,
    "kill client": kill_client,
    "join": join,
    "lie": lie,
    "cut": cut,
    "cut peer": cut_peer,
    "clog": clog,
    "freeze": freeze,
    "slow": slow,
    "storm": storm,
    "weigh": weigh,
}
"""By name; `settings` draws which exist and how often they come."""

RESTARTS: dict[str, Callable[[World], bool]] = {
    "kill controller": kill_controller,
    "lose power": lose_power,
    "fill disk": fill_disk,
}
"""The same where the controller has a journal."""
