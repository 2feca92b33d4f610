"""Time is the brokers': a wall clock that is set, and a process that was frozen, change nothing for long."""

from dataclasses import dataclass, field

from segue.streams.kafka.broker_clock import Clock

START_MS = 1_700_000_000_000


@dataclass
class Town:
    """A wall clock and a counting one, in milliseconds; the broker's time is true."""

    true_ms: int = START_MS
    wall_off_ms: int = 0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(
            lambda: (self.true_ms + self.wall_off_ms) * 1_000_000,
            lambda: (self.true_ms - START_MS + 77) * 1_000_000,
        )

    def commit(self, there_ms: int = 2, back_ms: int = 2) -> None:
        sent_ms = self.clock.counted_ms()
        self.true_ms += there_ms
        stamp_ms = self.true_ms
        self.true_ms += back_ms
        self.clock.synchronize(stamp_ms, sent_ms)

    @property
    def off_ms(self) -> int:
        return self.clock.now_ms() - self.true_ms


def test_before_a_broker_has_told_the_wall_clock_counts() -> None:
    assert Town(wall_off_ms=3).off_ms == 3


def test_one_commit_corrects_a_clock_that_was_wrong_from_the_beginning() -> None:
    for wrong_ms in (-7_200_000, 7_200_000):
        town = Town(wall_off_ms=wrong_ms)
        town.commit()
        assert abs(town.off_ms) <= 3


def test_a_clock_that_is_right_is_left_alone() -> None:
    town = Town()
    for there_ms, back_ms in ((1, 0), (0, 1), (50, 3), (3, 50)):
        town.commit(there_ms, back_ms)
        assert town.off_ms == 0


def test_a_wall_clock_that_is_set_later_is_not_looked_at() -> None:
    town = Town()
    town.commit()
    town.wall_off_ms = 3_600_000
    assert town.off_ms == 0


def test_an_acknowledgement_that_a_freeze_delayed_shifts_nothing() -> None:
    town = Town()
    town.commit()
    town.commit(back_ms=60_000)
    assert town.off_ms == 0
