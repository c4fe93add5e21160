"""The widgets of lesson 06: a race of networks to play, pause and scrub, and six linked views of them."""

from collections.abc import Mapping

from inception_lessons import plots
from inception_lessons.widgets.controls import choice, player, show, slider

#: Frames of a race: two hundredths of it each, so that it is played in a quarter of a minute.
FRAME = 2


def race(racers: Mapping[str, plots.Racer], by: str = "steps", quantity: str = "loss") -> None:
    """{name: ``plots.Racer``} -> a race to play, pause and scrub, with two lists: the axis that it is run over, and
    what is raced for.

    It begins at its end, so that the picture holds the whole race where nobody can play it. Raises ValueError for no
    racers, an axis or a quantity that there is not.
    """
    plots.standing(racers, at=0, by=by, quantity=quantity)  # refuses before anything is displayed
    far = slider("raced, in %", 100, 0, 100, FRAME)
    controls = {
        "far": far,
        "by": choice("over", list(plots.AXES), by),
        "quantity": choice("for", list(plots.QUANTITIES), quantity),
    }
    show(lambda far, by, quantity: race_chart(racers, far, by, quantity), controls, beside={"far": player("play", far)})


def race_chart(racers: Mapping[str, plots.Racer], far: float, by: str = "steps", quantity: str = "loss") -> plots.Chart:
    """What ``race`` shows for one state: the race after ``far`` per cent of the way to where its last network ends.

    Raises ValueError for a share outside 0 to 100, and what ``plots.race`` raises.
    """
    if not 0 <= far <= 100:
        raise ValueError(f"a race is between 0 and 100 per cent raced; got {far!r}")
    last = plots.finish(racers, by)[1]
    return plots.race(racers, at=last if far == 100 else last * far / 100, by=by, quantity=quantity)


def linked_views(racers: Mapping[str, plots.Racer], highlight: str | None = None) -> None:
    """{name: ``plots.Racer``} -> a list to choose one network from; it is coloured in six views of all networks.

    Without ``highlight`` all networks have their colours at first. Raises ValueError for no racers, and for a name that
    is not among them.
    """
    plots.finish(racers)  # refuses before anything is displayed
    if highlight is not None and highlight not in racers:
        raise ValueError(f"there is no network {highlight!r}; there are {', '.join(racers)}")
    names = [("all networks", ""), *((name, name) for name in racers)]  # None would be a list with nothing chosen
    controls = {"highlight": choice("network", names, highlight or "")}
    show(lambda highlight: plots.linked(racers, highlight=highlight or None), controls)
