"""Tests of `inception_lessons.plots`: every chart is a picture with a sentence, drawn from what was handed in."""

import inspect
import io
import itertools
import json
import math
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from figures import cut_off
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from inception_lessons import plots
from inception_lessons.plots import base, compare, curves, racing
from inception_lessons.train import History, Recipe

ROOT = Path(__file__).resolve().parent.parent
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def racers(count=3, seeds=3, points=5, change=0.0):
    """Networks that were never trained: each with curves and costs of its own. ``change`` goes to the first one's."""
    found = {}
    for i in range(count):
        loss = 2.3 - noise(seeds, points, seed=i).cumsum(1) * (0.2 + 0.02 * i)
        loss[:, -1] += change * (i == 0)
        found[f"net {i}"] = plots.Racer(
            steps=[10 * (k + 1) for k in range(points)],
            loss=loss.tolist(),
            accuracy=(0.9 - 0.3 * loss).tolist(),
            macs=1e9 * (1 + i),
            seconds=[0.01 * (1 + i) + 0.001 * seed for seed in range(seeds)],
            params=1000 * (i + 1),
            memory=None if i == 1 else 10**6 * (i + 1),
        )
    return found


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
    "race": lambda k: plots.race(racers(4, change=k), at=25),
    "race, over": lambda k: plots.race(racers(10, change=k), by="seconds", quantity="accuracy"),
    "linked": lambda k: plots.linked(racers(4, change=k)),
    "linked, one": lambda k: plots.linked(racers(10, change=k), highlight="net 0"),
    "ranks": lambda k: plots.ranks(racers(4, change=2 * k)),


    "costs": lambda k: plots.costs(
        {"a": (1, 5), "b": (2, 9 + k), "c": (40, 90)}, xlabel="x", ylabel="y", rates="{:g} a second", **WORDS
    ),
    "shares": lambda k: plots.shares({"a": {"1 x 1": 1, "pooling": 1 + k}, "b": {"3 x 3": 1}}, xlabel="share", **WORDS),
    "roofline": lambda k: plots.roofline({"1 x 1": (9.0, 4e10 * (1 + k))}, 2e11, 2e10, **WORDS),
}
#: What makes no chart, or is how a chart is made.
OTHERS = {
    "Chart", "LiveLoss", "Look", "Markdown", "Place", "Racer", "canvas", "finish", "look_of", "source", "standing",
    "styled", "table",
}  # fmt: skip


def pixels(chart):
    return np.asarray(Image.open(io.BytesIO(chart.png)).convert("RGB")).astype(int)


def test_every_public_chart_is_tested():
    public = {name for name, thing in vars(plots).items() if not name.startswith("_") and callable(thing)}
    own = {name for name in public if getattr(plots, name).__module__.startswith(f"{plots.__name__}.")}
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
    assert not cut_off(first), "a reader would miss the rest"


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


def test_bars_say_what_their_categories_are_and_long_names_end_under_their_own():
    counts = {str(k): k for k in range(12)}
    ax = plots.bars({"a": counts, "b": counts}, xlabel="size (px)", ylabel="n", **WORDS).figure.axes[0]
    assert ax.get_xlabel() == "size (px)"
    assert all(label.get_ha() == "right" and label.get_rotation() == 40 for label in ax.get_xticklabels())
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().y1 < ax.xaxis.label.get_window_extent().y0, "one above the other"


def test_seeds_show_each_seed_the_mean_and_the_interval():
    chart = CHARTS["seeds"](0)
    lines = [line.get_xydata().tolist() for line in chart.figure.axes[0].get_lines()]
    assert lines[0] == [[0.79, 0], [0.83, 0]] and [x for x, _ in lines[1]] == [0.8, 0.82, 0.81]
    assert lines[2] == [[pytest.approx(0.81), 0]]
    assert lines[4] == [[0.7, 1]] == lines[5], "one seed: a dot on its mean"
    assert [label.get_text() for label in chart.figure.axes[0].get_yticklabels()] == ["a", "b"]


def test_seeds_with_equal_values_stand_above_each_other():
    chart = plots.seeds({"a": [3, 5, 3, 4, 3], "b": [1, 1]}, {"a": (2, 5), "b": (0, 2)}, xlabel="x", **WORDS)
    lines = [line.get_xydata() for line in chart.figure.axes[0].get_lines()]
    high = {x: sorted(y for at, y in lines[1] if at == x) for x in (3, 4, 5)}
    assert high[4] == high[5] == [0] and high[3] == pytest.approx([-0.13, 0, 0.13])
    assert sorted(lines[4][:, 1]) == pytest.approx([1 - 0.065, 1 + 0.065])


def test_seeds_of_a_single_value():
    assert plots.seeds({"a": [0.5]}, {"a": (0.5, 0.5)}, xlabel="x", **WORDS).png.startswith(SIGNATURE)


def test_maps_frame_the_chosen_channel_though_others_look_the_same():
    rows = {"1 x 1": torch.zeros(3, 4, 4), "3 x 3": torch.zeros(2, 4, 4)}
    axes = plots.maps(noise(3, 8, 8), rows["3 x 3"][1], rows, **WORDS).figure.axes
    framed = [ax for ax in axes if ax.images and ax.spines["left"].get_visible()]
    large, small = framed
    assert large.get_title() == "chosen, framed: 3 x 3, channel 1"
    assert small.get_subplotspec().rowspan.start == small.get_subplotspec().colspan.start == 1, "second row and column"
    assert [ax.get_title() for ax in axes if ax.get_title() in ("channel 0", "1", "2")] == ["channel 0", "1", "2"]
    named = plots.maps(noise(3, 8, 8), rows["3 x 3"][1], rows, columns=("busiest", "second", "third"), **WORDS)
    titles = {ax.get_title() for ax in named.figure.axes}
    assert {"busiest", "second", "third", "chosen, framed: 3 x 3, second"} <= titles
    with pytest.raises(ValueError, match="3 maps in the longest row want as many names, not 2: a, b"):
        plots.maps(noise(3, 8, 8), rows["3 x 3"][1], rows, columns=("a", "b"), **WORDS)
    alone = plots.maps(noise(3, 8, 8), torch.zeros(4, 4), rows, **WORDS).figure.axes
    assert not any(ax.spines["left"].get_visible() for ax in alone if ax.images), "not one of the rows"


def test_filters_of_one_number_stand_below_each_other():
    before, after = noise(5, 3, 2, 2), noise(5, 3, 2, 2, seed=1)
    axes = plots.filters({"before": before, "after": after}, columns=3, **WORDS).figure.axes
    shown = {ax.get_subplotspec().num1: ax for ax in axes if ax.images}
    assert sorted(shown) == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]
    assert [shown[k].get_title() for k in (0, 1, 2, 6, 7)] == list("01234")
    assert [shown[k].get_ylabel() for k in (0, 3, 6, 9)] == ["before", "after"] * 2
    for n, cell in enumerate((3, 4, 5, 9, 10)):
        wanted = (0.5 + 0.5 * after[n] / after[n].max()).permute(1, 2, 0)
        np.testing.assert_allclose(shown[cell].images[0].get_array(), wanted)


def test_a_point_of_the_roof_has_the_colour_of_its_kind_and_the_marker_of_its_network():
    names = ("1 x 1, V1", "3 x 3, V1", "1 x 1, V3")
    chart = plots.roofline({name: (9.0 + i, 4e10) for i, name in enumerate(names)}, 2e11, 2e10, **WORDS)
    a, b, c = chart.figure.axes[0].get_lines()[2:]
    assert a.get_color() == c.get_color() != b.get_color() and a.get_marker() == b.get_marker() != c.get_marker()


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
    looks = [plots.look_of(i) for i in range(16)]  # twice as many as there are colours
    for (i, j), distance in distances([look.colour for look in looks], sight).items():
        assert distance > 10 or (looks[i].line != looks[j].line and looks[i].marker != looks[j].marker), (i, j)


@pytest.mark.parametrize("row", [(192, 64, 96, 128, 16, 32, 32), (512, 224, 240, 128, 16, 32, 32), (832, *[8] * 6)])
def test_no_words_of_the_module_drawing_lie_on_a_box(row):
    figure = plots.module(*row).figure
    figure.draw_without_rendering()
    for ax in figure.axes:
        words = [text for text in ax.texts if text.get_ha() == "left"]  # the others stand inside their box
        assert words
        for text, box in itertools.product(words, ax.patches):
            a, b = text.get_window_extent(), box.get_window_extent()
            over = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(over) < 1, f"{text.get_text()!r} lies on a box by {over} pixels"


@pytest.mark.parametrize("sight", SIGHT)
def test_what_stands_for_different_things_differs_in_colour_or_in_more(sight):
    """10 is four times what is just noticeable: enough for areas and thick lines that do not touch."""
    from inception_lessons.widgets import lesson_04, lesson_05

    filled = [(plots.PALETTE[i % 8], curves._HATCHES[(i + i // 8) % 4]) for i in range(16)]  # as `bars` draws groups
    for looks in (list(plots.KINDS.values()), filled):
        for (i, j), distance in distances([colour for colour, _ in looks], sight).items():
            assert distance > 10 or looks[i][1] != looks[j][1], (looks[i], looks[j])
    frames = plots.PALETTE[1], plots.PALETTE[2]  # wrong and right around a picture, dotted and solid as well
    assert min(distances(frames, sight).values()) > 20
    assert min(distances([lesson_04.TOLD, lesson_04.SAID, lesson_04.UNSURE], sight).values()) > 15
    edges = {kind: colour for kind, colour in lesson_05._EDGES.items() if kind != "none"}
    assert min(distances(list(edges.values()), sight).values()) > 10  # each box has its name in it too
    for fill in lesson_05._FILLS.values():
        assert lab(fill, sight)[0] - lab("#222222", sight)[0] > 60, f"the words in a box of {fill} are hard to read"


#: Every scale of colours: whether it goes one way, or has two arms that leave a pale middle.
SCALES = {"viridis": "one way", "Reds": "one way", "RdBu_r": "two arms", "PuOr_r": "two arms"}


def steps(scale):
    """65 colours of a scale as #rrggbb, from its lowest value to its highest."""
    import matplotlib

    return [matplotlib.colors.to_hex(matplotlib.colormaps[scale](k / 64)) for k in range(65)]


def scale_faults(colours, kind, sight):
    """What is wrong with a scale for this eye: lightness must go one way, or each arm of a diverging one."""
    seen = np.array([lab(colour, sight) for colour in colours])
    change = np.diff(seen[::4, 0])  # in sixteenths: 256 steps of 8-bit colours would show their rounding
    found = []
    if kind == "one way" and not (all(change > 0) or all(change < 0)):
        found.append("lightness turns back")
    if kind == "two arms":
        if not (all(change[:8] > 0) and all(change[8:] < 0)):
            found.append("an arm's lightness turns back")
        if min(np.linalg.norm(seen[32 - k] - seen[32 + k]) for k in range(8, 33, 4)) < 15:
            found.append("the arms look alike")
    return found


@pytest.mark.parametrize("sight", SIGHT)
def test_scales_of_colours_can_be_read(sight):
    found = {scale: scale_faults(steps(scale), kind, sight) for scale, kind in SCALES.items()}
    assert found == dict.fromkeys(SCALES, [])


def test_scale_faults_know_bad_scales():
    assert scale_faults(steps("jet"), "one way", "normal") == ["lightness turns back"]
    assert scale_faults(steps("RdYlGn"), "two arms", "normal") == []
    assert scale_faults(steps("RdYlGn"), "two arms", "deuteranopia") == ["the arms look alike"]
    assert scale_faults(steps("viridis"), "two arms", "normal") == ["an arm's lightness turns back"]


def test_no_other_scale_is_used():
    """In the package, in lessons and in assignments: a new one must join SCALES, and be tested."""
    used = {base._STYLE["image.cmap"]}
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "inception_lessons").rglob("*.py")]
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for text in texts:
        used |= set(re.findall(r"""(?:cmap\s*=|colormaps\[|get_cmap\()\s*["'](\w+)["']""", text))
    assert used == set(SCALES)


def test_style_varies_with_colour():
    assert len(plots.PALETTE) == len(plots.LINES) == len(plots.MARKERS) == 8
    assert len(set(plots.PALETTE)) == len(set(map(str, plots.LINES))) == len(set(plots.MARKERS)) == 8
    lines = plots.losses({name: [[2, 1]] for name in "abcd"}).figure.axes[0].get_lines()
    assert len({line.get_linestyle() for line in lines}) == len({line.get_color() for line in lines}) == 4
    assert [plots.look_of(i) for i in range(8)] == list(zip(plots.PALETTE, plots.LINES, plots.MARKERS, strict=True))
    marked = plots.lines({n: {1: 1, 2: 2} for n in "abcd"}, xlabel="x", ylabel="y", **WORDS).figure.axes[0].get_lines()
    assert len({line.get_marker() for line in marked}) == 4


@pytest.mark.parametrize(
    "given, order",
    [
        ([(1, 3), (1, 2, 3)], [1, 2, 3]),
        ([(16, 0.5), (8, 2), (10,)], [0.5, 2, 8, 10, 16]),
        ([(torch.tensor([4, 2]).numpy()[0], 9), (1,)], [1, 4, 9]),
        ([(3, 1, 2), (3, 1, 2)], [3, 1, 2]),  # one order for all is the order that was meant
        ([("later", "first"), ("second", "first")], ["later", "first", "second"]),
        ([(2, "all"), (1,)], [2, "all", 1]),
        ([(True, 2), (1.5,)], [True, 2, 1.5]),
    ],
    ids=str,
)
def test_numbers_that_differ_between_lines_stand_in_their_order(given, order):
    series = {f"line {i}": {x: 10 * i + k for k, x in enumerate(xs)} for i, xs in enumerate(given)}
    bands = {"line 0": ([0] * len(given[0]), [5] * len(given[0]))}
    ax = plots.lines(series, bands=bands, xlabel="x", ylabel="y", **WORDS).figure.axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [str(x) for x in order]
    for line, xs in zip(ax.get_lines(), given, strict=True):
        assert line.get_xdata(orig=False).tolist() == [order.index(x) for x in xs]
    bare = plots.lines(series, xlabel="x", ylabel="y", **WORDS).figure.axes[0]
    assert bare.get_xlim() == ax.get_xlim(), "no place is kept for what is not there"


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
    monkeypatch.setattr(curves.time, "monotonic", lambda: page.now)
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
    columns = {
        "---:": ["96%", "-0.74 ± 0.61", "7.7e-09", "x 62.1", "0.738 [0.696, 0.780]", "7.1 ms", "+0.28", 1234, 0.5],
        "---": ["64 x 56", "01", "3a", "2 of 3", "", "5 to 6 days", "V1", None, "at 0.5"],
    }
    for ruler, cells in columns.items():
        for cell in cells:
            assert plots.table(["a"], [[cell], [""]]).text.splitlines()[1] == f"| {ruler} |", cell
            assert plots.table(["a"], [[cell], ["V1"]]).text.splitlines()[1] == "| --- |", "one word, and it is text"
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


# ------------------------------------------------------------------------------------------- more series than colours


MANY = {  # a chart of so many series -> how each of them looks
    "losses": lambda n: [
        (line.get_color(), line.get_linestyle())
        for line in plots.losses({f"n{i}": [[2, 1 + i]] for i in range(n)}).figure.axes[0].get_lines()
    ],
    "lines": lambda n: [
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for line in plots.lines({f"n{i}": {1: i, 2: 2} for i in range(n)}, xlabel="x", ylabel="y", **WORDS)
        .figure.axes[0]
        .get_lines()
    ],
    "bars": lambda n: [
        (patch.get_facecolor(), patch.get_hatch())
        for patch in plots.bars({f"n{i}": {"x": 1} for i in range(n)}, ylabel="n", **WORDS).figure.axes[0].patches
    ],
    "seeds": lambda n: [
        (line.get_color(), line.get_marker())
        for line in plots.seeds(
            {f"n{i}": [0.5, 0.6] for i in range(n)}, {f"n{i}": (0.4, 0.7) for i in range(n)}, xlabel="x", **WORDS
        )
        .figure.axes[0]
        .get_lines()[1::3]
    ],
    "race": lambda n: [
        (line.get_color(), line.get_linestyle())
        for line in plots.race(racers(n)).figure.axes[0].get_lines()[1 : 3 * n : 3]
    ],
    "race, heads": lambda n: [
        (line.get_color(), line.get_marker())
        for line in plots.race(racers(n)).figure.axes[0].get_lines()[2 : 3 * n : 3]
    ],
    "linked": lambda n: [
        (line.get_color(), line.get_linestyle())
        for line in plots.linked(racers(n)).figure.axes[0].get_lines()[: 2 * n : 2]
    ],
    "ranks": lambda n: [
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for line in plots.ranks(racers(n)).figure.axes[0].get_lines()
    ],
}


@pytest.mark.parametrize("count", [8, 10, 12])
@pytest.mark.parametrize("chart", MANY)
def test_all_series_look_different_however_many(chart, count):
    looks = MANY[chart](count)
    assert len(looks) == count == len(set(map(str, looks)))


def test_looks_repeat_late():
    looks = [plots.look_of(i) for i in range(64)]
    assert len(set(looks)) == 64 and len({look.marker for look in looks[:16]}) == 16
    assert all(a.line != b.line for a, b in zip(looks, looks[8:], strict=False)), "a colour comes again"


# ----------------------------------------------------------------------------------------------------------- standing


def racer(*curves, steps=(10, 20, 30), quantity="loss", **costs):
    """A network with these curves, one a seed; what is not said is plain."""
    flat = [[0.5] * len(curve) for curve in curves]
    both = {"loss": flat, "accuracy": flat} | {quantity: [list(curve) for curve in curves]}
    return plots.Racer(steps=list(steps), **both, **({"macs": 1e9, "seconds": 0.1, "params": 10} | costs))


@pytest.mark.parametrize("quantity", plots.QUANTITIES)
@pytest.mark.parametrize("by", plots.AXES)
@pytest.mark.parametrize("share", [0.0, 0.03, 0.2, 0.37, 0.5, 0.81, 1.0])
def test_the_standing_is_what_numpy_and_scipy_say(quantity, by, share):
    from scipy.stats import rankdata

    field = racers(7, seeds=4)
    x, y = {}, {}
    for name, one in field.items():
        unit = {"steps": 1.0, "multiply-adds": one.macs, "seconds": np.mean(one.seconds)}[by]
        x[name] = np.array(one.steps) * unit
        y[name] = np.array(getattr(one, quantity))
    at = share * max(points[-1] for points in x.values())
    places = {place.name: place for place in plots.standing(field, at=at, by=by, quantity=quantity)}
    assert plots.finish(field, by) == pytest.approx((min(p[-1] for p in x.values()), max(p[-1] for p in x.values())))
    there = [name for name in field if x[name][0] <= at <= x[name][-1]]
    means = [np.interp(at, x[name], y[name].mean(0)) for name in there]
    wanted = rankdata(means if quantity == "loss" else [-m for m in means], method="min") if there else []
    assert {name: places[name].rank for name in there} == dict(zip(there, wanted, strict=True))
    for name, place in places.items():
        state = "running" if name in there else "waiting" if at < x[name][0] else "ended"
        assert place.state == state and (place.rank is None) == (state != "running")
        if state == "waiting":
            assert math.isnan(place.value)
            continue
        single = [np.interp(at, x[name], curve) for curve in y[name]]
        assert place[2:5] == pytest.approx((np.mean(single), min(single), max(single)))
        for seed, value in enumerate(single):
            alone = plots.standing(field, at=at, by=by, quantity=quantity, seed=seed)
            assert next(p for p in alone if p.name == name).value == pytest.approx(value)
    order = [place.rank for place in places.values() if place.rank]
    assert order == sorted(order) and list(places)[: len(order)] == sorted(there, key=lambda n: places[n].rank)


def test_ties_share_a_rank_and_rounding_is_a_tie():
    field = {"a": racer((1, 0.3, 0.1)), "b": racer((1, 0.1 + 0.2, 0.2)), "c": racer((1, 0.1, 0)), "d": racer((2, 2, 2))}
    assert [(p.rank, p.name) for p in plots.standing(field, at=20)] == [(1, "c"), (2, "a"), (2, "b"), (4, "d")]
    assert 0.1 + 0.2 != 0.3
    assert [p.rank for p in plots.standing(field, at=10)] == [1, 1, 1, 4]
    chart = plots.race({"a": field["a"], "b": field["b"]}, at=20)
    assert "a and b lead, 0.300" in chart.figure.get_suptitle() and "1. a 0.300, 1. b 0.300" in chart.alt


def test_one_racer_alone():
    chart = plots.race({"V1": racer((2, 1, 0.5))}, at=25)
    assert (
        "at 25 of 30 steps: only V1 in the race, 0.750" in chart.figure.get_suptitle()
        and "Standing: 1. V1 0.750." in chart.alt
    )
    assert "seeds" not in [text.get_text() for text in chart.figure.axes[1].texts], "one seed has no spread"
    for other in (plots.linked({"V1": racer((2, 1, 0.5))}), plots.ranks({"V1": racer((2, 1, 0.5))})):
        assert "1 networks" not in other.alt


def test_a_racer_that_diverged_has_no_rank_and_ends_in_a_cross():
    field = {
        "dies": racer((1.0, 0.1, math.nan), (1.0, 0.1, 0.1)),
        "lives": racer((2.0, 1.5, 1.0), (2.0, 1.5, 1.2)),
        "never": racer((math.nan,) * 3, (math.inf,) * 3),
    }
    assert [(p.name, p.rank, p.state) for p in plots.standing(field, at=20)] == [
        ("dies", 1, "running"),
        ("lives", 2, "running"),
        ("never", None, "diverged"),
    ], "at the last point before it diverged it was still in the race"
    late = plots.standing(field, at=30)
    assert [(p.name, p.rank, p.state) for p in late] == [
        ("lives", 1, "running"),
        ("dies", None, "diverged"),
        ("never", None, "diverged"),
    ]
    assert math.isnan(late[1].value) and late[1].low == late[1].high == 0.1
    chart = plots.race(field)
    assert "Diverged: dies, never." in chart.alt and "only lives still in the race" in chart.figure.get_suptitle()
    crosses = [line for line in chart.figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert [line.get_xydata().tolist() for line in crosses] == [[[20, 0.1]]], "where it was last a number"
    assert "diverged: no number any more" in [text.get_text() for text in chart.figure.axes[1].texts]
    places = plots.ranks(field, budgets=[10, 30])
    assert "dies 2 (1 to 2)" in places.alt and "never 2" in places.alt, "who diverged shares the last place"
    assert "loss: diverged, no place" in plots.linked(field, highlight="dies").alt


def test_who_ended_before_is_held_hollow_and_not_ranked():
    field = {"fast": racer((2, 1.0, 0.5), seconds=0.1), "slow": racer((2, 1.0, 0.6), seconds=[0.3, 0.5])}
    chart = plots.race(field, at=6.0, by="seconds")
    fast, slow = (p for p in sorted(plots.standing(field, at=6.0, by="seconds"), key=lambda p: p.name))
    assert (fast.state, fast.value, fast.rank) == ("ended", 0.5, None)
    assert (slow.state, slow.value, slow.rank) == ("running", pytest.approx(1.5), 1)
    lines = chart.figure.axes[0].get_lines()
    heads = {line.get_color(): line for line in lines if line.get_marker() in plots.MARKERS}
    hollow, full = (heads[plots.look_of(i).colour] for i in range(2))
    assert hollow.get_markerfacecolor() == "white" and full.get_markerfacecolor() != "white"
    assert hollow.get_xydata().tolist() == [[6.0, 0.5]], "held at its last value, at the point of the race"
    assert "Ended before, held at their last value and not ranked: fast 0.500." in chart.alt
    assert "the first one ends" in "".join(t.get_text() for t in chart.figure.axes[0].texts)
    assert "only slow still in the race" in chart.figure.get_suptitle()


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"at": 51}, "the race runs from 0 to 50 steps; got 51"),
        ({"at": -1}, "the race runs from 0 to 50 steps; got -1"),
        ({"at": math.nan}, "got nan"),
        ({"at": 2.01, "by": "seconds"}, "from 0 to 1.55 seconds"),
        ({"at": 1, "by": "hours"}, "run over steps, multiply-adds, seconds; got 'hours'"),
        ({"at": 1, "quantity": "beauty"}, "for loss or accuracy; got 'beauty'"),
    ],
)
def test_a_state_outside_the_race_is_refused(options, sentence):
    for ask in (plots.standing, plots.race):
        with pytest.raises(ValueError, match=sentence):
            ask(racers(3), **options)


def test_what_is_no_race_is_refused():
    for ask in (plots.race, plots.linked, plots.ranks, plots.finish):
        with pytest.raises(ValueError, match="there are no racers"):
            ask({})
    with pytest.raises(ValueError, match="no network 'V9'; there are net 0, net 1, net 2"):
        plots.linked(racers(3), highlight="V9")
    with pytest.raises(ValueError, match="not every racer has a seed number 3"):
        plots.standing(racers(3, seeds=3), at=20, seed=3)
    with pytest.raises(
        ValueError, match=r"compared from 30 to 50 multiply|compared from 3e\+10 to 5e\+10 multiply-adds"
    ):
        plots.ranks(racers(3), by="multiply-adds", budgets=[2e10, 4e10])
    with pytest.raises(ValueError, match="each above the one before it"):
        plots.ranks(racers(3), budgets=[20, 20])
    with pytest.raises(ValueError, match="as many seeds of each network; got .*'b': 2"):
        plots.ranks({"a": racer((1, 1, 1)), "b": racer((1, 1, 1), (1, 1, 1))})


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"steps": ()}, "steps are at least one point"),
        ({"steps": (10, 10, 20)}, "each later than the one before"),
        ({"steps": (-1, 10, 20)}, "none below 0"),
        ({"steps": (10, 20)}, "loss has 3 values in one seed, but steps has 2 points"),
        ({"macs": 0}, "macs of a step are above 0"),
        ({"seconds": [0.1, math.nan]}, "seconds of a step are above 0"),
        ({"seconds": []}, "seconds of a step are above 0"),
        ({"params": -1}, "at least 0; got -1"),
        ({"memory": -5}, "at least 0; got 10 and -5"),
    ],
)
def test_a_racer_that_does_not_fit_together_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        racer((3, 2, 1), **changes)


def test_a_racer_has_as_many_seeds_of_both_quantities():
    with pytest.raises(ValueError, match="one list a seed, at least one; got 2 and 1"):
        plots.Racer([1], [[1.0], [1.0]], [[0.5]], 1.0, 1.0, 1)
    with pytest.raises(ValueError, match="got 0 and 0"):
        plots.Racer([1], [], [], 1.0, 1.0, 1)


# ------------------------------------------------------------------------------------------------------ the race, drawn


def drawn_race(chart, name):
    """Line and head of a racer: (x, y) of each."""
    ax = chart.figure.axes[0]
    look = plots.look_of(int(name.split()[1]))
    mine = [line for line in ax.get_lines() if line.get_color() == look.colour and line.get_alpha() is None]
    line = max(mine, key=lambda line: len(line.get_xdata()))
    (head,) = (line for line in mine if len(line.get_xdata()) == 1)
    return line.get_xydata().tolist(), head.get_xydata().tolist()


def test_a_race_draws_each_curve_as_far_as_it_is():
    field = racers(3, seeds=4)
    for at, by in ((25, "steps"), (20, "steps"), (4.4e10, "multiply-adds"), (0.41, "seconds")):
        chart = plots.race(field, at=at, by=by)
        for place in plots.standing(field, at=at, by=by):
            line, head = drawn_race(chart, place.name)
            i = int(place.name.split()[1])
            costs = {"steps": 1, "multiply-adds": 1e9 * (i + 1), "seconds": 0.0115 + 0.01 * i}[by]
            mean = np.array(field[place.name].loss).mean(0)
            wanted = [[10 * (k + 1) * costs, mean[k]] for k in range(5) if 10 * (k + 1) * costs < at * (1 - 1e-12)]
            wanted = np.array([*wanted, [at, place.value]])
            assert place.state == "running" and np.allclose(line, wanted) and np.allclose(head, wanted[-1])


def test_nothing_but_the_heads_moves_in_a_race():
    field = racers(6)
    frames = [plots.race(field, at=at).figure.axes for at in (0, 13, 30, 50)]
    for main, panel in frames:
        assert main.get_xlim() == frames[0][0].get_xlim() and main.get_ylim() == frames[0][0].get_ylim()
        assert main.get_position().bounds == frames[0][0].get_position().bounds
        assert panel.get_ylim() == frames[0][1].get_ylim()
        faint = [line.get_xydata().tolist() for line in main.get_lines() if line.get_alpha() == 0.22]
        assert len(faint) == 6 and all(len(points) == 5 for points in faint)
    assert "nobody has a rank" in plots.race(field, at=0).figure.get_suptitle()
    assert "Not measured yet: net 0" in plots.race(field, at=0).alt


def overlaps(figure, texts):
    """Texts that leave the figure, and pairs of texts that lie on one another, as they were painted."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    width, height = figure.bbox.width, figure.bbox.height
    out = [words for words, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    return out + [
        (a, b)
        for i, (a, one) in enumerate(boxes)
        for b, other in boxes[:i]
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1.5
    ]


@pytest.mark.parametrize("count", [1, 10, 12])
def test_no_text_of_a_race_lies_on_another(count):
    field = {f"Inception-ResNet-{i + 1}": one for i, one in enumerate(racers(count).values())}
    for by in ("steps", "seconds"):
        last = plots.finish(field, by)[1]
        for share in (0.1, 0.25, 1.0):
            for quantity in plots.QUANTITIES:
                chart = plots.race(field, at=share * last, by=by, quantity=quantity)
                main, panel = chart.figure.axes
                names = [text for text in main.texts if "Inception" in text.get_text()]
                assert len(names) == sum(p.state != "waiting" for p in plots.standing(field, at=share * last, by=by))
                assert overlaps(chart.figure, [*names, *panel.texts]) == []


@pytest.mark.parametrize("seed", range(6))
def test_labels_are_spread_as_near_as_can_be(seed):
    from scipy.optimize import isotonic_regression

    wanted = sorted(noise(9, seed=seed).tolist())
    gap = 0.05 + 0.02 * seed
    found = racing._spread(wanted, gap, -0.1, 1.1)
    gap = min(gap, 1.2 / 8)
    bare = isotonic_regression([height - gap * k for k, height in enumerate(wanted)]).x
    assert found == pytest.approx([min(max(b, -0.1), 1.1 - 8 * gap) + gap * k for k, b in enumerate(bare)])
    assert all(b - a >= gap - 1e-9 for a, b in zip(found, found[1:], strict=False))
    assert -0.1 - 1e-9 <= found[0] and found[-1] <= 1.1 + 1e-9
    assert racing._spread([0.2, 0.5, 0.9], 0.1, 0, 1) == pytest.approx([0.2, 0.5, 0.9]), "who does not touch stays"


# -------------------------------------------------------------------------------------------------- linked views, ranks


def test_linked_views_agree_with_the_numbers():
    field = racers(10)
    chart = plots.linked(field, highlight="net 6")
    loss, accuracy, *costs = chart.figure.axes
    own = plots.look_of(6).colour
    for ax, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        lines = [line for line in ax.get_lines() if len(line.get_xdata()) > 1]
        assert [line.get_color() == own for line in lines] == [i == 6 for i in range(10)], "one is coloured"
        for line, one in zip(lines, field.values(), strict=True):
            assert line.get_ydata().tolist() == pytest.approx(np.array(getattr(one, quantity)).mean(0).tolist())
    wanted = {
        "seconds a step": [np.mean(one.seconds) for one in field.values()],
        "multiply-adds a step": [one.macs for one in field.values()],
        "parameters": [one.params for one in field.values()],
        "memory of a step (bytes)": [one.memory for one in field.values() if one.memory is not None],
    }
    for ax, (label, values) in zip(costs, wanted.items(), strict=True):
        assert ax.get_title(loc="left") == label
        assert [patch.get_width() for patch in ax.patches] == pytest.approx([v / max(values) for v in values])
        from matplotlib.colors import to_hex

        assert sum(to_hex(patch.get_facecolor()).upper() == own for patch in ax.patches) == 1
    assert [text.get_text() for text in costs[-1].texts].count("not measured") == 1
    for said in ("memory of a step (bytes): 7.00 M, 6 of 9 from the cheapest", "parameters: 7.00 k, 7 of 10 from"):
        assert said in chart.alt
    rank = next(p.rank for p in plots.standing(field, at=50) if p.name == "net 6")
    assert f"place {rank} of 10" in loss.get_title(loc="right"), "above the panel: in it some curve would run there"
    titled = {ax.get_title(loc=side) for ax in chart.figure.axes for side in ("left", "right")}
    titles = chart.figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_text() in titled - {""})
    assert len(titles) == 6, titled
    assert overlaps(chart.figure, [*titles, *(text for ax in chart.figure.axes for text in ax.texts)]) == []


@pytest.mark.parametrize(
    "value, words",
    [(0.0594, "0.0594"), (999.4, "999"), (1000, "1.00 k"), (8_453_152, "8.45 M"), (36e6, "36.0 M"), (999_600, "1.00 M"),
     (1.9e9, "1.90 G"), (403_050, "403 k"), (5.2e15, "5,200 T"), (0, "0"), (12, "12")],
)  # fmt: skip
def test_costs_are_said_in_three_figures(value, words):
    assert compare._short(value) == words


def test_ranks_are_those_of_scipy():
    from scipy.stats import rankdata

    field = racers(10, seeds=5)
    budgets = [20, 40, 50]
    chart = plots.ranks(field, budgets=budgets, quantity="accuracy")
    left, right = chart.figure.axes
    curves = np.array([one.accuracy for one in field.values()])  # network, seed, point
    whole = np.stack([rankdata(-curves[:, :, k].mean(1), method="min") for k in (1, 3, 4)], 1)
    lines = [line for line in left.get_lines()]
    assert np.array([line.get_ydata() for line in lines]).tolist() == (whole - 1).tolist()
    single = rankdata(-curves[:, :, 4], method="min", axis=0)
    same = pairs = 0
    for i in range(10):
        mine = single[i]
        dots = [
            line.get_xdata()[0]
            for line in right.get_lines()
            if len(line.get_xdata()) == 1 and line.get_ydata()[0] == whole[i, 2] - 1
        ]
        assert dots == sorted(set(mine))
        spread = f"{min(mine):.0f} to {max(mine):.0f}" if min(mine) < max(mine) else f"{min(mine):.0f}"
        assert f"net {i} {whole[i, 2]:.0f} ({spread})" in chart.alt
        for j in range(i):
            pairs += 1
            same += len({np.sign(a - b) for a, b in zip(single[i], single[j], strict=True)}) == 1
    assert f"all 5 seeds agree on {same} of {pairs} pairs" in chart.figure.get_suptitle() and 0 < same < pairs == 45
    assert [label.get_text() for label in left.get_xticklabels()] == ["20", "40", "50"]


def test_a_pair_that_ties_in_one_seed_is_not_agreed_on():
    ends = {"a": (1, 1), "b": (2, 1), "c": (0.5, 1), "d": (1, 1), "last": (9, 9)}  # by seed
    field = {name: racer(*((3, 2, value) for value in values)) for name, values in ends.items()}
    assert "all 2 seeds agree on 4 of 10 pairs" in plots.ranks(field).alt, "only that one is the last"


# -------------------------------------------------------------------------------------------------- costs, shares, roof

FIELD = {"V1": (1.58, 30), "V1 with batch norm": (1.58, 25), "V2": (1.95, 33), "V3": (5.7, 62), "V4": (12.3, 130)}
FIELD |= {"AlexNet": (0.72, 5), "NIN": (1.1, 12), "VGG-16": (15.5, 100), "Inception-ResNet-v1": (6.2, 70)}


def test_costs_draws_each_point_where_it_is_and_names_it():
    chart = plots.costs(FIELD, xlabel="G", ylabel="ms", pair=("V1", "VGG-16"), **WORDS)
    (ax,) = chart.figure.axes
    drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.get_lines()]
    assert drawn == list(FIELD.values())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    named = {text.get_text(): text for text in ax.texts}
    assert {name: text.xy for name, text in named.items()} == FIELD
    assert [name for name, text in named.items() if text.get_weight() == "bold"] == ["V1", "VGG-16"]


@pytest.mark.parametrize("rates", ["", "{:g} G a second"])
def test_costs_names_do_not_lie_on_each_other_or_outside(rates):
    chart = plots.costs(FIELD, xlabel="G", ylabel="ms", rates=rates, scale=1e3, **WORDS)
    (ax,) = chart.figure.axes
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    for a in boxes:
        assert not [b for b in boxes if b != a and boxes[a].overlaps(boxes[b])], a
    area = ax.get_window_extent()
    assert all(area.x0 <= box.x0 and box.x1 <= area.x1 + 1 for box in boxes.values())


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_costs_lines_of_equal_rate_say_their_rate(scale):
    chart = plots.costs({"a": (1, 10), "b": (10, 10)}, xlabel="x", ylabel="y", rates="{:g}/s", scale=scale, **WORDS)
    (ax,) = chart.figure.axes
    rates = [scale * line.get_xdata()[0] / line.get_ydata()[0] for line in ax.get_lines() if len(line.get_xdata()) == 2]
    said = [float(text.get_text().removesuffix("/s")) for text in ax.texts if text.get_text().endswith("/s")]
    assert said == pytest.approx(rates) and len(said) >= 2
    assert all(low < rate < high for rate in rates for low, high in [(0.03 * scale, 3 * scale)])


@pytest.mark.parametrize("points", [{}, {"a": (1, 0)}, {"a": (-1, 2)}, {"a": (math.nan, 2)}])
def test_costs_wants_numbers_above_0(points):
    with pytest.raises(ValueError, match="no points|numbers above 0, but a has"):
        plots.costs(points, xlabel="x", ylabel="y", **WORDS)


def test_a_single_point_has_room():
    (ax,) = plots.costs({"a": (3, 7)}, xlabel="x", ylabel="y", **WORDS).figure.axes
    low, high = ax.get_xlim()
    assert low < 3 < high and high / low >= 2.9


def test_shares_are_of_the_whole_row():
    rows = {"a": {"1 x 1": 2.0, "7 x 7": 1.0, "sums": 1.0, "2 x 2": 4.0}, "b": {"3 x 3": 5.0}}
    (ax,) = plots.shares(rows, xlabel="share", **WORDS).figure.axes
    wide = {c.get_label(): [bar.get_width() for bar in c] for c in ax.containers}
    left = {c.get_label(): [bar.get_x() for bar in c] for c in ax.containers}
    assert wide == {"1 x 1": [0.25, 0], "3 x 3": [0, 1], "other kernels": [0.625, 0], "other": [0.125, 0]}
    assert left["other kernels"][0] == 0.25 and left["other"][0] == 0.875
    with pytest.raises(ValueError, match="c has nothing to share out"):
        plots.shares({"c": {"1 x 1": 0.0}}, xlabel="share", **WORDS)


def test_the_roof_has_its_ridge_where_both_limits_meet():
    chart = plots.roofline({"1 x 1": (10.0, 4e10), "linear": (0.3, 3e9)}, 2e11, 2e10, **WORDS)
    (ax,) = chart.figure.axes
    slope, flat, *points = ax.get_lines()
    assert slope.get_xdata()[1] == flat.get_xdata()[0] == 10 and set(flat.get_ydata()) == {200}
    assert slope.get_ydata()[0] == pytest.approx(20 * slope.get_xdata()[0])
    assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in points] == [(10.0, 40.0), (0.3, 3.0)]
    with pytest.raises(ValueError, match="numbers above 0, but pooling"):
        plots.roofline({"pooling": (0.0, 0.0)}, 2e11, 2e10, **WORDS)


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
