"""Bugs made by hand: would the simulator find them?

A mutant changes the real machines in one place, as a slip of the pen might. Each must be caught by
some history within a bounded number of seeds. One that survives shows what the simulator does not
see. `python -m tests.sim.mutants` tries them all and tells which seed caught each. Some are seen so
seldom that a test of the machine alone has to catch them (`RARE`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from inspect import getsource
from textwrap import dedent
from types import ModuleType
from typing import Any
from unittest.mock import patch

from enginery.core import (
    account,
    alike,
    bundles,
    chunks,
    client,
    conditions,
    controller,
    delivery,
    dispatch,
    engine,
    engines,
    functions,
    graph,
    inputs,
    intake,
    journal,
    placement,
    quota,
    recovery,
    replay,
    sessions,
    tasks,
    work,
)

from .world import World

SEEDS = 400
"""Histories in which a mutant must be caught."""

RARE = {
    "an engine that lacks a function nobody has waits for it": (
        "unit/test_core_recovery.py",
        "test_what_an_engine_cannot_start_any_more_runs_when_its_client_submits_it_again",
    ),
    "any results end the tasks of a bundle": (
        "unit/test_core_bundles.py",
        "test_results_in_another_order_are_those_of_their_own_tasks",
    ),
    "untied tasks stand in front of others": (
        "unit/test_core_bundles.py",
        "test_untied_tasks_stand_in_the_order_in_which_they_were_submitted",
    ),
    "values of a map whose shares are forgotten are not written": (
        "unit/test_core_recovery.py",
        "test_nor_one_of_which_only_shares_are_forgotten_when_all_is_written_anew",
    ),
    "what a client is about to submit again is unwanted": (
        "unit/test_core_recovery.py",
        "test_what_a_client_is_about_to_submit_again_is_not_taken_for_unwanted",
    ),
    "an engine does not repeat that its properties have changed": (
        "unit/test_core_engine.py",
        "test_a_new_connection_hears_that_properties_have_changed",
    ),
    "an abort of what is on its way is forgotten": (
        "unit/test_core_controller.py",
        "test_an_abort_waits_for_the_submission_it_is_about",
    ),
    "the former life still has its say": (
        "unit/test_core_engine.py",
        "test_what_is_meant_for_the_former_life_is_not_heard",
    ),
    "what is asked for again is answered before it is on the disk": (
        "unit/test_core_recovery.py",
        "test_what_is_to_run_again_is_answered_when_that_is_on_the_disk",
    ),
    "what all have refused waits on when the last of them comes back": (
        "property/test_graph.py",
        "test_what_all_have_refused_is_given_up_when_the_last_of_them_comes_back",
    ),
    "an engine runs again what arrives again": (
        "unit/test_core_engine.py",
        "test_what_arrives_again_is_not_run_again",
    ),
    "a request that comes again is carried out again": (
        "unit/test_core_controller.py",
        "test_a_command_that_comes_again_is_carried_out_once",
    ),
    "an outcome that arrives again is told again": (
        "unit/test_core_client.py",
        "test_deliveries_are_confirmed_together_and_at_once_when_they_come_again",
    ),
    "the item that ran when its engine died runs again": (
        "unit/test_core_chunks.py",
        "test_of_an_engine_that_died_only_what_had_begun_pays",
    ),
    "all of a share had begun when its engine died": (
        "unit/test_core_chunks.py",
        "test_of_an_engine_that_died_only_what_had_begun_pays",
    ),
    "spent retries are forgotten when a share comes back": (
        "unit/test_core_chunks.py",
        "test_what_doubt_has_cost_is_known_for_it_when_it_comes_back",
    ),
    "what was aborted of a share goes on": (
        "unit/test_core_chunks.py",
        "test_what_an_abort_finds_not_begun_does_not_go_to_another",
    ),
    "how chunks are divided is not written": (
        "unit/test_core_chunks.py",
        "test_what_an_engine_has_goes_on_after_a_restart",
    ),
    "who is given up is taken back after a restart": (
        "unit/test_core_recovery.py",
        "test_a_life_that_was_given_up_is_not_let_in_after_a_restart",
    ),
    "in doubt nothing waits for the engines": (
        "unit/test_core_recovery.py",
        "test_in_doubt_nothing_starts_before_all_have_said_what_they_have",
    ),
    "what engines have that nobody wants goes on": (
        "unit/test_core_recovery.py",
        "test_what_an_engine_has_and_nobody_wants_is_to_end",
    ),
    "a controller that is gone gives an engine up": (
        "unit/test_core_engine.py",
        "test_a_former_controller_gives_nobody_up",
    ),
    "an engine is told to abort what it has under another number": (
        "unit/test_core_recovery.py",
        "test_what_was_sent_to_the_same_engine_once_more_is_aborted_there",
    ),
    "items of a map that has ended are taken up": (
        "unit/test_core_recovery.py",
        "test_items_that_an_engine_has_of_a_map_that_is_lost_are_nobodys",
    ),
    "what a controller that is gone had promised is waited for": (
        "unit/test_core_client.py",
        "test_a_promise_ends_with_who_gave_it_though_it_is_asked_for_again",
    ),
    "what was turned away is submitted again though it has ended": (
        "unit/test_core_client.py",
        "test_nor_when_there_is_room",
    ),
    "what has ended and is forgotten is adopted again": (
        "unit/test_core_recovery.py",
        "test_what_has_ended_and_is_forgotten_is_not_adopted_again",
    ),
    "what is not on the disk is acknowledged": (
        "unit/test_core_recovery.py",
        "test_a_result_is_acknowledged_when_it_is_on_the_disk",
    ),
    "what was written before the disk was full counts as all": (
        "unit/test_core_journal.py",
        "test_after_a_full_disk_nothing_counts_until_all_is_written_anew",
    ),
}
"""Those that take the simulator thousands of histories, and a test of the machine itself that
catches them: a file below `tests`, and what stands in it.
"""

WRITTEN = {
    "what is answered after its connection was cut is not said",
    "what is not on the disk is accepted",
    "a controller that starts again does not hear what engines have",
    "what engines have that nobody wants goes on",
    "who is given up is taken back after a restart",
    "a client that claims is told of nothing",
    "the retries that were spent are forgotten",
    "in doubt nothing waits for the engines",
    "what was written before the disk was full counts as all",
    "how chunks are divided is not written",
    "what a client is about to submit again is unwanted",
    "what nobody has is not told to who comes late",
    "an engine that lacks a function nobody has waits for it",
    "what was turned away was never taken",
    "what others have is given back, too",
}
"""Those that matter where there is a journal, and are hunted with one."""

HINTS: dict[str, int] = {
    "what nobody has is not told to who comes late": 1010113,
    "what was turned away was never taken": 1010494,
    "the retries that were spent are forgotten": 36,
    "what runs of a share goes elsewhere, too": 1097,
    "a client that claims is told of nothing": 36,
    "a controller that starts again does not hear what engines have": 36,
    "what is not on the disk is accepted": 852,
    "run again it takes the value it took": 176,
    "who is given up keeps its queue": 350,
    "an abort is not repeated to an engine that reconnects": 380,
    "the timeout of what was refused is forgotten": 108,
    "a result too many is taken for acked": 520,
    "an unfitness that is over already is not recognized": 180,
    "a timeout holds for what has run before": 88,
    "an engine is gone although a new life has come": 78,
    "everybody who asks says hello": 248,
    "what does not heed its interrupt goes on": 164,
    "submissions after a gap are taken": 440,
    "what is answered after its connection was cut is not said": 271,
    "what is hidden can be taken": 353,
    "what fits again waits behind the others": 289,
    "what was aborted recovers": 186,
    "the last are run again first": 176,
    "what is run again depends on what it did": 53,
    "who was turned away is not told that there is room": 40,
    "tasks on several engines can be followed": 46,
    "what is left of a bundle has the numbers of what was split off": 43,
    "who follows goes beyond its targets": 36,
    "who follows an engine that is gone waits on": 36,
    "the loss of an engine is not recovered from": 24,
    "a timeout is ignored": 24,
    "the first rank goes first": 21,
    "what is unfit stays so when the properties change": 23,
}
"""At which seed to begin, for those that take long to be caught: not so many in vain."""

Mutant = tuple[Any, str, str, str]
"""A class (or module), one of its methods or properties (or functions), and what is changed there:
text, and what stands in its stead.
"""

MUTANTS: dict[str, Mutant] = {
    "any result counts": (
        work.Work, "result",
        "or not place.has(record)", "or False",
    ),
    "a retry is not counted": (
        work.Work, "_retry",
        "record.spent += 1", "pass",
    ),
    "a task that had not started counts as started": (
        work.Work, "lose",
        "started = death is None or record.n <= death.started", "started = True",
    ),
    "a task that had started counts as not started": (
        work.Work, "lose",
        "started = death is None or record.n <= death.started",
        "started = death is None or record.n < death.started",
    ),
    "a function is not released": (
        work.Work, "_ended",
        "self.functions.release(spec.function)", "pass",
    ),
    "an aborted task still counts as waiting": (
        placement.Placement, "_leaves",
        "self._waits_no_more()", "pass",
    ),
    "a line without an engine is not looked at again": (
        placement.Placement, "changed",
        "self.serves.get(place.id, ())", "()",
    ),
    "a line that bars an engine is not looked at again": (
        placement.Placement, "changed",
        "for key in self.unnamed:", "for key in ():",
    ),
    "one more than hwm": (
        placement.Placement, "room",
        "place.load < self.hwm", "place.load <= self.hwm",
    ),
    "direct requests overtake each other": (
        engines.Place, "put",
        "self._queue.append(unit)", "self._queue.appendleft(unit)",
    ),
    "a result is forgotten when it is said": (
        engine.Engine, "_welcome",
        'out.extend(Send("tasks", alike.in_columns(results)) for results in self.unacked)', "pass",
    ),
    "an engine runs again what arrives again": (
        engine.Engine, "_received",
        "if attempt.n > self._seen:", "if True:",
    ),
    "who is given up keeps its queue": (
        engine.Engine, "_drop_work",
        "self.queue.clear()", "pass",
    ),
    "an abort that overtakes its task is forgotten": (
        engine.Engine, "_abort",
        "if n > self.begun:", "if n <= self.seen and n > self.begun:",
    ),
    "unaccepted submissions are not said again": (
        client.Client, "_welcome",
        "self._send(submit, out)", "pass",
    ),
    "an outcome that arrives again is told again": (
        client.Client, "_deliver",
        "if message.seq == self.delivered + 1:", "if True:",
    ),
    "unconfirmed deliveries are not said again": (
        sessions.Session, "resume",
        "out.extend(Send(conn, deliver) for deliver, _ in self.under_way)", "pass",
    ),
    "submissions after a gap are taken": (
        intake.Intake, "submit",
        "if message.seq > session.submitted + 1:", "if False:",
    ),
    "an engine that stays away is not given up": (
        controller.Controller, "_await",
        "self.leaving[place.id] = place", "pass",
    ),
    "a life that is over is taken back": (
        controller.Controller, "is_over",
        "self.over[incarnation] = None", "pass",
    ),
    "an abort is not repeated to an engine that reconnects": (
        controller.Controller, "_engine_hello",
        "out.extend(Send(conn, abort) for abort in aborts_at(place))", "pass",
    ),
    "lost work is not sent again": (
        controller.Controller, "_engine_hello",
        "r.n > hello.seen", "False",
    ),
    "a needed function is thrown away": (
        functions.Functions, "_shrink",
        "if h not in self.needed", "if True",
    ),
    "what comes back waits behind the others": (
        placement.Placement, "put_back",
        "appendleft(record)", "append(record)",
    ),
    "a result too many is taken for acked": (
        engine.Engine, "_forget",
        "self.unacked[0].seq <= seq", "self.unacked[0].seq <= seq + 1",
    ),
    "a delivery too many is taken for confirmed": (
        sessions.Session, "got",
        "[0].seq <= seq", "[0].seq <= seq + 1",
    ),
    "who waits for a task is not told that it has come": (
        delivery.Delivery, "ended",
        "watcher.fetching.remove(item.id)\n            self.owe(watcher, item)",
        "watcher.fetching.remove(item.id)",
    ),
    "a request that comes again is carried out again": (
        controller.Controller, "_from_client",
        "message.number in session.answers", "False",
    ),
    "everybody who asks says hello": (
        client.Client, "_received",
        "if lane not in self.greeting", "if True",
    ),
    "the former life still has its say": (
        engine.Engine, "_received",
        "if lane in self.stale and isinstance(message, FOR_ONE_LIFE):", "if False:",
    ),
    "an engine is given up twice": (
        engine.Engine, "_received",
        "elif given_up == self.incarnation and lane not in self.former:", "else:",
    ),
    "a controller that is gone gives an engine up": (
        engine.Engine, "_received",
        " and lane not in self.former", "",
    ),
    # --- dependencies
    "a task that counts is not counted": (
        graph.Condition, "count",
        "self.counted += 1", "pass",
    ),
    "a failure counts as a success": (
        graph.Condition, "count",
        "self.success if end.ok else self.failure", "self.success",
    ),
    "any is treated as all": (
        graph.Condition, "verdict",
        "if self.all else", "if True else",
    ),
    "all is treated as any": (
        graph.Condition, "verdict",
        "if self.all else", "if False else",
    ),
    "what has ended before is not counted": (
        graph.Graph, "enter",
        "condition.count(End.of(other))", "pass",
    ),
    "a task that there is not may be waited for": (
        graph.Graph, "enter",
        "return id", "continue",
    ),
    "tasks on several engines can be followed": (
        graph.Wait, "verdict",
        "or self.scattered", "",
    ),
    "following is ignored": (
        conditions.Conditions, "_released",
        "if wait.follow is not None and wait.follow.ids:", "if False:",
    ),
    "who follows goes beyond its targets": (
        conditions.Conditions, "_released",
        "wait.follow.engines.intersection(record.allowed or wait.follow.engines)",
        "set(wait.follow.engines)",
    ),
    "impossibility goes one step only": (
        conditions.Conditions, "_resolve",
        "in self.graph.ended(unit):",
        "in self.graph.ended(unit) if unit.outcome.status != 'impossible' else ():",
    ),
    "who follows an engine that is gone waits on": (
        conditions.Conditions, "_check",
        "if record.follows and not any", "if False and not any",
    ),
    "an engine is gone although a new life has come": (
        work.Work, "lose",
        "self.conditions.moved[place.id] = place",
        "self.conditions.moved[place.id] = place; self.conditions._strand(now)",
    ),
    # --- values that are taken
    "a value goes before the last that takes it has ended": (
        inputs.Inputs, "release",
        "if left:", "if False:",
    ),
    "a value is kept for ever": (
        inputs.Inputs, "release",
        "self.values.pop(id, None)", "None",
    ),
    "what was there before is not kept for who takes it": (
        inputs.Inputs, "need",
        "if not known and id in tasks:", "if False:",
    ),
    "values come in another order": (
        inputs.Inputs, "of",
        "for id in ids", "for id in reversed(tuple(ids))",
    ),
    "what takes the value of what failed waits on": (
        graph.Wait, "verdict",
        '"impossible" in (inputs, after, follow)', '"impossible" in (after, follow)',
    ),
    "a direct request does not wait for what it takes": (
        work.Work, "_accept_direct",
        "terms is not None and terms.inputs", "False",
    ),
    "run again it takes the value it took": (
        work.Work, "again",
        "renamed.get(id, id)", "id",
    ),
    "what is hidden can be taken": (
        intake.Intake, "_hidden",
        "queries.visible(self.work, session, id) is None", "False",
    ),
    "the cause is what was not run": (
        graph.Taken, "cause",
        "self.against.outcome.cause or self.against.outcome", "self.against.outcome",
    ),
    "a value is not sent again": (
        dispatch, "attempt_of",
        "record.inputs,", "record.inputs if record.attempt < 2 else (),",
    ),
    # --- refusals
    "what all have refused waits on": (
        conditions.Conditions, "_check",
        "if record.refused:", "if False:",
    ),
    "what all have refused waits on when the last of them comes back": (
        work.Work, "joined",
        "self.conditions.moved[place.id] = place", "pass",
    ),
    "an earlier refusal is forgotten": (
        tasks.Record, "refuse",
        "{*self.refused, engine}", "{engine}",
    ),
    "a refusal for now is one for good": (
        tasks.Record, "refuse",
        "self.unfit = tuple(sorted({*self.unfit, engine}))",
        "self.refused = tuple(sorted({*self.refused, engine}))",
    ),
    "a refusal for good is one for now": (
        work.Work, "_refused",
        'for_good=result.status == "refused"', "for_good=False",
    ),
    "a refusal costs a retry": (
        work.Work, "_refused",
        "record.refuse(place.id", "record.spent += 1; record.refuse(place.id",
    ),
    "what is unfit stays so when the properties change": (
        work.Work, "properties_changed",
        "self.placement.fit_again(place.id)", "pass",
    ),
    "an unfitness that is over already is not recognized": (
        conditions.Conditions, "_still_unfit",
        "place.changes <= refusal.changes", "True",
    ),
    "an unfitness is over at once": (
        conditions.Conditions, "_still_unfit",
        "place.changes <= refusal.changes", "place.changes < refusal.changes",
    ),
    "what fits again waits behind the others": (
        placement.Placement, "_merge",
        "sorted([*tasks, *records], key=lambda record: record.order)", "[*tasks, *records]",
    ),
    "an engine does not repeat that its properties have changed": (
        engine.Engine, "_welcome",
        "if self.changes:", "if False:",
    ),
    # --- times and priorities
    "a timeout is ignored": (
        conditions.Conditions, "_time_out",
        'self._give_up(record, "timeout", reason, now, None)',
        "pass",
    ),
    "a timeout ends what runs": (
        conditions, "_waits",
        'record.state in {"held", "waiting"}', 'record.state != "done"',
    ),
    "a timeout holds for what has run before": (
        tasks.Record, "limited",
        "and not self.spent", "",
    ),
    "the timeout of what was refused is forgotten": (
        conditions.Conditions, "put_back",
        "self.limit(record, now)", "pass",
    ),
    "low priority goes first": (
        placement.Placement, "rank",
        "else record.spec.priority", "else -record.spec.priority",
    ),
    "the first rank goes first": (
        placement.Placement, "next",
        "(-head.rank, head.order) < (-first.rank, first.order)", "head.order < first.order",
    ),
    "a time limit is not set": (
        engine.Engine, "_next",
        "now + attempt.time_limit if attempt.time_limit > 0 else None", "None",
    ),
    "what ran for too long has failed": (
        engine.Engine, "_tick",
        "self.overtime = True", "pass",
    ),
    "what does not heed its interrupt goes on": (
        engine.Engine, "_interrupt",
        "self.end_at = now + STOP_TIME", "pass",
    ),
    # --- chunks
    "items that come back are forgotten": (
        chunks.Chunks, "_give_back",
        "pool.add(start, stop)", "pass",
    ),
    "a chunk does not wait again": (
        chunks.Chunks, "_give_back",
        'if pool.record.state == "divided":', "if False:",
    ),
    "what runs of a share goes elsewhere, too": (
        chunks.Chunks, "told",
        "end = done + running", "end = done",
    ),
    "the item that ran when its engine died runs again": (
        chunks.Chunks, "torn",
        "item = min(max(death.item, chunk.start), chunk.stop - 1)",
        "item = min(max(death.item - 1, chunk.start), chunk.stop - 1)",
    ),
    "all of a share had begun when its engine died": (
        chunks.Chunks, "torn",
        "item = min(max(death.item, chunk.start), chunk.stop - 1)", "item = chunk.stop - 1",
    ),
    "spent retries are forgotten when a share comes back": (
        chunks, "_marked",
        "share.spent or", "",
    ),
    "what was aborted of a share goes on": (
        chunks.Chunks, "_cut_off",
        "if share.aborting:", "if False:",
    ),
    "a chunk ends before all of it was given out": (
        chunks.Chunks, "_end_if_done",
        "if pool.shares or pool.todo:", "if pool.shares:",
    ),
    # --- recoveries
    "a recovery runs before the retries are spent": (
        work.Work, "result",
        "and not record.final:", "and not record.final and record.recovery is None:",
    ),
    "the same recovery runs again": (
        work.Work, "result",
        'self._recover(record, record.recovery, "failed"',
        'self._recover(record, record.origin.terms.recoveries[0], "failed"',
    ),
    "what was aborted recovers": (
        tasks.Record, "recovery",
        "or self.aborting", "",
    ),
    "the loss of an engine is not recovered from": (
        work.Work, "_orphan",
        "elif spent and record.recovery is not None", "elif False and record.recovery",
    ),
    "a recovery has no retries": (
        work.Work, "_turn_to",
        "record.spent = 0", "pass",
    ),
    "functions of recoveries are not kept": (
        work.Work, "accept",
        "for function in spec.functions():", "for function in spec.functions()[:1]:",
    ),
    "functions of recoveries are let go of too early": (
        work.Work, "_turn_to",
        "self.functions.release(spec.function)",
        "[self.functions.release(function) for function in spec.functions()]",
    ),
    "a recovery waits until a timeout": (
        work.Work, "_turn_to",
        "terms = replace(terms, after=None, follow=None, timeout=0.0, recoveries=rest)",
        "terms = replace(terms, recoveries=rest)",
    ),
    # --- finished tasks
    "what has not ended is run again": (
        intake.Intake, "resubmit",
        'if record.state != "done":', "if False:",
    ),
    "the last are run again first": (
        intake.Intake, "_in_order",
        "key=lambda pair: order[pair[0].spec.id]", "key=lambda pair: -order[pair[0].spec.id]",
    ),
    "what is run again depends on what it did": (
        work.Work, "again",
        "if terms is not None:", "if False:",
    ),
    "what has not ended is taken for forgotten": (
        intake.Intake, "purge",
        'if record.state != "done":', "if False:",
    ),
    "the room of what has ended is not given back": (
        work.Work, "_ended",
        "self.quota.give_back(record.owner, record.size, record.given)", "pass",
    ),
    "who was turned away is not told that there is room": (
        intake.Intake, "grant_all",
        "if self.turned_away:", "if False:",
    ),
    "what was turned away is not submitted again": (
        client.Client, "_room",
        "while self.unaccepted and self.unaccepted[-1][0].seq > message.seq:", "while False:",
    ),
    "an abort of what is on its way is forgotten": (
        intake.Intake, "abort",
        "message.after > session.taken and not session.hold(message)", "False",
    ),
    "what waits to be taken is not counted": (
        intake.Intake, "_take",
        "self.quota.waiting -= size", "pass",
    ),
    "what is not on the disk is accepted": (
        sessions.Session, "accept",
        "self.noted[0][0] <= durable and", "",
    ),
    "what is answered after its connection was cut is not said": (
        intake.Intake, "answer_all",
        'conn = session.lanes.get("control")', "conn = None",
    ),
    "what is not on the disk is acknowledged": (
        engines.Place, "settle",
        "while self.ended and self.ended[0].record <= durable and", "while self.ended and",
    ),
    "what is asked for again is answered before it is on the disk": (
        intake.Intake, "answer_all",
        "while self.answers and self.answers[0].record <= self.work.journal.durable:",
        "while self.answers:",
    ),
    "a controller that starts again does not hear what engines have": (
        recovery.Recovery, "holds",
        "if not there and numbers.get(record.n) != record.attempt:", "if True:",
    ),
    "an engine is told to abort what it has under another number": (
        recovery.Recovery, "holds",
        "elif n not in place.sent:", "elif False:",
    ),
    "items of a map that has ended are taken up": (
        chunks.Chunks, "adopt",
        "if record.outcome is not None:", "if False:",
    ),
    "what a controller that is gone had promised is waited for": (
        client.Client, "_begin_again",
        "self.watched - (asked - self.promised)", "self.watched - asked",
    ),
    "what engines have that nobody wants goes on": (
        recovery.Recovery, "_refuse",
        "if held.n > 0:", "if False:",
    ),
    "who is given up is taken back after a restart": (
        recovery.Recovery, "restore",
        "controller.over.update(replay.over)", "pass",
    ),
    "a client that claims is told of nothing": (
        delivery.Delivery, "owe_unclaimed",
        "self.owe(session, part[each])", "pass",
    ),
    "what a client is about to submit again is unwanted": (
        recovery.Recovery, "claim",
        "if session.taken >= session.sent:", "if True:",
    ),
    "what has ended and is forgotten is adopted again": (
        recovery.Recovery, "_hear",
        "and held.id not in self._work.forgotten", "",
    ),
    "what nobody has is not told to who comes late": (
        recovery.Recovery, "claim",
        "if self.over:", "if False:",
    ),
    "what was turned away is submitted again though it has ended": (
        client.Client, "_send_unsent",
        "self._leave_out_done([submit])", "pass",
    ),
    "what was turned away was never taken": (
        client.Client, "_welcome",
        "if submit.seq > self.sent", "",
    ),
    "an engine that lacks a function nobody has waits for it": (
        recovery.Recovery, "lacks",
        'self._refuse(Held(place, place.incarnation, n, id, attempt, "", 0), out)', "pass",
    ),
    "the retries that were spent are forgotten": (
        replay.Replay, "_state",
        "for name in FEW:", "for name in FEW[1:]:",
    ),
    "in doubt nothing waits for the engines": (
        recovery.Recovery, "restore",
        "work.placement.paused = self.doubt", "pass",
    ),
    "what was written before the disk was full counts as all": (
        journal.Journal, "failed",
        "self._hole = True", "pass",
    ),
    "how chunks are divided is not written": (
        journal.Journal, "divided",
        "if self.name:", "if False:",
    ),
    "what others have is given back, too": (
        quota.Quota, "give_back",
        "size -= share.once.remove(buffers)", "pass",
    ),
    "values of a map whose shares are forgotten are not written": (
        account.Account, "_values",
        "or work.chunks.worn(known)", "",
    ),
    "any results end the tasks of a bundle": (
        work.Work, "_ended_alike",
        "if bundle.ids[:count] != ids:", "if not ids:",
    ),
    "a task of a bundle that failed has ended well": (
        alike, "ran_well",
        'r.status != "ok" or ', "",
    ),
    "what is left of a bundle has the numbers of what was split off": (
        bundles.Bundle, "split",
        "self.n += count", "pass",
    ),
    "untied tasks stand in front of others": (
        bundles.Bundle, "_record",
        "self.order + i", "self.order",
    ),
    "what has ended of a bundle is still at its engine": (
        engines.Place, "leave_together",
        "self.load -= len(bundle)", "pass",
    ),
    "an untied bundle is still sent as one": (
        engines.Place, "replace",
        "self._besides -= len(bundle) - 1", "pass",
    ),
    "another scheme knows of no engine": (
        placement.Placement, "use",
        "scheme.update(place, self.room(place))", "pass",
    ),
}  # fmt: skip


def mutated(mutant: Mutant) -> Callable[..., Any]:
    """The method with the bug in it."""
    owner, name, text, instead = mutant
    whole = getattr(owner, name)
    source = dedent(getsource(whole.fget if isinstance(whole, property) else whole))
    if source.count(text) != 1:
        raise LookupError(f"{owner.__name__}.{name} does not have {text!r} once")
    module = owner if isinstance(owner, ModuleType) else sys.modules[owner.__module__]
    space: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + source.replace(text, instead)
    exec(compile(code, f"<{name}, mutated>", "exec"), vars(module), space)
    method: Callable[..., Any] = space[name]
    return method


def hunt(name: str, most: int = SEEDS) -> tuple[int, str] | None:
    """The first seed that catches this mutant, and what it says; None when so many do not."""
    owner, method, _, _ = MUTANTS[name]
    divides = chunks in {owner, sys.modules[getattr(owner, "__module__", "sys")]}
    first, step = (1, 8) if divides else (0, 1)  # eight: to those that have chunks
    first = HINTS.get(name, first)
    with patch.object(owner, method, mutated(MUTANTS[name])):
        for seed in range(first, first + most * step, step):
            try:
                World(seed, journal=name in WRITTEN).run()
            except Exception as error:  # whatever is raised has caught it
                return seed, f"{type(error).__name__}: {error}"
    return None


def main() -> int:
    """Hunt them all, or those that are named."""
    survivors = 0
    for name in sys.argv[1:] or MUTANTS:
        began = time.monotonic()
        caught = hunt(name, SEEDS * 50 if name in RARE else SEEDS)
        survivors += caught is None
        what = "SURVIVES" if caught is None else f"seed {caught[0]:>3}: {caught[1][:90]}"
        print(f"{name:<55} {time.monotonic() - began:5.1f} s  {what}", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
