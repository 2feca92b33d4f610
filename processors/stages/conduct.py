"""Stage `conduct`: keeps the journal and the coroutine of each task, and applies each event.

    events ─▶ conduct ─┬▶ model-calls, tool-calls   what the workflow asked for
                       ├▶ questions, delays
                       ├▶ failures                  a model's output that is not of the type asked for
                       ├▶ events                    children that begin, parents that may go on
                       ├▶ results, status           how the task ended, where it stands
                       └▶ dead-letters              steps that failed for good, answers that came too late

The state of a partition, by the first byte of its keys:

    J task \\0 seq     the journal, insert-only: see `journal`
    P task            parked tasks: the number of the event at which they are, and a digest of the problem
    E week task       tasks that are no more: see `tombstones`
    L topic           records that were lost: see `losses`
    B O T V W         who is busy, and who waits for its turn: see `admission`

A task's state is computed from its journal. Its coroutine is only a cache of that state: it is evicted if
there are too many, and rebuilt by a replay of the journal when an event comes. A redelivered event is
recognised and changes nothing.

A task that must wait for its turn has a journal and no coroutine. Events that come in the meantime are
journaled. Its turn is an event too, `Admitted`, so that it begins at the same time in each replay.
"""

from collections.abc import Container, Iterator
from contextlib import suppress
from functools import partial

from segue.processors.definitions.registry import Registry
from segue.processors.limits import LIMITS, Limits
from segue.processors.payloads.large import References
from segue.processors.stages.put_aside import put_aside
from segue.processors.tasks.admission import Admission
from segue.processors.tasks.conclusion import Conclusion
from segue.processors.tasks.journal import journal_key, verdicts_at
from segue.processors.tasks.losses import Losses
from segue.processors.tasks.resumption import Resumed, resumed
from segue.processors.tasks.status import (
    outcome_for_parent,
    queued,
    rejection,
    result_of,
    status_digest_of,
    status_of,
    taken,
)
from segue.processors.tasks.task_cache import QUEUED, CachedTask, TaskCache, parked_since, unplayed_status
from segue.processors.tasks.tenants import on_behalf_of_its_tenant
from segue.processors.tasks.tombstones import CHILD, ENDED, REJECTED, Tombstones, mark
from segue.processors.workflow.context import Entropy
from segue.processors.workflow.continue_as_new import abandoned, last_heard, next_run
from segue.processors.workflow.execution import UNKNOWN, WorkflowExecution
from segue.processors.workflow.outcomes import letters_of
from segue.processors.workflow.parking import by_refusal
from segue.processors.workflow.state.signals import once_more
from segue.processors.workflow.state.verdicts import Known
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.flow import Decision, Publish, Received, Stage, State, Write, dead_letter, of_tenant
from segue.topics.records import (
    Admitted,
    Answered,
    CancelRequested,
    Delay,
    Event,
    Problem,
    PutAside,
    RecordsLost,
    Rejected,
    Result,
    SignalReceived,
    Status,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)
from segue.topics.runs import heard_as

TaskEvent = (
    Admitted
    | StepSucceeded
    | StepFailed
    | TimerFired
    | Answered
    | SignalReceived
    | CancelRequested
    | PutAside
)
"""The events of a task that was submitted."""

FROM_OUTSIDE = ("answered", "signal_received")
"""Kinds of events that may be refused. Told by name, at half the cost of asking for the class."""


class Conduct(Stage):
    """The tasks of one partition. One that is `silent` decides what another decides, and reports nothing.

    If it is given who `waited` for their turn, these tasks wait, and no others (see `rebuilding`).
    """

    def __init__(
        self,
        registry: Registry,
        state: State,
        entropy: Entropy,
        limits: Limits = LIMITS,
        *,
        references: References | None = None,
        silent: bool = False,
        waited: Container[str] | None = None,
    ) -> None:
        self._play = partial(
            WorkflowExecution, registry, entropy=entropy, replaying=silent, references=references
        )
        self._state = state
        self._limits = limits
        self._silent = silent
        self._waited = waited
        self._parked = [key[1:].decode() for key, _ in state.scan(b"P")]
        self._tried: str | None = None
        """The parked task that the last tick tried."""
        self._known: dict[str, Known] = {}
        self._remember()

    def _remember(self) -> None:
        """All that is kept in memory, by the state."""
        self._admission = Admission(self._state, self._limits, self._waited)
        most = self._limits.cached_tasks_max
        self._cached = TaskCache(self._play, self._state, most, silent=self._silent)
        self._tombstones = Tombstones(self._state)
        self._losses = Losses(self._state)

    def recall(self, decided: Decision) -> None:
        """Go by the verdicts of a decision that was made on the same record before."""
        for key, value in decided.write:
            if (entry := verdicts_at(key, value)) is not None:
                self._known.setdefault(*entry)

    def handle(self, record: Received, now_ms: int) -> Decision:
        try:
            event: Event | RecordsLost = codec.decode(record.topic, record.value)
        except BadRecord as bad:
            key = (record.key or b"").decode(errors="replace")
            return self._for_tenant(put_aside(record, "conduct", str(bad), now_ms), key, now_ms)
        if isinstance(event, RecordsLost):
            return self._losses.add(event)
        return self._for_tenant(self._happens(event, record, now_ms), event, now_ms)

    def _happens(self, event: Event, record: Received, now_ms: int) -> Decision:
        try:
            match event:
                case Submitted():
                    return self._begin(event, record, now_ms)
                case Rejected():
                    return self._reject(event, record, now_ms)
                case _:
                    return self._go_on(event, record, now_ms)
        except BadRecord as bad:  # the journal: its key may be gone
            return self._kept_unplayed(event, record, str(bad), now_ms)

    def put_aside(self, record: Received | None, reason: str, now_ms: int) -> Decision | None:
        """The event is journaled, and its task parked there: other code plays it when a worker starts.

        Without a record it was a parked task that was tried again: it stays as it is.
        """
        self._cached.close()
        self._remember()
        if record is None:
            if (task := self._tried) is None:
                return None
            return self._for_tenant(self._still_parked(task, reason, now_ms), task, now_ms)
        try:
            event: Event | RecordsLost = codec.decode(record.topic, record.value)
        except BadRecord:
            return None
        if isinstance(event, RecordsLost):
            return None
        return self._for_tenant(self._kept_unplayed(event, record, reason, now_ms), event, now_ms)

    def _for_tenant(self, decision: Decision, event: Event | str, now_ms: int) -> Decision:
        return on_behalf_of_its_tenant(decision, event, self._cached, self._tombstones, now_ms)

    def _kept_unplayed(self, event: Event, record: Received, reason: str, now_ms: int) -> Decision:
        letter = dead_letter(record, "conduct", reason, now_ms, event.task)
        seq = sum(1 for _ in self._state.scan(journal_key(event.task)))
        if (seq == 0) != isinstance(event, Submitted) or self._tombstones.has_ended(event.task, now_ms):
            return Decision([letter])
        head = b"%d %d %d\n" % (UNKNOWN, record.partition, record.offset) if seq == 0 else b"%d\n" % UNKNOWN
        entry = Write(journal_key(event.task, seq), head + (record.value or b""))
        if isinstance(event, Submitted):
            self._admission.opened(event)
        problem = by_refusal(reason)
        parked = parked_since(self._state, event.task, seq, problem)
        status = unplayed_status(self._state, event.task, problem, now_ms, entry)
        return Decision([letter, *status], [entry, parked, *self._admission.take()])

    def _still_parked(self, task: str, reason: str, now_ms: int) -> Decision:
        self._tried, problem = None, by_refusal(reason)
        status = unplayed_status(self._state, task, problem, now_ms)
        return Decision(status, [parked_since(self._state, task, 0, problem)])

    def due_ms(self) -> int | None:
        return 0 if self._parked or self._losses or self._admission.due else self._tombstones.due_ms

    def tick(self, now_ms: int) -> Decision:
        """Try a parked task again, this worker may have other code; let in who is next; forget old ends."""
        if self._parked:
            self._tried = self._parked.pop()
            with suppress(BadRecord):  # of a task whose key is gone there is nothing to try
                cached = self._find(self._tried, now_ms)
                return self._conclude(cached, Decision(), now_ms) if cached else Decision()
            return Decision()
        self._tried = None
        if self._losses:
            return self._losses.ask_again(self._cached.open_commands)
        decision = self._admit(now_ms) if self._admission.due else Decision()
        if now_ms >= self._tombstones.due_ms:
            self._tombstones.forget(decision, now_ms)
        return decision

    def _admit(self, now_ms: int) -> Decision:
        turns = self._admission.admit()
        for turn in turns:
            if (cached := self._cached.get(turn.task)) is not None:
                cached.busy = True
        begun = [Publish("events", turn.task, turn.event(now_ms), of_tenant(turn.tenant)) for turn in turns]
        return Decision(begun, self._admission.take())

    def close(self) -> None:
        self._cached.close()

    # ------------------------------------------------------------ events

    def _begin(self, event: Submitted, record: Received, now_ms: int) -> Decision:
        known = self._find(event.task, now_ms)
        if known or self._tombstones.has_ended(event.task, now_ms):
            return self._again(event, known, now_ms)
        if self._admission.must_wait(event):
            return self._hold(event, record, now_ms)
        execution = self._play(event)
        execution.start(self._known.get(event.task))
        cached = CachedTask(execution, 1, record.partition, record.offset)
        self._cached.keep(cached)
        entry = Write(journal_key(event.task, 0), cached.head + (record.value or b""))
        self._admission.opened(event)
        return self._conclude(cached, Decision(write=[entry]), now_ms)

    def _again(self, event: Submitted, cached: CachedTask | None, now_ms: int) -> Decision:
        """The same task once more; or a child whose id somebody outside took, which its parent must learn."""
        is_child = (
            cached.execution.submitted.parent if cached else CHILD in self._tombstones.of(event.task, now_ms)
        )
        if event.parent is None or is_child:
            return Decision()
        return Decision([Publish("events", event.parent.task, taken(event.parent, event))])

    def _hold(self, event: Submitted, record: Received, now_ms: int) -> Decision:
        """The task waits for its turn; one too many of its tenant is rejected, as intake would have."""
        why = self._admission.objection(event)
        if why is not None:
            problem = Problem(type="TooManyTasks", message=why)
            facts = event.model_dump(include={"task", "workflow", "origin"})
            rejected = Rejected(**facts, problem=problem, at_ms=now_ms)
            letter = dead_letter(record, "conduct", why, now_ms, event.task)
            return Decision([Publish("events", event.task, rejected), letter])
        head = b"%d %d %d %s\n" % (0, record.partition, record.offset, QUEUED)
        entry = Write(journal_key(event.task, 0), head + (record.value or b""))
        status = queued(event, record.partition, record.offset)
        self._admission.hold(event, record.offset)
        return Decision([_publish("status", status)], [*self._admission.take(), entry])

    def _reject(self, event: Rejected, record: Received, now_ms: int) -> Decision:
        """Once for each id: a request that comes again and again has one result. A better one may follow."""
        if self._find(event.task, now_ms) or self._tombstones.of(event.task, now_ms):
            return Decision()
        result, status = rejection(event, record.partition, record.offset)
        told = [_publish("results", result), _publish("status", status)]
        return Decision(told, [mark(event.task, REJECTED, now_ms)])

    def _go_on(self, event: TaskEvent, record: Received, now_ms: int) -> Decision:
        cached = self._find(event.task, now_ms)
        if cached is None:
            return self._stray(event, record, now_ms)
        execution = cached.execution
        if execution.knows(event):
            return Decision()
        if event.kind in FROM_OUTSIDE:
            objection = self._objection(execution, event)
            if objection:
                return Decision([dead_letter(record, "conduct", objection, now_ms, event.task)])
        execution.apply(event, self._known.get(event.task))
        decision = Decision(letters_of(event, record, now_ms))
        if event.kind == "cancel_requested" and event.force:
            cached.unpublished_commands = []
        head = b"%d%b\n" % (cached.steps, execution.context.verdicts.token)
        entry = Write(journal_key(event.task, cached.seq), head + (record.value or b""))
        cached.seq += 1
        if event.kind == "admitted":
            self._admission.begun(execution.submitted, cached.offset)
        decision.write.append(entry)
        return self._conclude(cached, decision, now_ms, record.offset)

    def _objection(self, execution: WorkflowExecution, event: TaskEvent) -> str | None:
        """Why what came from outside can't be accepted; None if it can."""
        if not isinstance(event, Answered | SignalReceived):
            return None
        if not execution.parked and (objection := execution.objection(event, self._known.get(event.task))):
            return objection
        most = self._limits.buffered_signals_max
        if isinstance(event, Answered) or execution.context.signals.holds < most:
            return None
        if execution.context.signals.awaiting(event.name):
            return None
        return (
            f"the task already keeps {most:,} signals that it has not asked for, the most that it may "
            "(buffered_signals_max): send it later"
        )

    def _stray(self, event: TaskEvent, record: Received, now_ms: int) -> Decision:
        """An event of a task that is not open. An outcome that its task did not wait for is of no use."""
        ended = self._tombstones.has_ended(event.task, now_ms)
        if isinstance(event, TimerFired | Admitted | PutAside) or (
            ended and isinstance(event, StepSucceeded | StepFailed)
        ):
            return Decision()
        if isinstance(event, Answered | SignalReceived | CancelRequested):
            if ended and self._tombstones.has_heard(event.task, heard_as(event), now_ms):
                return Decision()
            if not (ended or event.early):
                return Decision([_publish("delays", once_more(event, now_ms))])
        reason = f"task {event.task!r} " + ("has ended" if ended else "does not exist")
        return Decision([dead_letter(record, "conduct", reason, now_ms, event.task)])

    # ------------------------------------------------------------ tasks in memory

    def _find(self, task: str, now_ms: int) -> CachedTask | None:
        """The journal of a task that has ended is a zombie's, which nobody fences at least once."""
        cached = self._cached.get(task)
        if cached is None and not self._tombstones.has_ended(task, now_ms):
            cached = self._cached.rebuilt(task)
            if cached is not None:
                cached.busy = self._admission.is_busy(task)
                self._cached.keep(cached)
        return cached

    def awaits_somebody(self, task: str, now_ms: int) -> bool:
        """Whether an open task waits for a person or a signal: for what may never come."""
        cached = self._find(task, now_ms)
        return cached is not None and cached.execution.context.steps.awaits_somebody

    def resumed(self, now_ms: int) -> Iterator[Resumed]:
        """Yield where the first open tasks resume."""
        return resumed(self._state, lambda task: self._find(task, now_ms))

    # ------------------------------------------------------------ what follows

    def _conclude(
        self, cached: CachedTask, decision: Decision, now_ms: int, offset: int | None = None
    ) -> Decision:
        """What the coroutine asked for, where the task stands if that changed, and its end if it ended.

        `offset` is that of the event which did it, where there is one.
        """
        decision.tenant = cached.execution.submitted.tenant or ""
        concluded = self._marked(cached, decision)
        decision.publish += cached.execution.take()
        if concluded.goes_on is not None:
            cached.offset = cached.offset if offset is None else offset
            self._run_again(cached, next_run(cached.execution.context, concluded.goes_on), decision)
            concluded = self._marked(cached, decision)
        if concluded.busy != cached.busy:
            cached.busy = concluded.busy
            self._admission.busy(cached.execution.task_id, now=concluded.busy)
        if concluded.ends:
            self._end(cached, decision, now_ms)
        decision.write += self._admission.take()
        if concluded.tells:
            cached.published_status = status_digest_of(cached.execution)
            status = status_of(cached.execution, cached.partition, cached.offset)
            decision.publish.append(_publish("status", status))
        return decision

    def _marked(self, cached: CachedTask, decision: Decision) -> Conclusion:
        """What follows, and that the task is parked, or is no more, remembered."""
        concluded = cached.concluded
        if concluded.parks:
            decision.write.append(cached.park())
        if concluded.unparks:
            forgotten, unpublished = cached.unpark()
            decision.write.append(forgotten)
            decision.publish += unpublished
        return concluded

    def _run_again(self, cached: CachedTask, begins: Submitted, decision: Decision) -> None:
        """A fresh journal for the next run; and for the one after it, if signals that it held end that."""
        decision.write += [
            Write(journal_key(cached.execution.task_id, seq), None) for seq in range(1, cached.seq)
        ]
        following: Submitted | None = begins
        while following is not None:
            begun = Publish("events", following.task, following, objects=cached.execution.objects)
            decision.publish += [*abandoned(cached.execution.context), begun]
            cached.execution.close()
            cached.execution = self._play(following)
            cached.execution.start()
            decision.publish += cached.execution.take()
            goes_on = cached.concluded.goes_on
            following = next_run(cached.execution.context, goes_on) if goes_on is not None else None
        cached.seq, cached.published_status, last = 1, None, cached.execution.submitted
        decision.write.append(Write(journal_key(last.task, 0), cached.head + codec.encode(last)))

    def _end(self, cached: CachedTask, decision: Decision, now_ms: int) -> None:
        """Publish the result, forget the journal, remember the id."""
        execution = cached.execution
        submitted = execution.submitted
        result = result_of(execution)
        decision.publish.append(_publish("results", result)._replace(objects=execution.objects))
        if submitted.parent:
            parent = submitted.parent
            decision.publish.append(Publish("events", parent.task, outcome_for_parent(parent, result)))
        decision.write += [Write(journal_key(submitted.task, seq), None) for seq in range(cached.seq)]
        self._admission.ended(submitted, cached.offset, waited=execution.waited)
        how = CHILD if submitted.parent else ENDED
        heard, tenant = last_heard(execution.context), submitted.tenant or ""
        decision.write.append(mark(submitted.task, how, now_ms, heard, tenant))
        self._cached.let_go(submitted.task)


def _publish(topic: str, record: Delay | Result | Status) -> Publish:
    return Publish(topic, record.task, record)
