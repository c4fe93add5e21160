"""Who runs in a race, and who stands where in it: numbers alone, nothing drawn."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: What a race can be run over -> the axis's name.
AXES = {"steps": "steps", "multiply-adds": "multiply-adds of training", "seconds": "seconds of training"}
#: What is raced for -> the axis's name; of the first the lowest wins, of the second the highest.
QUANTITIES = {"loss": "validation loss (nats)", "accuracy": "validation accuracy"}


@dataclass(frozen=True)
class Racer:
    """One network of a race -> its curves and its costs, for ``race``, ``linked``, ``ranks`` and ``standing``.

    ``steps`` are the points where it was measured; ``loss`` and ``accuracy`` hold one list a seed with a value a point,
    no number (nan) from where a seed diverged. A step costs ``macs`` multiply-adds (forward and backward, the whole
    batch) and ``seconds`` (one number, or one a seed); ``memory`` is the most bytes that a step held, None where nobody
    measured it. Raises ValueError where these do not fit together.
    """

    steps: Sequence[int]
    loss: Sequence[Sequence[float]]
    accuracy: Sequence[Sequence[float]]
    macs: float
    seconds: float | Sequence[float]
    params: int
    memory: int | None = None

    def __post_init__(self):
        steps = list(self.steps)
        if not steps or steps[0] < 0 or any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
            raise ValueError(f"steps are at least one point, none below 0, each later than the one before; got {steps}")
        if not self.loss or len(self.loss) != len(self.accuracy):
            raise ValueError(
                f"loss and accuracy have one list a seed, at least one; got {len(self.loss)} and {len(self.accuracy)}"
            )
        for name in QUANTITIES:
            for curve in getattr(self, name):
                if len(curve) != len(steps):
                    raise ValueError(f"{name} has {len(curve)} values in one seed, but steps has {len(steps)} points")
        for name, costs in (("macs", [self.macs]), ("seconds", listed(self.seconds))):
            if not costs or not all(math.isfinite(cost) and cost > 0 for cost in costs):
                raise ValueError(f"{name} of a step are above 0; got {costs}")
        if self.params < 0 or (self.memory is not None and self.memory < 0):
            raise ValueError(f"params and memory are at least 0; got {self.params} and {self.memory}")


class Place(NamedTuple):
    """One row of a standing. ``rank`` is None for a network that is not ranked, and ``state`` says why: "running"
    (ranked), "diverged", "ended" (its value is its last one) or "waiting" (not measured yet).

    ``value`` is the mean over seeds, ``low`` and ``high`` the lowest and highest seed.
    """

    rank: int | None
    name: str
    value: float
    low: float
    high: float
    state: str


def finish(racers: Mapping[str, Racer], by: str = "steps") -> tuple[float, float]:
    """Racers by name, and an axis -> where on it the first of them ends, and where the last one does.

    Up to the first end all are compared; after it only those that still run. Raises ValueError for no racers and for an
    axis that there is not.
    """
    known_ends(racers, by, "loss")
    ends = [points_of(racer, by)[-1] for racer in racers.values()]
    return min(ends), max(ends)


def standing(
    racers: Mapping[str, Racer], *, at: float, by: str = "steps", quantity: str = "loss", seed: int | None = None
) -> list[Place]:
    """Racers by name, and a point on an axis -> one ``Place`` each: the ranked ones best first, then those that are
    not ranked.

    Only networks that have got as far as ``at`` have a rank; equal values share it. Between two points of measurement a
    value lies on the straight line between them. A network of which one seed diverged has no mean, and no rank. With
    ``seed`` that run alone is asked. Raises ValueError for a point that nobody reaches.
    """
    first, last = known_ends(racers, by, quantity, at)
    if seed is not None and not 0 <= seed < min(len(racer.loss) for racer in racers.values()):
        raise ValueError(f"not every racer has a seed number {seed!r}; they count from 0")
    found = []
    for name, racer in racers.items():
        x = points_of(racer, by)
        curves = getattr(racer, quantity)
        values = [_value(x, curve, min(at, x[-1])) for curve in (curves if seed is None else [curves[seed]])]
        mean = average(values) if all(map(math.isfinite, values)) else math.nan
        whole = [value for value in values if math.isfinite(value)] or [math.nan]
        state = "waiting" if at < x[0] else "diverged" if math.isnan(mean) else "ended" if at > x[-1] else "running"
        found.append(Place(None, name, mean, min(whole), max(whole), state))
    sign = 1 if quantity == "loss" else -1
    order = ("running", "diverged", "ended", "waiting")
    # what differs by rounding alone is a tie
    key = {place.name: (order.index(place.state), _or(sign * round(place.value, 9), 0.0)) for place in found}
    found.sort(key=lambda place: key[place.name])
    ranked: list[Place] = []
    for i, place in enumerate(found):
        if place.state == "running":
            tie = i > 0 and key[place.name] == key[found[i - 1].name]
            place = place._replace(rank=ranked[-1].rank if tie else i + 1)
        ranked.append(place)
    return ranked


def listed(value: float | Sequence[float]) -> list[float]:
    """One number or several -> a list."""
    return [value] if isinstance(value, int | float) else list(value)


def average(values: Sequence[float]) -> float:
    """Numbers -> their mean, without rounding on the way."""
    return math.fsum(values) / len(values)


def _or(value: float, otherwise: float) -> float:
    """A number that can be sorted: nan is neither above nor below anything."""
    return value if math.isfinite(value) else otherwise


def known_ends(racers: Mapping[str, Racer], by: str, quantity: str, at: float | None = None) -> tuple[float, float]:
    """Where the first and the last racer end; ValueError where one of the arguments is none."""
    if not racers:
        raise ValueError("there are no racers; a race needs at least one")
    if by not in AXES:
        raise ValueError(f"a race is run over {', '.join(AXES)}; got {by!r}")
    if quantity not in QUANTITIES:
        raise ValueError(f"a race is run for {' or '.join(QUANTITIES)}; got {quantity!r}")
    ends = [points_of(racer, by)[-1] for racer in racers.values()]
    if at is not None and not 0 <= at <= max(ends):  # nan is outside too
        raise ValueError(f"the race runs from 0 to {max(ends):g} {AXES[by]}; got {at!r}")
    return min(ends), max(ends)


def points_of(racer: Racer, by: str) -> list[float]:
    """Where on the axis a racer was measured: its steps, times what a step costs (the mean over its seeds)."""
    unit = {"steps": 1, "multiply-adds": racer.macs, "seconds": average(listed(racer.seconds))}[by]
    return [step * unit for step in racer.steps]


def _value(x: list[float], y: Sequence[float], at: float) -> float:
    """The value at a point of a curve, on the straight line between two points of measurement; nan before the first."""
    i = bisect_left(x, at)
    if at < x[0]:
        return math.nan
    if x[i] == at:
        return float(y[i])
    share = (at - x[i - 1]) / (x[i] - x[i - 1])
    return (1 - share) * y[i - 1] + share * y[i]
