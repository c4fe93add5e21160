"""The page of `make bench`: its layout, and which figures of a section's own tables it tells. Nothing is timed here."""

import bench
import bench_networks
import pytest
from bench import Line, Section

LANDSCAPE = 66, 132  # lines and columns of a printed page


def figures(name: str, quotient: str = "0.98 (0.92 to 1.02)") -> tuple[list, list, list]:
    """The rows that the tables of bench_networks would have for one network."""
    forwards = [
        [name, "contiguous", "41.0", "42.0", "30.0", quotient, "0.71", "0.71 (0.70 to 0.72)", "0.60"],
        [name, "channels_last", "33.0", "35.0", "20.0", "0.94", "0.57", "0.48 (0.45 to 0.50)", "0.55"],
    ]
    trainings = [[name, layout, "99.0", "100.0", "0.99 (0.98 to 1.01)"] for layout in bench_networks.LAYOUTS]
    return forwards, trainings, [[name, "torchvision", "1e-06", "1", "2", "3", "100", "110", "1,500", "2,000"]]


def row(name: str) -> bench_networks.Row:
    return next(row for row in bench_networks.ROWS if row.name == name)


def test_the_page_tells_each_network_beside_its_peer():
    told = bench_networks.lines_of([row("V1")], *figures("V1"))
    assert [tuple(line) for line in told] == [
        ("V1, an image forward", "41.0 ms", "42.0 ms", "torchvision", "0.98 (0.92 to 1.02)"),
        ("V1, an image forward, best form", "20.0 ms", "42.0 ms", "torchvision", "0.48 (0.45 to 0.50)"),
        ("V1, an image and back", "99.0 ms", "100.0 ms", "torchvision", "0.99 (0.98 to 1.01)"),
        ("V1, memory", "1,500 MB", "2,000 MB", "torchvision", "0.75"),
    ]


def test_a_network_without_peer_or_batch_norm():
    forwards, trainings, descriptions = figures("V2")
    for found in forwards:
        found[3] = ""
    assert bench_networks.lines_of([row("V2")], forwards, trainings, descriptions) == []
    forwards, trainings, descriptions = figures("VGG-16")
    for found in forwards:
        found[4] = found[6] = found[7] = ""
    descriptions[0][-4:] = [""] * 4  # Windows does not tell the memory
    told = bench_networks.lines_of([row("VGG-16")], forwards, trainings, descriptions)
    assert [line.what for line in told] == ["VGG-16, an image forward", "VGG-16, an image and back"]


def test_the_page_is_one_page():
    """As many lines as all sections make together, the longest of each."""
    networks = [row for row in bench_networks.ROWS if row.library]
    lines = [line for row in networks for line in bench_networks.lines_of([row], *figures(row.name))]
    spread, network = "0.98 (0.92 to 1.02)", 'training step, GoogLeNet.laptop(norm="bn")'
    lines += [Line(network, "49.26 ms", "73.53 ms", "DataLoader, 2 workers", spread)] * 6
    lines += [Line("import of the slowest module, inception_resnet", "1.05 s", "1.00 s", "import torch", spread)] * 2
    lines += [Line("digits_in_the_wild, from the cache", "0.029 s", "1.50 s", "built", "0.02")] * 2
    lines += [Line("VGG-16, ONNX int8, a picture", "100.0 ms", "200.0 ms", "torchvision", spread)] * 9
    lines += [Line("autograde a submission, 02_batch_norm", "10.0 s", "11.0 s", "nbgrader's own execution", spread)]
    lines += [Line("lesson 05_inception_v4_and_residual", "45 s, 0.9 GB")] * 10
    lines += [Line("make test: unit tests, without a browser", "1,000 s, failed")] * 4
    told = bench.page(lines).splitlines()
    assert len(told) <= LANDSCAPE[0] and {len(line) for line in told} == {len(told[0])}
    assert len(told[0]) <= LANDSCAPE[1]


@pytest.fixture
def sections(monkeypatch, tmp_path):
    """Sections that only write down that they were asked for, and a folder for build/bench.md."""
    asked = []

    def fake(name):
        return lambda quick: (
            asked.append((name, quick)) or Section(f"## Of {name}", [Line(f"what {name} takes", "1 s")])
        )

    monkeypatch.setattr(bench, "SECTIONS", {name: fake(name) for name in bench.SECTIONS})
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    return asked


def test_sections_run_alone_and_are_left_out(sections, capsys, tmp_path):
    assert bench.main(["--quick", "--only", "export", "loops"]) == 0
    assert sections == [("loops", True), ("export", True)]
    page = capsys.readouterr().out
    assert "what export takes" in page and "what sets takes" not in page and "## Of" not in page
    kept = (tmp_path / "build" / "bench.md").read_text()
    assert kept.startswith(page.strip()) and kept.endswith("## Of loops\n\n## Of export\n")
    sections.clear()
    bench.main(["--skip", "tests"])
    assert sections == [(name, False) for name in bench.SECTIONS if name != "tests"] and len(sections) == 7


def test_an_unknown_section(sections, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--only", "speed"])
    said = capsys.readouterr().err
    assert "'speed'" in said and "networks" in said and sections == []
