"""Measuring side by side: contenders take turns, a ratio is that of one round, its spread that of all rounds.

A machine that slows down so slows all contenders alike. Every round also says how many cores *others* used meanwhile; rounds
with more than ``QUIET`` are repeated while time lasts, and left out where at least ``ENOUGH`` quiet ones remain.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Sample = tuple[float, float]  # how much was done, in how many seconds
Contender = Callable[[], Sample]
Row = dict[str, Any]  # one line of the table, ready for JSON

QUIET = 0.15  # cores that others may use in a round: above it, the times of a training loop were seen to suffer
ENOUGH = 3  # quiet rounds
WARM_UP = 15.0  # seconds; a first sample that takes longer, as where it compiles, is taken twice


class Skipped(Exception):  # noqa: N818  # nothing is wrong
    """A part that cannot be measured here, or not in the time it has; says why."""


class Clock:
    """``left()`` of the ``seconds`` that a part may take."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; negative when the time is over."""
        return self._end - time.monotonic()

    def part(self, count: int) -> Clock:
        """For the first of ``count`` parts that share what is left."""
        return Clock(self.left() / count)


@dataclass(frozen=True, kw_only=True)
class Round:
    """What each contender did per second, and the cores that others used; None where the system does not say."""

    rates: dict[str, float]
    company: float | None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Contenders that are warm; a round is ``passes`` turns of each and will take about ``seconds``."""

    contenders: dict[str, Contender]
    seconds: float
    passes: int = 1
    notes: list[Row] = field(default_factory=list)


def make(makers: Mapping[str, Callable[[], Contender]], clock: Clock, *, passes: int = 1) -> Ready:
    """Build and warm up one contender after the other, as many as can have a round in the time; the notes name the others.

    The first two are always made: without them there is no ratio.
    """
    made: dict[str, Contender] = {}
    notes: list[Row] = []
    seconds = longest = 0.0
    for name, maker in makers.items():
        if len(made) >= 2 and seconds + longest * (passes + 1) > clock.left():
            break
        start = time.monotonic()
        made[name] = maker()
        building = time.monotonic() - start
        first = _timed(made[name])
        again = _timed(made[name]) if first > WARM_UP else first
        longest = max(longest, building + first)
        seconds += passes * again
        if first > WARM_UP + again:
            notes.append(note(f"{name}: {first:.0f} s of warm-up, counted nowhere else"))
    if missing := [name for name in makers if name not in made]:
        notes.append(note(f"left out for want of time: {', '.join(missing)}"))
    return Ready(contenders=made, seconds=seconds, passes=passes, notes=notes)


def _timed(contender: Contender) -> float:
    start = time.monotonic()
    contender()
    return time.monotonic() - start


def interleave(ready: Ready, clock: Clock, most: int, *, pids: Iterable[int] = ()) -> list[Round]:
    """Rounds in which all take turns, every other turn backwards, until ``most`` were quiet or time is over.

    At most 2 ``most``. pids: child processes that work for us. Skipped where one round takes longer than what is left, and than
    half of the part: being late by that much is better than having waited for nothing.
    """
    contenders, passes = ready.contenders, ready.passes
    if ready.seconds > max(clock.left(), clock.seconds / 2):
        raise Skipped(f"a round takes about {ready.seconds:.0f} s, and {max(clock.left(), 0):.0f} s were left")
    rounds: list[Round] = []
    names, longest = list(contenders), 0.0
    while not rounds or (clock.left() > longest and len(rounds) < 2 * most and len(_quiet(rounds)) < most):
        start, company = time.monotonic(), Company(pids)
        done = {name: [0.0, 0.0] for name in contenders}
        for turn in range(passes):
            for name in names if turn % 2 == 0 else reversed(names):
                amount, seconds = contenders[name]()
                done[name][0] += amount
                done[name][1] += seconds
        rates = {name: amount / seconds for name, (amount, seconds) in done.items()}
        rounds.append(Round(rates=rates, company=company.cores()))
        longest = max(longest, time.monotonic() - start)
    return rounds


class Company:
    """``cores()`` that others kept busy since it was made, time stolen by the host included."""

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self._pids = list(pids)
        self._start, self._all, self._own = time.monotonic(), _all_busy(), self._our_time()

    def cores(self) -> float | None:
        """Mean number; None where the system does not say."""
        everyone = _all_busy()
        if everyone is None or self._all is None:
            return None
        others = (everyone - self._all) - (self._our_time() - self._own)
        return max(0.0, others / (time.monotonic() - self._start))

    def _our_time(self) -> float:
        """Processor seconds of this process, the children that it has waited for and those of ``pids``."""
        times = os.times()
        alive = 0.0
        for pid in self._pids:
            stat = Path(f"/proc/{pid}/stat")
            fields = stat.read_text().rpartition(")")[2].split() if stat.exists() else []
            alive += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # user and system
        return times.user + times.system + times.children_user + times.children_system + alive


def _all_busy() -> float | None:
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    return float(user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def ratio(what: str, rounds: Sequence[Round], over: str, under: str, bar: float | None = None) -> Row:
    """How many times ``under``'s rate ``over`` reached in each round."""
    used = usable(rounds)
    return row(what, "x", [r.rates[over] / r.rates[under] for r in used], bar, rounds=used)


def rate(what: str, unit: str, rounds: Sequence[Round], name: str, bar: float | None = None) -> Row:
    """What ``name`` did per second."""
    used = usable(rounds)
    return row(what, unit, [r.rates[name] for r in used], bar, rounds=used)


def row(
    what: str,
    unit: str,
    values: Sequence[float],
    bar: float | None = None,
    *,
    at_most: bool = False,
    rounds: Sequence[Round] = (),
) -> Row:
    """Median, lowest and highest of ``values``, one a round; ``bar`` is to be reached by the median, or not surpassed."""
    middle = median(values)
    companies = [r.company for r in rounds if r.company is not None]
    return {
        "what": what,
        "unit": unit,
        "median": middle,
        "lowest": min(values),
        "highest": max(values),
        "bar": bar,
        "at_most": at_most,
        "met": None if bar is None else middle <= bar if at_most else middle >= bar,
        "values": list(values),
        "company": max(companies, default=None),
    }


def note(text: str) -> Row:
    """A row that only says something."""
    return {"note": text}


def attempt(measure: Callable[[], list[Row]]) -> list[Row]:
    """What ``measure`` gives, or a note that says why it was skipped."""
    try:
        return measure()
    except Skipped as reason:
        return [note(f"skipped: {reason}")]


def usable(rounds: Sequence[Round]) -> Sequence[Round]:
    """The quiet rounds, if there are enough of them, else all."""
    quiet = _quiet(rounds)
    return quiet if len(quiet) >= min(ENOUGH, len(rounds)) else rounds


def _quiet(rounds: Sequence[Round]) -> list[Round]:
    return [r for r in rounds if r.company is None or r.company <= QUIET]
