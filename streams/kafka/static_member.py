"""The static membership of a worker in the consumer groups of its stages (KIP-345), and its lease.

    instance id = segue-WORKER      the same in the group of each stage, and after each restart

A member that comes back under its instance id within the session timeout takes its partitions again without a
rebalance. So the crash of one worker, even again and again, does not stop the others. aiokafka joins with an
instance id, but sends none with its heartbeats and never leaves such a seat; the requests for that are here.

*Two workers of one name.* The newer one takes the seat over, and the broker fences the older. Were the older
one to join again, it would fence the newer one, and so on for ever. It waits instead, as `NameTaken` says,
until the group has no member of that name any more.

*The lease.* The group gives a member's partitions to nobody else within the session timeout after its last
heartbeat. The time is counted from before the heartbeat was sent, on a clock that goes on while the process
is stopped or the machine sleeps.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError
from aiokafka.protocol.types import Boolean, CompactArray, CompactBytes, Int16, Int32, Schema

from segue.streams.kafka.protocol import NO_TAGS, TAGS, TEXT, Exactly, Membership, flexible
from segue.streams.settings import Settings

KEPT_FAILURES = 4
"""A stage that fails keeps its seat so often in a row; then others serve its partitions while it tries on.
With the waits between its starts that is some two seconds."""

STEADY_S = 30.0
"""A session that lasted so long ends the row."""

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux: counts the sleep of the machine too, as macOS's CLOCK_MONOTONIC does."""


class NameTaken(KafkaError):
    """Another worker of the same name serves the stage."""


def now_s() -> float:
    """Seconds since whenever, those of a freeze included."""
    return time.clock_gettime(CLOCK)


class Lease:
    """For how long the partitions of a member surely belong to nobody else."""

    def __init__(self, session_timeout_ms: int) -> None:
        self._lasts_s = session_timeout_ms / 1000
        self._until_s = float("-inf")

    def renew(self, asked_s: float) -> None:
        """The group knew the member when it answered what was asked at that time."""
        self._until_s = max(self._until_s, asked_s + self._lasts_s)

    def end(self) -> None:
        self._until_s = float("-inf")

    def holds(self) -> bool:
        return now_s() < self._until_s


class StaticMember:
    """A worker's name in the group of one stage, through all sessions of that stage's runner."""

    def __init__(self, group: str, worker: str, *, leaves_on_stop: bool) -> None:
        self.worker = worker
        self.instance = f"segue-{worker}"
        self._group = group
        self._leaves_on_stop = leaves_on_stop
        self._failures = 0
        self._member_ids: set[str] = set()

    def joined(self, member_id: str) -> None:
        self._member_ids.add(member_id)

    def ended(self, error: BaseException | None, lasted_s: float) -> bool:
        """A session is over. Returns whether to leave the group, so that others take the partitions now."""
        if error is None:
            return self._leaves_on_stop
        self._failures = 1 if lasted_s > STEADY_S else self._failures + 1
        return not isinstance(error, Exception) or self._failures > KEPT_FAILURES

    async def ensure_free(self, send: Callable[[Exactly], Awaitable[Any]], *, always: bool = False) -> None:
        """Raises `NameTaken` if another worker of this name is in the group.

        At the first start the name is taken without a question: it is that of a worker which crashed.
        """
        if not (self._failures or always):
            return
        for member in _members(await send(_describe(self._group))):
            if member.instance == self.instance and member.id not in self._member_ids:
                raise self.taken(f"at {member.host.lstrip('/')}")

    def taken(self, where: str) -> NameTaken:
        return NameTaken(
            f"another worker named {self.worker!r}, {where}, has taken this one's place in group "
            f"{self._group}. Two workers of one name have the same group instance id ({self.instance}) and "
            f"the same transactional ids, and fence each other: give each a SEGUE_WORKER_ID of its own. "
            f"This one waits until the other is gone"
        )


def static_member(settings: Settings, stage: str, worker: str) -> StaticMember:
    return StaticMember(settings.group(stage), worker, leaves_on_stop=settings.leaves_on_stop)


class Member(NamedTuple):
    """A member of a group; `instance` is None if it is no static one."""

    id: str
    instance: str | None
    host: str


# ---------------------------------------------------------------- Heartbeat, LeaveGroup, DescribeGroups

_MEMBER = (("member_id", TEXT), ("group_instance_id", TEXT))

_HEARTBEAT_V4 = flexible(
    12,
    4,
    Schema(("group_id", TEXT), ("generation_id", Int32), *_MEMBER, TAGS),
    Schema(("throttle_time_ms", Int32), ("error_code", Int16), TAGS),
)


def heartbeat(membership: Membership) -> Exactly:
    """Answered with `FENCED_INSTANCE_ID` where another member has the same instance id by now."""
    return Exactly(_HEARTBEAT_V4, *membership)


_LEAVE_GROUP_V4 = flexible(
    13,
    4,
    Schema(("group_id", TEXT), ("members", CompactArray(*_MEMBER, TAGS)), TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("members", CompactArray(*_MEMBER, ("error_code", Int16), TAGS)),
        TAGS,
    ),
)


def leave_group(membership: Membership) -> Exactly:
    return Exactly(_LEAVE_GROUP_V4, membership.group, [(membership.member, membership.instance, NO_TAGS)])


_DESCRIBE_GROUPS_V5 = flexible(
    15,
    5,
    Schema(("groups", CompactArray(TEXT)), ("include_authorized_operations", Boolean), TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            CompactArray(
                ("error_code", Int16),
                ("group_id", TEXT),
                ("group_state", TEXT),
                ("protocol_type", TEXT),
                ("protocol_data", TEXT),
                (
                    "members",
                    CompactArray(
                        *_MEMBER,
                        ("client_id", TEXT),
                        ("client_host", TEXT),
                        ("member_metadata", CompactBytes),
                        ("member_assignment", CompactBytes),
                        TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                TAGS,
            ),
        ),
        TAGS,
    ),
)


def _describe(group: str) -> Exactly:
    return Exactly(_DESCRIBE_GROUPS_V5, [group], False)


def _members(response: Any) -> Iterator[Member]:
    for group in response.groups:
        for member_id, instance, _, host, *_ in group[5]:
            yield Member(member_id, instance, host)
