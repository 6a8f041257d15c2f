"""The clock of a call, what it learns of its estimates, and which run is next."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from retlib.reproduce.order import DueRun

ONE_WARM_UP = 0.03
"""Share of the budget that one warm-up may take."""
ALL_WARM_UPS = 0.15
"""Share of the budget that all warm-ups together may take."""
MARGIN = 1.1
"""An estimate is multiplied by this, and by what finished runs have shown, before it is held against the time left."""


class Budget:
    """Time that a call may take, from its first moment on.

    Args:
        minutes: the budget; None for no limit.
        clock: seconds of a clock that never goes back.

    Raises:
        ValueError: a budget that is not above 0.
    """

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        if minutes is not None and not 0 < minutes < math.inf:
            raise ValueError(f"--budget: expected minutes above 0, got {minutes:g}")
        self.seconds = math.inf if minutes is None else 60 * minutes
        self.warming_s = 0.0
        self._clock, self._began = clock, clock()
        self._finished: deque[tuple[float, float]] = deque(maxlen=5)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.seconds < math.inf

    def spent(self) -> float:
        """Seconds since the call began."""
        return self._clock() - self._began

    def left(self) -> float:
        """Seconds left, infinite without a limit."""
        return self.seconds - self.spent()

    def learn(self, estimated: float, actual: float) -> None:
        """Take note of a finished run; the last five count."""
        self._finished.append((estimated, actual))

    @property
    def factor(self) -> float:
        """What an estimate is multiplied by: the margin, times how much longer the last five runs took than estimated.

        Runs that were faster than estimated do not lower it.
        """
        estimated = sum(pair[0] for pair in self._finished)
        actual = sum(pair[1] for pair in self._finished)
        return MARGIN * max(1.0, actual / estimated if estimated else 1.0)

    def warm_up_allowance(self, room: float | None = None) -> float:
        """Seconds that the next warm-up may take; 0 when there shall be no more, and without a budget.

        Args:
            room: seconds of a lane that no run has been found for yet; all that is left, by default. Once it is under a
                tenth of the budget, measuring what might fit into it costs more than it brings.
        """
        if not self.limited or min(self.left(), self.left() if room is None else room) < self.seconds / 10:
            return 0.0
        one, together = ONE_WARM_UP * self.seconds, ALL_WARM_UPS * self.seconds
        return one if self.warming_s + one <= together else 0.0


def decide(
    waiting: Sequence[DueRun],
    seconds_of: Callable[[DueRun], float | None],
    room: float,
    *,
    may_warm: bool,
    start_unknown: bool = False,
) -> tuple[DueRun, bool] | None:
    """The next thing to do on a free lane: the first run in order of value that fits.

    A run that is too long for what is left is passed over, so a shorter one of less value fills the gap.

    Args:
        waiting: runs in order of value.
        seconds_of: a run's estimate, the safety factor included; None where nothing is known.
        room: seconds left on the lane.
        may_warm: whether a run of which nothing is known may be measured first.
        start_unknown: whether such a run may be started unmeasured (without a budget).

    Returns:
        The run, and whether it has to be measured first; None if nothing fits.
    """
    for run in waiting:
        seconds = seconds_of(run)
        if seconds is None:
            if may_warm:
                return run, True
            if start_unknown:
                return run, False
        elif seconds <= room:
            return run, False
    return None
