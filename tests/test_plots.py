"""Tests of `inception_lessons.plots`: every chart is a picture with a sentence, drawn from what was handed in."""

import inspect
import io
import math
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from inception_lessons import plots
from inception_lessons.train import History, Recipe

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


ALT = "A sentence that says what this chart shows."
WORDS = {"title": "A title", "alt": ALT}
#: Each chart twice: two inputs that differ in a number only, and must not look the same.
CHARTS = {
    "pictures": lambda k: plots.pictures(noise(5, 3, 8, 8, seed=k), columns=4),
    "pictures, framed": lambda k: plots.pictures(noise(2, 3, 8, 8), ["a", "b"], good=[True, bool(k)]),
    "losses": lambda k: plots.losses({"a": [[3, 2, 1], [3, 2.5, 1.2 + k]], "b": [[3, 2.9, 2.8]]}, every=10),
    "losses, live": lambda k: plots.losses({}, live=[2.3, 2.0, 1.0 + k], steps=5, chance=2.3),
    "bars": lambda k: plots.bars({"a": {"x": 1, "y": 2}, "b": {"x": 2, "y": 3 + k}}, ylabel="count", **WORDS),
    "bars, stacked": lambda k: plots.bars(
        {"a": {"x": 1}, "b": {"x": 2 + k}}, ylabel="share", stacked=True, number=".1f", **WORDS
    ),
    "lines": lambda k: plots.lines(
        {"a": {12: 0.1, 16: 0.5 + k / 4}, "b": {12: 0.2, 16: 0.3}},
        xlabel="size (px)",
        ylabel="accuracy",
        bands={"a": ([0.0, 0.4], [0.2, 0.9])},
        **WORDS,
    ),
    "seeds": lambda k: plots.seeds(
        {"a": [0.8, 0.82 + k / 10, 0.81], "b": [0.7]},
        {"a": (0.79, 0.83), "b": (0.7, 0.7)},
        xlabel="accuracy",
        **WORDS,
    ),
    "maps": lambda k: plots.maps(
        noise(3, 8, 8), noise(4, 4, seed=k), {"1 x 1": noise(3, 4, 4), "3 x 3": noise(2, 4, 4)}, **WORDS
    ),
    "matrix": lambda k: plots.matrix(noise(5, 5, seed=k) * 2 - 1, ["b1", "b1", "b3", "b3", "own"], **WORDS),
    "heat": lambda k: plots.heat(
        {"a": {"x": 1.0, "y": 2.0}, "b": {"x": math.nan, "y": 3.0 + k}}, xlabel="x", ylabel="y", scale="loss", **WORDS
    ),
    "occlusion": lambda k: plots.occlusion(
        noise(3, 3, 16, 16),
        {"trained": noise(3, 4, 4, seed=k) - 0.3, "untrained": noise(3, 4, 4) / 9},
        ["a", "b", "c"],
        patch=4,
        stride=4,
        scale="probability lost",
        **WORDS,
    ),
    "gallery": lambda k: plots.gallery(
        {"made": noise(2, 1, 3, 8, 8, seed=k), "real": noise(2, 4, 3, 8, 8)},
        ["a", "b"],
        {"made": ["1", "2"]},
        **WORDS,
    ),
    "filters": lambda k: plots.filters(
        {"before": noise(9, 3, 3, 3) - 0.5, "after": noise(9, 3, 3, 3, seed=k) - 0.5}, columns=4, **WORDS
    ),
    "module": lambda k: plots.module(192, 64, 96, 128, 16, 32 + 16 * k, 32),
}
#: What makes no chart, or is how a chart is made.
OTHERS = {"Chart", "LiveLoss", "Markdown", "canvas", "source", "styled", "table"}


def pixels(chart):
    return np.asarray(Image.open(io.BytesIO(chart.png)).convert("RGB")).astype(int)


def test_every_public_chart_is_tested():
    public = {name for name, thing in vars(plots).items() if not name.startswith("_") and callable(thing)}
    own = {name for name in public if getattr(getattr(plots, name), "__module__", "") == plots.__name__}
    assert own - OTHERS == {name.split(",")[0] for name in CHARTS}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_a_picture_with_a_sentence(name):
    chart = CHARTS[name](0)
    assert isinstance(chart, plots.Chart)
    bundle, about = chart._repr_mimebundle_()
    assert set(bundle) == {"image/png", "text/plain"} and bundle["image/png"].startswith(SIGNATURE)
    alt = about["image/png"]["alt"]
    assert alt == chart.alt and len(alt) >= 20 and alt.rstrip().endswith(".")
    assert bundle["text/plain"] == f"<Chart: {chart.title}>"
    height, width, _ = pixels(chart).shape
    assert 300 <= width <= 1100 and 90 <= height <= 900 and pixels(chart).std() > 5, "an empty or an odd picture"


@pytest.mark.parametrize("name", CHARTS)
def test_what_is_handed_in_is_what_is_drawn(name):
    first, again, other = CHARTS[name](0), CHARTS[name](0), CHARTS[name](1)
    assert first.png == again.png, "the same numbers, another picture"
    a, b = pixels(first), pixels(other)
    assert a.shape == b.shape and (np.abs(a - b).max(2) > 30).sum() > 20, "other numbers, the same picture"
    assert repr(first) == repr(other), "nbval compares this line: it must not carry a number of the run"


def test_losses_draw_the_mean_the_band_and_the_live_run_where_they_are():
    chart = plots.losses({"a": [[4, 2, 0], [2, 1, 1], [3, 3, 2]]}, every=10, live=[4, 3, 2, 1], steps=40, chance=2.3)
    ax = chart.figure.axes[0]
    mean, live, guess = ax.get_lines()
    assert mean.get_xydata().tolist() == [[10, 3], [20, 2], [30, 1]] and mean.get_label() == "a (3 seeds)"
    assert live.get_xydata().tolist() == [[1, 4], [2, 3], [3, 2], [4, 1]] and live.get_label() == "this run"
    assert guess.get_ydata() == pytest.approx([2.3, 2.3])
    (band,) = ax.collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
    assert {(10, 2), (20, 1), (30, 0), (10, 4), (20, 3), (30, 2)} <= corners
    assert ax.get_xlim() == (0, 40) and ax.get_ylim()[0] == 0


def test_losses_of_unequal_length_are_cut_to_the_shortest():
    (line,) = plots.losses({"a": [[3, 2, 1], [3, 2]]}).figure.axes[0].get_lines()
    assert line.get_xydata().tolist() == [[1, 3], [2, 2]]


def test_axes_carry_names_and_units():
    assert "(nats)" in plots.losses({"a": [[1, 2]]}).figure.axes[0].get_ylabel()
    ax = CHARTS["lines"](0).figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_ylim()[0]) == ("size (px)", "accuracy", 0)


def test_bars_stand_where_the_numbers_say():
    ax = plots.bars({"a": {"x": 1, "y": 2}, "b": {"y": 3}}, ylabel="n", stacked=True, **WORDS).figure.axes[0]
    assert [(p.get_y(), p.get_height()) for p in ax.patches] == [(0, 1), (0, 2), (1, 0), (2, 3)]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y"]
    side = plots.bars({"a": {"x": 1}, "b": {"x": 3}}, ylabel="n", number=".2f", log=True, **WORDS).figure.axes[0]
    assert [p.get_height() for p in side.patches] == [1, 3] and side.get_yscale() == "log"
    assert side.patches[0].get_x() + side.patches[0].get_width() <= side.patches[1].get_x() + 1e-9
    assert {"1.00", "3.00"} <= {text.get_text() for text in side.texts}
    assert side.patches[0].get_hatch() != side.patches[1].get_hatch()


def test_seeds_show_each_seed_the_mean_and_the_interval():
    chart = CHARTS["seeds"](0)
    lines = [line.get_xydata().tolist() for line in chart.figure.axes[0].get_lines()]
    assert lines[0] == [[0.79, 0], [0.83, 0]] and [x for x, _ in lines[1]] == [0.8, 0.82, 0.81]
    assert lines[2] == [[pytest.approx(0.81), 0]]
    assert lines[4] == [[0.7, 1]] == lines[5], "one seed: a dot on its mean"
    assert [label.get_text() for label in chart.figure.axes[0].get_yticklabels()] == ["a", "b"]


def test_seeds_of_a_single_value():
    assert plots.seeds({"a": [0.5]}, {"a": (0.5, 0.5)}, xlabel="x", **WORDS).png.startswith(SIGNATURE)


def test_matrix_draws_borders_between_groups():
    ax = CHARTS["matrix"](0).figure.axes[0]
    assert sorted({line.get_ydata()[0] for line in ax.get_lines() if line.get_ydata()[0] == line.get_ydata()[1]}) == [
        1.5,
        3.5,
    ]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1 x 1", "3 x 3", "own"]
    assert ax.get_xticks().tolist() == [0.5, 2.5, 4.0]
    assert ax.images[0].get_clim() == (-1, 1)


def test_pictures_frames_right_and_wrong_differently_without_colour():
    chart = plots.pictures(noise(3, 3, 8, 8), ["a", "b", "c"], good=[True, False], columns=2)
    first, second, third, empty = chart.figure.axes
    styles = [ax.spines["left"].get_linestyle() for ax in (first, second)]
    assert styles[0] != styles[1] and first.spines["left"].get_visible() and not third.spines["left"].get_visible()
    assert [ax.get_title(loc="center") for ax in (first, second, third)] == ["a", "b", "c"]
    assert not empty.get_visible() and "3 pictures" in chart.alt


def test_nothing_to_show_is_said():
    with pytest.raises(ValueError, match="no images"):
        plots.pictures(torch.zeros(0, 3, 8, 8))
    with pytest.raises(ValueError, match="alt says in a sentence .*'short'"):
        plots.Chart(Figure(), "title", "short")


def test_an_arm_without_a_single_whole_run_does_not_break_the_chart():
    """`experiments.curves` leaves out runs that diverged; an arm may have none left."""
    chart = plots.losses({"a": [[3, 2, 1]], "diverged": []})
    assert len(chart.figure.axes[0].get_lines()) == 1


def test_save_writes_the_same_picture(tmp_path):
    chart = CHARTS["bars"](0)
    chart.save(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes() == chart.png


# --------------------------------------------------------------------------------------------------- the style, alone


def test_no_pyplot_no_backend_and_no_settings_left_behind():
    program = """
        import os, sys
        os.environ.pop("MPLBACKEND", None)
        from inception_lessons import plots
        assert "matplotlib" not in sys.modules, "matplotlib is imported with the module"
        import matplotlib
        def settings():  # asking for the backend would choose one, and import pyplot
            return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
        before = settings()
        plots.losses({"a": [[2, 1], [3, 1]]}, live=[1, 2])
        plots.module(192, 64, 96, 128, 16, 32, 32)
        assert "matplotlib.pyplot" not in sys.modules, "pyplot was imported"
        assert settings() == before, "settings changed outside"
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_a_chart_looks_the_same_whatever_the_settings_outside():
    import matplotlib

    plain = CHARTS["bars"](0).png
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "axes.grid": False}):
        other = plots.bars({"a": {"x": 1, "y": 2}, "b": {"x": 2, "y": 3}}, ylabel="count", **WORDS)
        assert matplotlib.rcParams["font.size"] == 20
    width = {font: Image.open(io.BytesIO(png)).size for font, png in (("plain", plain), ("other", other.png))}
    assert width["plain"] == width["other"]
    ax = other.figure.axes[0]
    assert ax.yaxis.label.get_size() == 10 and not ax.spines["top"].get_visible()


#: Machado, Oliveira and Fernandes 2009, full severity, for linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(colour, sight):
    """#rrggbb as this eye sees it -> CIE Lab under D65, where a distance of 2.3 is just noticeable."""
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    xyz = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.9503]]) @ seen
    f = [np.cbrt(t) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in xyz / [0.95047, 1, 1.08883]]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distances(colours, sight):
    seen = [lab(colour, sight) for colour in colours]
    return {(i, j): np.linalg.norm(seen[i] - seen[j]) for i in range(len(seen)) for j in range(i)}


def test_distances_know_a_bad_palette():
    assert distances(["#ffffff", "#000000"], "normal")[1, 0] == pytest.approx(100, abs=0.1)
    red_green = ["#c86400", "#829600"]
    assert distances(red_green, "normal")[1, 0] > 40 and distances(red_green, "deuteranopia")[1, 0] < 12


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_can_be_told_apart(sight):
    colours = [colour for _, colour in plots.BRANCHES.values()]
    assert min(distances(colours, sight).values()) > 15, "branches are told apart by colour alone in the module drawing"
    for (i, j), distance in distances(plots.PALETTE, sight).items():
        assert distance > 10 or (plots.LINES[i] != plots.LINES[j] and plots.MARKERS[i] != plots.MARKERS[j]), (i, j)


def test_style_varies_with_colour():
    assert len(plots.PALETTE) == len(plots.LINES) == len(plots.MARKERS) == 8
    assert len(set(plots.PALETTE)) == len(set(map(str, plots.LINES))) == len(set(plots.MARKERS)) == 8
    lines = plots.losses({name: [[2, 1]] for name in "abcd"}).figure.axes[0].get_lines()
    assert len({line.get_linestyle() for line in lines}) == len({line.get_color() for line in lines}) == 4
    marked = plots.lines({n: {1: 1, 2: 2} for n in "abcd"}, xlabel="x", ylabel="y", **WORDS).figure.axes[0].get_lines()
    assert len({line.get_marker() for line in marked}) == 4


# -------------------------------------------------------------------------------------------------- live, and in words


class Handle:
    """What `display` gives back, remembering what it was told to show."""

    def __init__(self):
        self.shown = []

    def update(self, thing):
        self.shown.append(thing)


@pytest.fixture
def page(monkeypatch):
    """Displays and their updates, and a clock that stands still until told otherwise."""
    import IPython.display

    page = types.SimpleNamespace(handles=[], now=100.0)

    def display(thing, display_id=None):
        assert display_id is True
        page.handles.append(Handle())
        page.handles[-1].update(thing)
        return page.handles[-1]

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(plots.time, "monotonic", lambda: page.now)
    return page


def test_live_loss_shows_one_picture_and_updates_it(page):
    live, history = (
        plots.LiveLoss({"stored": [[2.0, 1.0], [2.2, 1.1]]}, every=10, title="Loss of V1"),
        History(Recipe(steps=40)),
    )
    for step in range(30):
        history.loss.append(2.3 - step / 20)
        page.now += 0.1
        live(history)
    (handle,) = page.handles
    assert 3 <= len(handle.shown) <= 4, "about once a second"
    history.loss += [0.5] * 10
    live(history)
    assert len(handle.shown) <= 4
    history.finished = True
    live(history)
    last = handle.shown[-1]
    lines = last.figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["stored (2 seeds)", "this run"]
    assert len(lines[1].get_xdata()) == 40 and last.figure.axes[0].get_xlim() == (0, 40), "the end is drawn at once"
    assert lines[1].get_ydata().tolist() == pytest.approx(history.smoothed())
    assert "step 40" in last.alt and last.title == "Loss of V1"
    assert len({chart.png for chart in handle.shown}) == len(handle.shown)
    assert "over the band of stored runs" in last.alt


def test_live_loss_of_a_stopped_run(page):
    live, history = plots.LiveLoss(), History(Recipe(steps=10), loss=[2.0, 9.0])
    live(history)
    history.stopped, history.finished = "the loss stopped being a number", True
    live(history)
    (handle,) = page.handles
    assert "stopped, not a number" in handle.shown[-1].title


def test_live_loss_of_a_run_that_diverged_at_once(page):
    history = History(Recipe(steps=10), stopped="the loss stopped being a number", finished=True)
    plots.LiveLoss({"a": [[2.0, 1.0]]}, chance=2.3)(history)
    assert len(page.handles[0].shown[0].figure.axes[0].get_lines()) == 2, "the stored run and the line of guessing"
    assert page.handles[0].shown[0].png.startswith(SIGNATURE)


def test_live_loss_shows_itself_once_where_nobody_listens(monkeypatch):
    """Outside a notebook `display` prints its argument and gives back None."""
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda thing, display_id=None: shown.append(thing))
    live, history = plots.LiveLoss(seconds=0), History(Recipe(steps=10), loss=[2.0])
    for _ in range(5):
        live(history)
    assert len(shown) == 1


def test_table():
    table = plots.table(["stage", "parameters", "share"], [["3a", 163696, 0.25], ["3b", 388736, 0.5]])
    assert table.text == (
        "| stage | parameters | share |\n| --- | ---: | ---: |\n| 3a | 163,696 | 0.25 |\n| 3b | 388,736 | 0.5 |"
    )
    assert table._repr_markdown_() == repr(table) == table.text
    assert plots.table(["a"], []).text == "| a |\n| --- |"
    assert plots.table(["right"], [[True], [False]]).text.splitlines()[2:] == ["| True |", "| False |"]
    with pytest.raises(ValueError, match=r"every row needs 2 entries \(a, b\)"):
        plots.table(["a", "b"], [[1, 2], [3]])


def test_source_is_the_package_s_own():
    from inception_lessons import googlenet, layers

    shown = plots.source(googlenet.Inception, layers.channels, History.smoothed)
    wanted = "\n".join(
        f"```python\n{textwrap.dedent(inspect.getsource(thing)).rstrip()}\n```"
        for thing in (googlenet.Inception, layers.channels, History.smoothed)
    )
    assert shown.text == wanted
    assert shown.text.startswith("```python\nclass Inception(nn.Module):\n") and shown.text.endswith("\n```")
    assert "\ndef smoothed(self" in shown.text, "a method is moved to the margin"


def test_heat_puts_each_number_in_its_cell():
    grid = {"shallow": {"0.1": 1.0, "1": 2.0, "10": math.nan}, "deep": {"0.1": 1.5, "1": 3.0, "10": math.inf}}
    chart = plots.heat(
        grid, xlabel="rate", ylabel="depth", scale="loss", title="Grid", alt="A grid of two by three.", number=".1f"
    )
    ax, bar = chart.figure.axes
    told = {tuple(map(round, text.get_position())): text.get_text() for text in ax.texts}
    wanted = {(c, r): value for r, row in enumerate(grid.values()) for c, value in enumerate(row.values())}
    assert told == {place: f"{v:.1f}" if math.isfinite(v) else "no number" for place, v in wanted.items()}
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1", "1", "10"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["shallow", "deep"]
    assert ax.images[0].get_clim() == (1.0, 3.0) and bar.get_ylabel() == "loss"
    colours = {text.get_text(): text.get_color() for text in ax.texts}
    assert colours["1.0"] == "white" and colours["3.0"] == "black" == colours["no number"]


@pytest.mark.parametrize("rows", [{}, {"a": {}}, {"a": {"x": 1.0}, "b": {"y": 1.0}}, {"a": {"x": 1.0}, "b": {}}])
def test_heat_wants_the_same_columns_in_every_row(rows):
    with pytest.raises(ValueError, match="every row needs"):
        plots.heat(rows, xlabel="x", ylabel="y", scale="loss", title="Grid", alt="A grid that is not one.")


# ------------------------------------------------------------------------------------- looking inside (lesson 08)


def test_an_occlusion_map_lies_where_its_patches_lay():
    """One patch of 6 in 20 px, every 5: the first begins at pixel 2, so its middle is 4.5 in pixel centres."""
    lost = torch.zeros(2, 3, 3)
    lost[1, 0, 2] = -0.5
    chart = plots.occlusion(noise(2, 3, 20, 20), {"a": lost}, patch=6, stride=5, scale="p", title="t", alt=ALT)
    cells = chart.figure.axes[3].images[1]
    assert cells.get_array().tolist() == lost[1].tolist() and cells.get_clim() == (-0.5, 0.5)
    left, right, bottom, top = cells.get_extent()
    middles = [left + (right - left) * (k + 0.5) / 3 for k in range(3)]
    assert middles == pytest.approx([4.5, 9.5, 14.5]) and (top, bottom) == (left, right)
    assert chart.figure.axes[3].get_xlim() == (-0.5, 19.5) and chart.figure.axes[3].get_ylim() == (19.5, -0.5)
    assert chart.figure.axes[-1].get_ylabel() == "p"


def test_an_occlusion_map_of_a_wide_picture():
    lost = torch.rand(1, 2, 5)
    chart = plots.occlusion(noise(1, 3, 12, 30), {"a": lost}, patch=6, stride=6, scale="p", title="t", alt=ALT)
    left, right, bottom, top = chart.figure.axes[1].images[1].get_extent()
    assert (left, right, top, bottom) == pytest.approx((-0.5, 29.5, -0.5, 11.5))


def test_all_occlusion_maps_share_one_scale_and_none_is_a_map_too():
    loud, quiet = torch.full((1, 2, 2), 0.8), torch.full((1, 2, 2), 0.01)
    axes = plots.occlusion(
        noise(1, 3, 8, 8), {"a": loud, "b": quiet}, patch=4, stride=4, scale="p", title="t", alt=ALT
    ).figure.axes
    assert axes[1].images[1].get_clim() == axes[2].images[1].get_clim() == pytest.approx((-0.8, 0.8))
    silent = plots.occlusion(
        noise(1, 3, 8, 8), {"a": 0 * loud}, patch=4, stride=4, scale="p", title="t", alt=ALT
    ).figure.axes
    assert silent[1].images[1].get_clim() == (-1, 1)


def test_a_gallery_has_each_picture_in_its_place():
    made, real = noise(2, 1, 3, 4, 4), noise(2, 3, 3, 4, 4, seed=1)
    chart = plots.gallery({"made": made, "real": real}, ["r0", "r1"], {"real": ["x", "y"]}, title="t", alt=ALT)
    axes = [ax for ax in chart.figure.axes if ax.images]
    shown = torch.stack([torch.tensor(ax.images[0].get_array()).permute(2, 0, 1) for ax in axes])
    torch.testing.assert_close(shown, torch.cat([made.flatten(0, 1), real.flatten(0, 1)]))
    words = {text.get_text(): text.get_position() for text in chart.figure.texts}
    assert set(words) == {"t", "made", "real", "r0", "r1", "x", "y"}
    boxes = [ax.get_position() for ax in axes]
    assert words["made"][0] == pytest.approx((boxes[0].x0 + boxes[0].x1) / 2)
    assert words["real"][0] == pytest.approx((boxes[3].x0 + boxes[3].x1) / 2), "over the middle one of three"
    for name, box in (("r0", boxes[0]), ("r1", boxes[1])):
        assert words[name][0] < box.x0 and box.y0 < words[name][1] < box.y1
    assert boxes[2].y0 > words["x"][1] > boxes[5].y1 and words["y"][1] < boxes[5].y0
    assert words["made"][1] > boxes[0].y1 and words["t"][1] > words["made"][1]
    pixels = np.array([[*box.extents] for box in boxes]) * np.tile(chart.figure.get_size_inches() * 100, 2)
    assert np.abs(pixels - pixels.round()).max() < 1e-6, "a picture of 32 x 32 is drawn in whole pixels"


def test_fewer_colours_are_nearly_the_same_picture_in_half_the_bytes():
    figure, _ = plots.canvas(size=(4.0, 4.0))
    figure.axes[0].imshow(noise(40, 40, 3).numpy())
    whole, few = plots.Chart(figure, "t", ALT), plots.Chart(figure, "t", ALT, colours=256)
    off = np.abs(pixels(whole) - pixels(few)).max(2)
    assert len(few.png) < 0.6 * len(whole.png) and off.mean() < 16 and off.max() > 0
    assert len(np.unique(pixels(few).reshape(-1, 3), axis=0)) <= 256 and few.png.startswith(SIGNATURE)


def test_a_gallerys_words_do_not_overlap():
    """Long headings over single pictures are broken into lines; a long title makes the figure wider."""
    groups = {name: noise(2, 1, 3, 8, 8) for name in ("what that channel wants", "where its channel answers", "b")}
    chart = plots.gallery(
        groups, ["row one", "r"], title="A title that is a good deal longer than the pictures", alt=ALT
    )
    chart.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in chart.figure.texts]
    boxes += [ax.get_window_extent() for ax in chart.figure.axes]
    width, height = chart.figure.get_size_inches() * chart.figure.dpi
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_filter_has_grey_for_zero_and_a_scale_of_its_own():
    kernels = torch.zeros(2, 3, 1, 2)
    kernels[0, 0, 0, 0], kernels[1, 2, 0, 1] = 0.1, -7.0
    axes = [ax for ax in plots.filters({"a": kernels}, title="t", alt=ALT).figure.axes if ax.images]
    assert axes[0].images[0].get_array().tolist() == [[[1.0, 0.5, 0.5], [0.5, 0.5, 0.5]]]
    assert axes[1].images[0].get_array().tolist() == [[[0.5, 0.5, 0.5], [0.5, 0.5, 0.0]]]


@pytest.mark.parametrize(
    "draw, sentence",
    [
        (
            lambda: plots.occlusion(
                noise(2, 3, 8, 8), {"a": noise(3, 2, 2)}, patch=4, stride=4, scale="p", title="t", alt=ALT
            ),
            "one map for each of 2 pictures, but 'a' has 3",
        ),
        (lambda: plots.gallery({"a": noise(3, 1, 3, 4, 4)}, ["x"], title="t", alt=ALT), r"wanted pictures \(1, n, 3"),
        (lambda: plots.gallery({"a": noise(1, 3, 4, 4)}, ["x"], title="t", alt=ALT), r"has \(1, 3, 4, 4\)"),
        (lambda: plots.filters({"a": noise(4, 2, 3, 3)}, title="t", alt=ALT), r"kernels \(count, 3, h, w\) of colours"),
        (lambda: plots.filters({"a": noise(0, 3, 3, 3)}, title="t", alt=ALT), r"has \(0, 3, 3, 3\)"),
    ],
)
def test_looking_charts_say_what_they_wanted(draw, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw()
