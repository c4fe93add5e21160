"""What `inception_lessons.measure` says a network costs and sees, against torchinfo, arithmetic and other networks."""

import copy
import itertools
import math
import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import layers, measure
from inception_lessons.baselines import NIN, Plain
from inception_lessons.googlenet import GoogLeNet, Inception
from inception_lessons.inception_resnet import InceptionResNetV1
from inception_lessons.inception_v3 import InceptionV3

NETWORKS = {
    "V1": lambda: GoogLeNet.laptop(norm="bn"),
    "V1 lrn, heads": lambda: GoogLeNet.laptop(aux=True),
    "NIN": NIN.laptop,
    "Plain": Plain.laptop,
}


def staged(**stages) -> nn.Module:
    """A little network with named stages."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleDict(stages)

        def forward(self, x):
            for stage in self.stages.values():
                x = stage(x)
            return x

    return Small()


def state_of(model):
    """All that counting must leave alone."""
    return SimpleNamespace(
        weights={k: (v.clone(), v.data_ptr(), v.device, v.dtype) for k, v in model.state_dict().items()},
        trainable=[p.requires_grad for p in model.parameters()],
        modes=[m.training for m in model.modules()],
        hooks=[len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        kinds=[type(m) for m in model.modules()],
    )


def assert_same_state(before, after):
    assert before.weights.keys() == after.weights.keys()
    for key, (value, *place) in before.weights.items():
        assert torch.equal(value, after.weights[key][0]) and place == list(after.weights[key][1:]), key
    for part in ("trainable", "modes", "hooks", "kinds"):
        assert getattr(before, part) == getattr(after, part), part


# ------------------------------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize("name", NETWORKS)
def test_count_equals_torchinfo(name):
    import torchinfo

    model = NETWORKS[name]()
    found = torchinfo.summary(model, (1, 3, 32, 32), verbose=0)
    cost = measure.count(model, 32)
    assert cost.params == found.total_params
    # torchinfo counts a bias as one more multiplication a unit and a norm's two numbers a channel: taken off again
    extra = 0
    for row in found.summary_list:
        layer = row.module
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            extra += layer.out_channels * row.output_size[2] * row.output_size[3]
        if isinstance(layer, nn.Linear):
            extra += layer.out_features
        if isinstance(layer, nn.BatchNorm2d):
            extra += 2 * layer.num_features
    if "heads" not in name:  # torchinfo adds what forward does not run by another rule
        assert cost.macs == found.total_mult_adds - extra


def test_count_by_hand():
    """Rectangular kernel and picture, stride, groups, no bias, a linear layer: every factor is another number."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 2)),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, groups=4, bias=False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * 5 * 7, 6),
    )
    params = (3 * 8 * 15 + 8) + 16 + 12 * 2 * 9 + (420 * 6 + 6)
    macs = 8 * 10 * 14 * (3 * 15) + 12 * 10 * 14 * (2 * 9) + 420 * 6
    assert measure.count(model, (20, 14)) == measure.Cost(params, macs)


def test_a_layer_that_runs_twice_is_paid_twice_and_learnt_once():
    shared = nn.Conv2d(3, 3, 1, bias=False)
    assert measure.count(nn.Sequential(shared, nn.ReLU(), shared), 4) == measure.Cost(9, 2 * 9 * 16)


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_add_up(name):
    model = NETWORKS[name]()
    rows, cost = measure.stages(model, 32), measure.count(model, 32)
    heads = sum(p.numel() for p in getattr(model, "aux", nn.Module()).parameters())
    assert sum(row.params for row in rows) + heads == cost.params
    assert sum(row.macs for row in rows) == cost.macs
    assert [row.name for row in rows] == [*model.stages, "head"]
    assert ("heads" in name) == (heads > 0)


def test_stage_shapes_are_those_of_a_real_pass():
    model, shapes = GoogLeNet.laptop(norm="bn").eval(), {}
    x = torch.zeros(1, 3, 40, 33)
    for name, stage in model.stages.items():
        x = stage(x)
        shapes[name] = tuple(x.shape[1:])
    assert {r.name: r.shape for r in measure.stages(model, (40, 33))} == shapes | {"head": (10,)}


def test_stages_of_a_network_without_named_stages():
    rows = measure.stages(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)), 4)
    assert rows == [
        measure.Stage("0", (4, 2, 2), 112, 27 * 16),
        measure.Stage("1", (16,), 0, 0),
        measure.Stage("2", (2,), 34, 32),
    ]


def test_activation_volumes():
    volumes = measure.activation_volumes(GoogLeNet.laptop(), 32)
    assert volumes["conv1"] == 16 * 16 * 16 and volumes["3a"] == (16 + 32 + 8 + 8) * 16 * 16 and volumes["head"] == 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_counting_leaves_the_network_alone(dtype):
    model = GoogLeNet.laptop(norm="bn", aux=True).to(dtype)
    model.stages["3a"].eval().requires_grad_(False)
    seen = []
    model.stages["5a"].register_forward_hook(lambda *_: seen.append(1))
    before = state_of(model)
    measure.count(model, 32)
    measure.stages(model, 32)
    measure.activation_volumes(model, 32)
    measure.depth(model, 32)
    measure.receptive_field(model, "conv2", 64)
    assert_same_state(before, state_of(model))
    seen.clear()
    model.eval()(torch.zeros(1, 3, 32, 32, dtype=dtype))
    assert seen == [1]  # and it still runs, once


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_counts_do_not_depend_on_the_number_format(dtype):
    """With biases: a convolution without one lets a mixture pass where nothing is computed."""
    model = GoogLeNet.laptop()
    want = measure.count(model, 32), measure.depth(model, 32), measure.receptive_field(model, "conv2", 64)
    model.to(dtype)
    assert (measure.count(model, 32), measure.depth(model, 32), measure.receptive_field(model, "conv2", 64)) == want


def test_counting_draws_no_random_numbers():
    model, before = GoogLeNet.laptop(), torch.get_rng_state()
    measure.stages(model, 32)
    measure.depth(model, 32)
    measure.receptive_field(model, "conv1", 32)
    assert torch.equal(before, torch.get_rng_state())


def test_counting_runs_no_arithmetic():
    """40 million weights and a picture of 4096 x 4096 would take minutes and gigabytes."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 4096, 3), nn.Conv2d(4096, 1024, 3))
    start = time.perf_counter()
    assert measure.count(model, 4096).macs == 27 * 4096 * 4094**2 + 9 * 4096 * 1024 * 4092**2
    assert time.perf_counter() - start < 5


# ---------------------------------------------------------------------------------------------------------------- depth


def test_depth_is_the_longest_path():
    conv = layers.conv
    model = nn.Sequential(
        conv(3, 4, 1),
        layers.Concat(
            short=nn.MaxPool2d(3, 1, 1),
            long=nn.Sequential(
                conv(4, 4, 1), layers.Concat(a=conv(4, 2, 1), b=nn.Sequential(conv(4, 2, 3), conv(2, 2, 3)))
            ),
            middle=conv(4, 4, 3),
        ),
        nn.BatchNorm2d(12),
        nn.LocalResponseNorm(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(12, 5),
    )
    assert measure.depth(model, 8) == 1 + 3 + 1


@pytest.mark.parametrize(
    ("make", "size", "want"),
    [
        (lambda: nn.Sequential(nn.ReLU(), nn.Flatten()), 4, 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sigmoid(), nn.Conv2d(4, 4, 1)), 4, 2),
        (lambda: GoogLeNet(2, width=0.1), 64, 22),
        (lambda: GoogLeNet.laptop(), 32, 3 + 4 * 2 + 1),
        (lambda: NIN.laptop(), 32, 9),
        (lambda: Plain.laptop(), 32, 7),
        (lambda: InceptionResNetV1.laptop(scales=(0.0, 1e-30, 1e30)), 32, 5 + 4 + 3 + 4 + 3 + 4 + 1),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 8, bias=False), nn.Linear(8, 2)), 4, 2),
    ],
)
def test_depth_of_known_networks(make, size, want):
    assert measure.depth(make(), size) == want


# ------------------------------------------------------------------------------------------------------ receptive field


def test_receptive_field_of_googlenet():
    """By hand: r += (kernel - 1) x jump, then jump *= stride.

    conv1: 7, jump 2; pool1: 7 + 2 x 2 = 11, jump 4; conv2: 11 + 2 x 4 = 19; pool2: 19 + 2 x 4 = 27, jump 8; 3a: 27
    through its 1 x 1, 27 + 2 x 8 = 43 through its 3 x 3 and its pool, 27 + 4 x 8 = 59 through its 5 x 5.
    """
    model = GoogLeNet(2, width=0.1)
    assert measure.receptive_field(model, "conv1", 32) == (7, 7)
    assert measure.receptive_field(model, "pool1", 32) == (11, 11)
    assert measure.receptive_field(model, "conv2", 64) == (19, 19)
    assert measure.receptive_field(model, "pool2", 64) == (27, 27)
    by_branch = {}
    for name, branch in model.stages["3a"].branches.items():
        only = staged(
            **{k: v for k, v in model.stages.items() if k[0] not in "345" and k[:5] not in ("pool3", "pool4")},
            end=branch,
        )
        by_branch[name] = measure.receptive_field(only, "end", 160)
    assert by_branch == {"b1": (27, 27), "b3": (43, 43), "b5": (59, 59), "pool": (43, 43)}


@pytest.mark.parametrize("norm", ["lrn", "none", "bn"])
def test_a_stage_sees_as_far_as_its_widest_branch(norm):
    """Whichever channel is asked: a unit of a stage is the stage's, not its first branch's."""
    assert measure.receptive_field(GoogLeNet(2, width=0.1, norm=norm), "3a", 160) == (59, 59)


@pytest.mark.parametrize(
    ("stages", "want"),
    [
        ({"a": nn.Conv2d(3, 2, 3), "b": nn.Conv2d(2, 2, 3), "c": nn.Conv2d(2, 2, 3)}, (7, 7)),
        ({"a": nn.Conv2d(3, 2, (1, 7), padding=(0, 3)), "b": nn.Conv2d(2, 2, (7, 1), padding=(3, 0))}, (7, 7)),
        ({"a": nn.Conv2d(3, 2, (1, 7))}, (1, 7)),
        (
            {"a": nn.Conv2d(3, 2, 3, stride=2), "b": nn.MaxPool2d(3, 2, ceil_mode=True), "c": nn.Conv2d(2, 2, 5)},
            (23, 23),
        ),
        ({"a": nn.Conv2d(3, 2, 3, dilation=2)}, (5, 5)),
        ({"a": nn.Conv2d(3, 4, 5), "b": nn.LocalResponseNorm(3), "c": nn.BatchNorm2d(4), "d": nn.ReLU()}, (5, 5)),
        ({"a": nn.AvgPool2d(4, 4), "b": nn.Conv2d(3, 2, 3)}, (12, 12)),
        ({"a": nn.Conv2d(3, 4, 5), "b": nn.BatchNorm2d(4, affine=False), "c": nn.ReLU()}, (5, 5)),
        ({"a": nn.Conv2d(3, 4, 5), "b": nn.BatchNorm2d(4, track_running_stats=False), "c": nn.ReLU()}, (5, 5)),
    ],
)
def test_receptive_field_by_formula(stages, want):
    model = staged(**stages)
    nn.init.normal_(next(model.parameters()))  # negative weights, which would cancel
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for numbers in (layer.weight, layer.running_mean):
                nn.init.normal_(numbers) if numbers is not None else None
    assert measure.receptive_field(model, list(stages)[-1], 64) == want


def test_receptive_field_with_one_pool_in_two_places():
    pool = nn.MaxPool2d(3, 2)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), pool, nn.Conv2d(4, 4, 3), pool)
    assert measure.receptive_field(model, "3", 64) == (13, 13)


def test_receptive_field_says_what_it_cannot_do():
    model = GoogLeNet(2, width=0.1)
    with pytest.raises(ValueError, match="receptive field of 3a reaches the border of a 48 x 48 image: .* larger size"):
        measure.receptive_field(model, "3a", 48)
    with pytest.raises(ValueError, match="head puts out no grid of positions"):
        measure.receptive_field(model, "head", 64)
    with pytest.raises(ValueError, match="reaches the border"):
        measure.receptive_field(model, "5b", 64)
    with pytest.raises(ValueError, match="no stage '3c'; this network has conv1, .*5b, head"):
        measure.receptive_field(model, "3c", 64)


# ------------------------------------------------------------------------------------------------ seconds and gradients


def test_seconds_calls_and_times():
    calls = []

    def work():
        calls.append(1)
        time.sleep(0.005 if len(calls) > 2 else 0.1)  # the first two are slow, as first calls are

    found = measure.seconds(work, repeats=4, burn_in=2)
    assert len(calls) == 6
    assert 0.005 <= found.mean < 0.1 and 0 <= found.deviation < 0.1
    assert measure.seconds(lambda: None, repeats=1, burn_in=0).deviation == 0.0


def test_seconds_spread(monkeypatch):
    clock = iter([0, 1, 10, 13, 20, 25])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    found = measure.seconds(lambda: None, repeats=3, burn_in=1)
    assert (found.mean, found.deviation) == (3, 2)  # of 1, 3 and 5: the sample's deviation


@pytest.mark.parametrize("repeats", [0, -1, 2.0, True])
def test_seconds_want_a_call_to_time(repeats):
    with pytest.raises(ValueError, match=f"repeats is a whole number of at least 1, not {repeats!r}"):
        measure.seconds(lambda: pytest.fail("called before it is known how often"), repeats=repeats)


def test_a_device_may_be_torchs_own(monkeypatch):
    """As a name and as ``torch.device``, what is done is the same."""
    monkeypatch.setattr(measure.time, "perf_counter", itertools.count().__next__)
    net, cpu = nn.Sequential(nn.Conv2d(3, 4, 3)), torch.device("cpu")
    for take in (
        lambda device: measure.seconds(lambda: None, device=device),
        lambda device: measure.speed(net, 8, burn_in=0, batches=2, device=device),
        lambda device: measure.speed(net, 8, burn_in=0, batches=2, precision="bfloat16", backward=True, device=device),
        lambda device: measure.spent(net, 8, burn_in=0, batches=2, device=device),
        lambda device: measure.roofs(device, turns=1),
    ):
        assert take(cpu) == take("cpu")


def test_gradient_norms_by_hand():
    model = staged(a=nn.Conv2d(3, 2, 1), b=nn.ReLU(), c=nn.Conv2d(2, 2, 1), d=nn.Flatten())
    model.head = nn.Linear(3, 3)  # not run: it has no gradient
    x = torch.randn(5, 3, 4, 4)
    found = measure.gradient_norms(model, lambda m: m(x).square().mean())
    assert list(found) == ["a", "c"]
    model(x).square().mean().backward()
    for name in found:
        grad = model.stages[name].weight.grad
        assert found[name] == pytest.approx(float(grad.square().mean().sqrt()), rel=1e-5) and found[name] > 0


def test_gradient_norms_leave_no_gradient_and_no_change():
    model, x = GoogLeNet.laptop(aux=True), torch.randn(4, 3, 32, 32)
    F.cross_entropy(model(x), torch.arange(4)).backward()  # an earlier gradient must not be added in
    before = state_of(model)
    first = measure.gradient_norms(model.eval(), lambda m: F.cross_entropy(m(x), torch.arange(4)))
    again = measure.gradient_norms(model, lambda m: F.cross_entropy(m(x), torch.arange(4)))
    assert first == again and {"conv1", "3a", "4a", "4b", "5a", "head"} <= set(first) and "norm1" not in first
    assert all(p.grad is None for p in model.parameters())
    assert_same_state(before, state_of(model.train()))


def test_one_module_is_counted_with_the_channels_that_it_takes():
    module = Inception(192, 64, 96, 128, 16, 32, 32)
    assert measure.count(module, 28) == measure.Cost(163_696, 128_049_152)
    assert measure.count(module.branches["b5"], 28).macs == 28 * 28 * (192 * 16 + 25 * 16 * 32)


# ---------------------------------------------------------------------------------------------------------- calibration


def by_loops(logits, labels, bins):
    """Calibration example by example: (ece, nll, [(confidences, hits)] by bin)."""
    places, nll = [[] for _ in range(bins)], 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(v - max(row)) for v in row)
        probabilities = [math.exp(v - max(row)) / total for v in row]
        sure = max(probabilities)
        nll -= math.log(probabilities[label]) / len(labels)
        k = next(k for k in range(bins) if sure <= (k + 1) / bins or k == bins - 1)
        places[k].append((sure, float(probabilities.index(sure) == label)))
    error = 0.0
    for place in filter(None, places):
        error += abs(sum(sure - hit for sure, hit in place)) / len(labels)
    return error, nll, places


@pytest.mark.parametrize("bins", [1, 4, 15, 100])
@pytest.mark.parametrize("sharpness", [0.3, 2.0])
def test_calibration_is_what_loops_say(bins, sharpness):
    numbers = torch.Generator().manual_seed(bins)
    logits, labels = (
        sharpness * torch.randn(137, 5, generator=numbers),
        torch.randint(0, 5, (137,), generator=numbers),
    )
    found, (error, nll, places) = measure.calibration(logits, labels, bins), by_loops(logits, labels, bins)
    assert (found.ece, found.nll) == (pytest.approx(error, rel=1e-6), pytest.approx(nll, rel=1e-6))
    assert list(found.count) == [len(place) for place in places] and sum(found.count) == 137
    for confidence, accuracy, place in zip(found.confidence, found.accuracy, places, strict=True):
        if place:
            assert confidence == pytest.approx(sum(sure for sure, _ in place) / len(place))
            assert accuracy == pytest.approx(sum(hit for _, hit in place) / len(place))
        else:
            assert math.isnan(confidence) and math.isnan(accuracy)
    everything = [pair for place in places for pair in place]
    assert found.overconfidence == pytest.approx(sum(sure - hit for sure, hit in everything) / 137, abs=1e-9)
    assert abs(found.overconfidence) <= found.ece + 1e-12


def test_calibration_of_networks_that_are_easy_to_judge():
    labels = torch.tensor([0, 1, 2, 3])
    sure = measure.calibration(1e4 * F.one_hot(labels, 4).float(), labels)
    assert (sure.ece, sure.nll, sure.overconfidence) == (0, 0, 0) and sure.count == (0,) * 14 + (4,)
    wrong = measure.calibration(1e4 * F.one_hot(labels.roll(1), 4).float(), labels)
    assert (wrong.ece, wrong.nll, wrong.overconfidence) == (1, 1e4, 1)
    shy = torch.log(torch.tensor([[0.4, 0.2, 0.2, 0.2]])).repeat(4, 1)
    found = measure.calibration(shy, torch.zeros(4, dtype=torch.int64))
    assert (found.ece, found.overconfidence) == (pytest.approx(0.6), pytest.approx(-0.6)), "always right, 40 % sure"
    # errs both ways: the error counts each bin, the mean confidence does not see it
    both = torch.log(torch.tensor([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 4))
    found = measure.calibration(both, torch.tensor([0, 0, 1, 1, 0, 0, 0, 0]), 10)
    assert found.ece == pytest.approx(0.4) and found.overconfidence == pytest.approx(0.0, abs=1e-6)


def test_a_bin_holds_its_upper_end_and_not_its_lower():
    """One half is the end of the fifth of ten bins, three quarters that of the third of four."""
    even = torch.zeros(3, 2)
    assert measure.calibration(even, torch.tensor([0, 1, 1]), 10).count == (0, 0, 0, 0, 3, 0, 0, 0, 0, 0)
    assert measure.calibration(even, torch.tensor([0, 1, 1]), 2).count == (3, 0)
    assert measure.calibration(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), 3).count == (0, 0, 2)  # sure: 1.0


def test_calibration_does_not_hang_on_how_the_numbers_are_stored():
    numbers = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(64, 10, generator=numbers) * 3, torch.arange(64) % 10
    found = measure.calibration(logits, labels)
    assert found.ece == pytest.approx(measure.calibration(logits + 500.0, labels).ece, abs=1e-5)
    assert measure.calibration(logits.bfloat16(), labels).nll == pytest.approx(found.nll, rel=0.01)
    again = measure.calibration(logits.clone().requires_grad_(), labels.int())
    assert (again.ece, again.nll, again.count) == (found.ece, found.nll, found.count)
    assert measure.logit_gap(logits.clone().requires_grad_()) == measure.logit_gap(logits)


@pytest.mark.parametrize(
    "logits, labels, bins, said",
    [
        (torch.zeros(3), torch.zeros(3).long(), 15, r"not \(3,\)"),
        (torch.zeros(0, 10), torch.zeros(0).long(), 15, r"not \(0, 10\)"),
        (torch.zeros(3, 4), torch.zeros(2).long(), 15, r"labels are \(3,\) .* not \(2,\)"),
        (torch.zeros(3, 4), torch.zeros(3), 15, "torch.float32"),
        (torch.zeros(3, 4), torch.tensor([0, 4, 1]), 15, "0 to 3, but label 4"),
        (torch.zeros(3, 4), torch.tensor([0, -1, 1]), 15, "0 to 3, but label -1"),
        (torch.zeros(3, 4), torch.zeros(3).long(), 0, "bins .* not 0"),
        (torch.zeros(3, 4), torch.zeros(3).long(), 2.5, "bins .* not 2.5"),
        (torch.full((3, 4), math.nan), torch.zeros(3).long(), 15, "diverged"),
        (torch.full((3, 4), math.inf), torch.zeros(3).long(), 15, "diverged"),
    ],
)
def test_what_calibration_refuses(logits, labels, bins, said):
    with pytest.raises(ValueError, match=said):
        measure.calibration(logits, labels, bins)


def test_logit_gap_is_what_loops_say():
    logits = torch.randn(23, 6, generator=torch.Generator().manual_seed(1)) * 4
    total = 0.0
    for row in logits.tolist():
        top = row.index(max(row))
        total += row[top] - sum(value for k, value in enumerate(row) if k != top) / 5
    assert measure.logit_gap(logits) == pytest.approx(total / 23, rel=1e-6)
    assert measure.logit_gap(logits + 7) == pytest.approx(measure.logit_gap(logits), rel=1e-5)
    assert measure.logit_gap(torch.tensor([[3.0, 3.0], [0.0, 4.0]])) == 2.0  # a tie: one of them is the largest
    for wrong, said in ((torch.zeros(4, 1), "at least 2"), (torch.zeros(4), "not"), (logits * math.nan, "diverged")):
        with pytest.raises(ValueError, match=said):
            measure.logit_gap(wrong)


# --------------------------------------------------------------------------------------------------------------- memory


def test_memory_by_hand():
    """A ReLU in place and the layer behind it keep the same numbers, once; the picture is kept for the first layer."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 16, 10))
    found = measure.memory(model, 4, batch=2)
    learned = 4 * (3 * 8 * 9 + 8 + 8 * 16 * 10 + 10)
    assert (found.weights, found.gradients, found.optimizer) == (learned, learned, 2 * learned)
    assert found.activations == 4 * 2 * (3 * 16 + 8 * 16)
    assert found.total == 4 * learned + found.activations
    assert measure.memory(model, 4, batch=2, moments=1).optimizer == learned


@pytest.mark.parametrize(
    "make", [GoogLeNet.laptop, lambda: GoogLeNet.laptop(norm="bn"), InceptionV3.laptop, InceptionResNetV1.laptop]
)
def test_memory_is_what_a_real_step_keeps(make):
    """Counted on shapes alone; here with numbers: everything that autograd saved, by the place where it lies."""
    model = make().train()
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept = {}

    def note(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(torch.rand(8, 3, 32, 32))
    found = measure.memory(model, 32, batch=8)
    assert found.activations == sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert found.weights == sum(t.nbytes for t in [*model.parameters(), *model.buffers()])


def test_memory_wants_a_batch():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        measure.memory(nn.Conv2d(3, 4, 1), 8, batch=0)


# ----------------------------------------------------------------------------------------------- speed, spent and roofs


class Watched(nn.Module):
    """A network that notes how it is run. Copies share the notes."""

    notes: list = []

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        kind = "inference" if torch.is_inference_mode_enabled() else "gradients"
        last = x.is_contiguous(memory_format=torch.channels_last)
        weights_last = self.conv.weight.is_contiguous(memory_format=torch.channels_last)
        grad = None if self.conv.weight.grad is None else float(self.conv.weight.grad.norm())
        out = self.norm(self.conv(x))
        self.notes.append((tuple(x.shape), self.training, kind, last and weights_last, out.dtype, grad))
        return out.mean((2, 3))


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(Watched, "notes", [])
    return Watched()


def test_speed_runs_forward_as_a_server_does(watched):
    before = state_of(watched)
    found = measure.speed(watched, (6, 5), batch=3, burn_in=2, batches=4)
    assert watched.notes == [((3, 4, 6, 5), False, "inference", True, torch.float32, None)] * 6
    assert found.mean > 0 and found.deviation >= 0
    assert_same_state(before, state_of(watched))
    assert watched.training and watched.conv.weight.grad is None


def test_speed_runs_backward_as_training_does(watched):
    before = state_of(watched)
    measure.speed(watched, 5, batch=2, burn_in=1, batches=2, backward=True, channels_last=False)
    first, *later = watched.notes
    assert first == ((2, 4, 5, 5), True, "gradients", False, torch.float32, None)
    assert [note[:5] for note in later] == [first[:5]] * 2
    assert later[0][5] > 0 and later[1][5] == pytest.approx(later[0][5]), "no gradient came back, or they pile up"
    assert_same_state(before, state_of(watched))
    assert watched.conv.weight.grad is None, "the gradients are the copy's"


@pytest.mark.parametrize("backward", [False, True])
def test_speed_copies_a_large_linear_layer_only_to_train_it(backward):
    """VGG-16's three hold half a gigabyte; a forward pass changes nothing in them."""

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.seen = nn.Linear(3, 2), set()

        def __deepcopy__(self, memo):
            twin = Head()
            twin.linear, twin.seen = copy.deepcopy(self.linear, memo), self.seen
            return twin

        def forward(self, x):
            self.seen.add(self.linear.weight.data_ptr())
            return self.linear(x.mean((2, 3)))

    model = nn.Sequential(nn.Conv2d(3, 3, 1), Head())
    before = state_of(model)
    measure.speed(model, 4, burn_in=0, batches=1, backward=backward, device="cpu")
    assert (model[1].seen == {model[1].linear.weight.data_ptr()}) is not backward
    assert_same_state(before, state_of(model))
    assert all(weight.grad is None for weight in model.parameters())


def test_speed_in_bfloat16_and_on_pictures_of_yours(watched):
    images = torch.randn(5, 4, 7, 7)
    measure.speed(watched, images, burn_in=0, batches=1, precision="bfloat16")
    ((shape, _, _, _, dtype, _),) = watched.notes
    assert shape == (5, 4, 7, 7) and dtype == torch.bfloat16


def test_speed_is_for_one_image(monkeypatch, watched):
    asked = {}
    monkeypatch.setattr(measure, "seconds", lambda step, **how: (asked.update(how), measure.Seconds(8.0, 2.0))[1])
    assert measure.speed(watched, 5, batch=4) == measure.Seconds(2.0, 0.5)
    assert asked == {"repeats": 100, "burn_in": 10, "device": "cuda" if torch.cuda.is_available() else "cpu"}
    assert measure.speed(watched, torch.zeros(2, 4, 5, 5)) == measure.Seconds(4.0, 1.0)


def test_speed_tells_a_slow_network_from_a_quick_one():
    class Slow(nn.Identity):
        def forward(self, x):
            time.sleep(0.01)
            return x

    quick, slow = (measure.speed(net, 4, batch=2, burn_in=1, batches=3) for net in (nn.Identity(), Slow()))
    assert slow.mean >= 0.005 > quick.mean


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"batch": 0}, "batch is a whole number of at least 1, not 0"),
        ({"batches": 0}, "batches is a whole number of at least 1, not 0"),
        ({"burn_in": -1}, "burn_in is how many batches are not counted, not -1"),
        ({"precision": "float16"}, "precision is 'float32' or 'bfloat16', not 'float16'"),
    ],
)
def test_speed_refuses(changes, said):
    with pytest.raises(ValueError, match=said):
        measure.speed(nn.Conv2d(3, 3, 1), 4, **changes)
    if "batches" in changes:
        with pytest.raises(ValueError, match=said):
            measure.spent(nn.Conv2d(3, 3, 1), 4, **changes)


@pytest.mark.parametrize("name", ["V1", "V1 lrn, heads", "IR"])
def test_spent_adds_up_to_the_count_and_to_the_clock(name):
    model = InceptionResNetV1.laptop() if name == "IR" else NETWORKS[name]()
    rows = measure.spent(model, 32, batch=2, burn_in=1, batches=2)
    kinds = {row.kind: row for row in rows}
    assert sum(row.macs for row in rows) == measure.count(model, 32).macs
    assert [row.seconds for row in rows] == sorted((row.seconds for row in rows), reverse=True)
    assert all(row.seconds >= 0 and (row.macs == 0) == (" x " not in row.kind and row.kind != "linear") for row in rows)
    assert ("response norm" in kinds) == (name == "V1 lrn, heads") == ("batch norm" not in kinds)
    assert {"1 x 1", "3 x 3", "side by side", "ReLU", "linear", "pooling"} <= set(kinds)
    assert not any(layer._forward_hooks for layer in model.modules()), "the hooks are the copy's"


def test_spent_books_each_second_once(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Nap(nn.Module):
        def __init__(self, nap, inner=None):
            super().__init__()
            self.nap, self.inner = nap, inner

        def forward(self, x):
            now[0] += self.nap
            return self.inner(x) if self.inner else x

    class SlowPool(nn.MaxPool2d):
        def forward(self, x):
            now[0] += 8.0
            return super().forward(x)

    model = Nap(1.0, nn.Sequential(Nap(2.0), SlowPool(2), Nap(4.0)))
    found = {row.kind: row.seconds for row in measure.spent(model, 4, batches=3, burn_in=2)}
    assert found == {"pooling": 8.0, "other": 7.0}, "what lies inside was booked twice"


def test_spent_counts_what_is_moved():
    batch, c_in, c_out, side = 3, 8, 16, 5
    (row,) = measure.spent(nn.Conv2d(c_in, c_out, 1), side, batch=batch, batches=2)
    image = 4 * side * side * (c_in + c_out)
    assert row.kind == "1 x 1" and row.macs == c_in * c_out * side * side
    assert row.moved == image + 4 * (c_in * c_out + c_out) // batch
    fork = layers.Concat(a=nn.ReLU(), b=nn.ReLU())
    found = {row.kind: row for row in measure.spent(nn.Sequential(nn.Conv2d(3, 6, 1), fork), 4, batches=1)}
    numbers = 16 * 6
    assert found["ReLU"].moved == 4 * 4 * numbers, "two of them, each reads and writes"
    assert found["side by side"].moved == 4 * 2 * 2 * numbers, "reads both branches, writes both"
    assert found["other"].moved == 0


def test_spent_knows_kernels_by_their_sides():
    model = nn.Sequential(nn.Conv2d(3, 4, (1, 7)), nn.Conv2d(4, 4, (7, 1)), nn.Conv2d(4, 4, 2), nn.BatchNorm2d(4))
    assert {row.kind for row in measure.spent(model, 16, batches=1)} == {"1 x 7", "2 x 2", "batch norm", "other"}


def test_roofs_of_this_machine():
    found = measure.roofs(turns=2)
    assert 1e8 < found.macs < 1e15 and 1e8 < found.moved < 1e14


def test_agreement():
    wanted = torch.tensor([[1.0, -4.0], [2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    assert measure.agreement(wanted, wanted) == measure.Agreement(0.0, 1.0)
    changed = wanted.clone()
    changed[0, 1] += 0.5
    changed[2] = torch.tensor([0.9, 0.8])
    assert measure.agreement(changed, wanted) == measure.Agreement(pytest.approx(0.9 / 4), 0.75)
    with pytest.raises(ValueError, match=r"one shape, not \(4, 2\) and \(4, 3\)"):
        measure.agreement(wanted, torch.zeros(4, 3))
    with pytest.raises(ValueError, match="must be numbers"):
        measure.agreement(wanted / 0, wanted)
