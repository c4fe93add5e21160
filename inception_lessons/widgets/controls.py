"""The thin skin of every widget: controls by argument name, one picture that is replaced when a control moves."""

from collections.abc import Callable, Mapping, Sequence

from inception_lessons import plots

_STYLE = {"description_width": "110px"}
#: A slider speaks when it is let go: drawing takes longer than a hand takes to move on.
_SLIDER = {"continuous_update": False, "style": _STYLE, "layout": {"width": "420px"}}


def show(
    draw: Callable[..., plots.Chart], controls: Mapping[str, object], *, beside: Mapping[str, object] | None = None
) -> None:
    """Display ``controls`` (widgets by argument name) and the chart that ``draw`` makes of their values; redraw when
    one changes.

    ``beside`` are widgets that move a control, such as a ``player``: each stands left of the control whose name it has.
    An error while drawing is shown as a picture with its sentence, so that a widget never goes silently dead.
    """
    import ipywidgets
    from IPython.display import display

    def chart():
        try:
            return draw(**{name: control.value for name, control in controls.items()})
        except Exception as error:  # noqa: BLE001 - whatever it is, the learner has to see it
            return _sentence(f"{type(error).__name__}: {error}")

    movers = beside or {}
    rows = [ipywidgets.HBox([movers[n], control]) if n in movers else control for n, control in controls.items()]
    display(ipywidgets.VBox(rows))
    handle = display(chart(), display_id=True)
    if handle is None:  # outside a notebook: there is no picture to replace
        return
    for control in controls.values():
        control.observe(lambda change: handle.update(chart()), "value")


def slider(label: str, value: int, low: int, high: int, step: int = 1):
    """Label, value and limits -> a slider of whole numbers that speaks when it is let go."""
    import ipywidgets

    return ipywidgets.IntSlider(
        value,
        low,
        high,
        step,
        description=label,
        **_SLIDER,
    )


def scale(label: str, value: float, low: float, high: float, step: float, *, readout: str = ".2f"):
    """Label, value and limits -> a slider of numbers that speaks when it is let go."""
    import ipywidgets

    return ipywidgets.FloatSlider(
        value,
        min=low,
        max=high,
        step=step,
        readout_format=readout,
        description=label,
        **_SLIDER,
    )


def stops(label: str, options: Sequence, value):
    """Label and values (or (text, value) pairs) in order -> a slider that stops at each and nowhere else.

    ``value`` is where it begins.
    """
    import ipywidgets

    return ipywidgets.SelectionSlider(
        options=options,
        value=value,
        description=label,
        **_SLIDER,
    )


def choice(label: str, options: Sequence, value):
    """Label and values (or (text, value) pairs) -> a list to choose one from. ``value`` is chosen at the start."""
    import ipywidgets

    return ipywidgets.Dropdown(options=options, value=value, description=label, style=_STYLE, layout={"width": "420px"})


def player(label: str, moved: object, *, interval: int = 300):
    """Label and a slider of whole numbers -> play, pause and stop buttons that move it, one step each ``interval``
    milliseconds.

    The two are linked in the page: the slider moves even while Python draws, and a picture that comes late is skipped.
    Played from its end, the slider starts again from its beginning.
    """
    import ipywidgets

    buttons = ipywidgets.Play(
        value=moved.value,
        min=moved.min,
        max=moved.max,
        step=moved.step,
        interval=interval,
        show_repeat=False,
        description=label,
        tooltip=f"{label}, pause, back to the start",
    )
    ipywidgets.jslink((buttons, "value"), (moved, "value"))
    return buttons


@plots.styled
def _sentence(text: str) -> plots.Chart:
    figure, ax = plots.canvas(size=(8.0, 1.2))
    ax.set_axis_off()
    ax.text(0, 0.5, text, wrap=True, color=plots.PALETTE[1], va="center")
    return plots.Chart(figure, "This could not be drawn", f"No chart: {text}")
