"""`inception_lessons.look` shows what the network really computes, and leaves it as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from inception_lessons import look
from inception_lessons.baselines import NIN
from inception_lessons.googlenet import GoogLeNet

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model():
    """In training mode but for one frozen stage, with statistics that make the two modes differ."""
    torch.manual_seed(0)
    network = GoogLeNet.laptop(norm="bn")
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    network.train().stages["conv1"].eval()
    return network


@pytest.fixture
def unchanged(model):
    """After the test: no hook, no gradient, no other weight or statistic, every layer in the mode it was in."""
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    assert len(set(modes)) == 2
    yield
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


@torch.no_grad()
def by_hand(model, x) -> dict[str, torch.Tensor]:
    """Each stage's output in evaluation mode, by a loop, from a copy."""
    found = {}
    for name, stage in copy.deepcopy(model).eval().stages.items():
        x = found[name] = stage(x.clone())
    return found


# ---------------------------------------------------------------------------------------------------------- activations


def test_activations_are_those_of_a_forward_pass(model, images, unchanged):
    want = by_hand(model, images)
    found = look.activations(model, images)
    assert list(found) == list(model.stages)
    for name, value in found.items():
        assert torch.equal(value, want[name]) and not value.requires_grad
    some = look.activations(model, images, ["4a", "conv1"])
    assert list(some) == ["4a", "conv1"] and torch.equal(some["4a"], want["4a"])


def test_activations_survive_layers_that_work_in_place(images):
    """A stage that changes its input where it lies must not change what was recorded before it."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "relu": nn.ReLU(inplace=True)})

        def forward(self, x):
            return self.stages["relu"](self.stages["conv"](x))

    small = Small()
    found = look.activations(small, images)
    assert found["conv"].min() < 0
    assert torch.equal(found["conv"], small.stages["conv"](images)) and torch.equal(found["relu"], found["conv"].relu())


def test_unknown_stage(model, images, unchanged):
    with pytest.raises(ValueError, match="no stage 3b, 9z; this network has conv1, conv2_reduce, conv2, 3a, .*5a"):
        look.activations(model, images, ["3a", "3b", "9z"])


def test_nothing_stays_behind_when_the_pass_fails(model, unchanged):
    with pytest.raises(ValueError, match="N, 3, H, W"):
        look.activations(model, torch.zeros(2, 1, 32, 32))


# ------------------------------------------------------------------------------------------------------------- branches


def test_branches_are_the_parts_of_their_stage(model, images, unchanged):
    found = look.branches(model, images, "4a")
    want = by_hand(model, images)
    assert list(found) == ["b1", "b3", "b5", "pool"]
    assert torch.equal(torch.cat(list(found.values()), 1), want["4a"])
    frozen = model.stages["4a"].branches["b3"]
    modes = [m.training for m in frozen.modules()]
    with torch.no_grad():
        assert torch.equal(found["b3"], frozen.eval()(want["pool3"]))
    for module, mode in zip(frozen.modules(), modes, strict=True):
        module.training = mode


def test_stages_without_branches(model):
    assert look.branch_modules(model, "3a") is model.stages["3a"].branches
    for name in ("conv1", "3b"):
        with pytest.raises(ValueError, match=f"stage '{name}' has no branches; those that have are 3a, 4a, 4b, 5a"):
            look.branch_modules(model, name)
    with pytest.raises(ValueError, match="those that have are none"):
        look.branches(NIN.laptop(), torch.zeros(1, 3, 32, 32), "mlpconv1")


# ------------------------------------------------------------------------------------------------------------- ablation


def test_ablate_holds_the_branch_at_its_mean(model, images, unchanged):
    before, plain = look.branches(model, images, "4a"), by_hand(model, images)
    mean = before["b5"].mean(0, keepdim=True)
    assert (before["b5"] - mean).abs().max() > 0.1
    others = images[:4].flip(3) * 2  # other images than the mean was taken over, and fewer
    intact = look.branches(model, others, "4a")
    with look.ablate(model, "4a", "b5", images) as inside:
        assert inside is model
        during, after = look.branches(model, others, "4a"), look.activations(model, images)
    torch.testing.assert_close(during["b5"], mean.expand(4, -1, -1, -1))
    for name in ("b1", "b3", "pool"):
        assert torch.equal(during[name], intact[name])
    assert torch.equal(after["3a"], plain["3a"])  # nothing before it changes, all after it does
    assert not torch.equal(after["4a"], plain["4a"]) and not torch.equal(after["5a"], plain["5a"])
    again = look.activations(model, images)
    assert all(torch.equal(again[name], plain[name]) for name in plain)


def test_ablate_ends_with_the_block_even_if_it_raises(model, images, unchanged):
    plain = look.activations(model, images, ["5a"])["5a"]
    with pytest.raises(KeyboardInterrupt), look.ablate(model, "4a", "b3", images):
        assert not torch.equal(look.activations(model, images, ["5a"])["5a"], plain)
        raise KeyboardInterrupt
    assert torch.equal(look.activations(model, images, ["5a"])["5a"], plain)


def test_ablations_can_be_nested(model, images, unchanged):
    with look.ablate(model, "3a", "b1", images), look.ablate(model, "3a", "pool", images):
        both = look.branches(model, images, "3a")
    spread = {name: float(value.std(0).max()) for name, value in both.items()}
    assert spread["b1"] < 1e-6 and spread["pool"] < 1e-6 < spread["b3"]


def test_ablate_says_what_there_is(model, images, unchanged):
    with pytest.raises(ValueError, match="no branch 'b7' in 4a; it has b1, b3, b5, pool"):
        with look.ablate(model, "4a", "b7", images):
            pass
    with pytest.raises(ValueError, match="stage 'pool3' has no branches"):
        with look.ablate(model, "pool3", "b1", images):
            pass


@pytest.mark.parametrize("device", DEVICES)
def test_everything_runs_where_the_network_is(device, model, images):
    """Images are taken to the network's device, and what comes back lies in memory."""
    want = look.activations(model, images)
    model.to(device)
    found = look.activations(model, images)
    assert all(value.device.type == "cpu" for value in found.values())
    torch.testing.assert_close(found["5a"], want["5a"], rtol=1e-3, atol=1e-3)  # TF32 is off by default for matmul only
    with look.ablate(model, "4a", "b5", images):
        assert look.branches(model, images, "4a")["b5"].std(0).max() < 1e-6
        assert model.eval()(images.to(device)).device.type == device
    matrix, names = look.branch_correlation(model, images, "3a")
    assert matrix.shape == (len(names), len(names))


# ---------------------------------------------------------------------------------------------------------- correlation


def test_correlation_equals_numpys():
    torch.manual_seed(0)
    maps = torch.randn(5, 4, 3, 6)
    maps[:, 1] = 0.3 * maps[:, 0] - maps[:, 2] + 100  # a large mean must not cost digits
    found = look.correlation(maps)
    want = np.corrcoef(maps.permute(1, 0, 2, 3).reshape(4, -1).double().numpy())
    assert found.dtype == torch.float32 and found.shape == (4, 4)
    np.testing.assert_allclose(found.numpy(), want, atol=1e-6)
    assert abs(want[0, 1]) > 0.2


def test_dead_channels_correlate_with_nothing():
    torch.manual_seed(0)
    maps = torch.randn(5, 4, 3, 7)
    maps[:, 0], maps[:, 2] = 0.0, 0.1  # 0.1 has no exact form: its mean is off by rounding
    found = look.correlation(maps)
    assert not found[[0, 2]].any() and not found[:, [0, 2]].any()
    want = np.corrcoef(maps[:, [1, 3]].permute(1, 0, 2, 3).reshape(2, -1).double().numpy())
    np.testing.assert_allclose(found[[1, 3]][:, [1, 3]].numpy(), want, atol=1e-6)


def test_branch_correlation_is_in_order_of_the_branches(model, images, unchanged):
    matrix, names = look.branch_correlation(model, images, "3a")
    assert names == ["b1"] * 16 + ["b3"] * 32 + ["b5"] * 8 + ["pool"] * 8
    assert torch.equal(matrix, look.correlation(by_hand(model, images)["3a"]))


def test_within_and_across_by_hand():
    matrix = torch.tensor([[1.0, 0.5, 0.1, -0.3], [0.5, 1.0, 0.2, 0.4], [0.1, 0.2, 1.0, -0.9], [-0.3, 0.4, -0.9, 1.0]])
    within, across = look.within_and_across(matrix, ["a", "a", "b", "b"])
    assert within == pytest.approx((0.5 + 0.9) / 2)  # absolute, and without the diagonal
    assert across == pytest.approx((0.1 + 0.3 + 0.2 + 0.4) / 4)
    mixed = matrix[[0, 2, 1, 3]][:, [0, 2, 1, 3]]
    assert look.within_and_across(mixed, ["a", "b", "a", "b"]) == pytest.approx((within, across))


# -------------------------------------------------------------------------------------------------------------- filters


def test_filters_are_a_copy_of_the_first_convolutions(model, unchanged):
    found = look.filters(model)
    assert found.shape == (16, 3, 3, 3) and torch.equal(found, model.stages["conv1"].conv.weight)
    assert not found.requires_grad
    found.zero_()
    with pytest.raises(ValueError, match="no convolution to look at"):
        look.filters(nn.Linear(2, 2))


# ---------------------------------------------------------------------------------------------- pictures that matter


@pytest.mark.parametrize("branch", [None, "b5"])
def test_responses_are_means_over_the_grid(model, images, unchanged, branch):
    maps = look.branches(model, images, "4a")["b5"] if branch else by_hand(model, images)["4a"]
    found = look.responses(model, images, "4a", branch=branch, batch_size=4)
    torch.testing.assert_close(found, maps.mean((2, 3)))
    middle = look.responses(model, images, "4a", branch=branch, middle=True)
    torch.testing.assert_close(middle, maps[:, :, 4, 4])  # of a grid of 8
    assert maps.shape[2:] == (8, 8) and not found.requires_grad and (found - middle).abs().max() > 0.1


def test_responses_of_no_stage_are_the_logits(model, images, unchanged):
    with torch.no_grad():
        want = copy.deepcopy(model).eval()(images)
    torch.testing.assert_close(look.responses(model, images, None), want)


def test_strongest_is_the_order_of_the_responses(model, images, unchanged):
    want = look.responses(model, images, "3a")[:, 3]
    positions, answers = look.strongest(model, images, "3a", 3, count=4)
    assert positions.tolist() == np.argsort(-want.numpy(), kind="stable")[:4].tolist()
    assert torch.equal(answers, want[positions]) and answers[0] > answers[-1]
    assert len(look.strongest(model, images, None, 9)[0]) == len(images)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda m, x: look.responses(m, x, "9z"), "no stage 9z; this network has conv1"),
        (lambda m, x: look.responses(m, x, "3a", branch="b7"), "no branch 'b7' in 3a; it has b1, b3, b5, pool"),
        (lambda m, x: look.responses(m, x, None, branch="b1"), "stage None has no branches"),
        (lambda m, x: look.responses(m, x[:0], "3a"), "no images"),
        (lambda m, x: look.strongest(m, x, "3a", 64), "no channel 64: what is listened to has 64, from 0 to 63"),
        (lambda m, x: look.strongest(m, x, "3a", -1), "no channel -1"),
    ],
)
def test_what_there_is_not_is_said(model, images, unchanged, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(model, images)


def test_likeness_is_numpys_correlation_of_standardized_answers(model, images, unchanged):
    made = images[:2].flip(3) * 0.5
    found = look.likeness(model, "3a", images, made)
    known, other = (look.responses(model, x, "3a").double().numpy() for x in (images, made))
    alive = known.std(0) > 1e-6
    assert 0 < alive.sum() < len(alive), "here is a channel that is silent in all images"
    z = [((a - known.mean(0))[:, alive] / known.std(0, ddof=1)[alive]) for a in (known, other)]
    want = z[0] @ z[1].T / np.outer(*(np.linalg.norm(a, axis=1) for a in z))
    assert found.shape == (6, 2)
    np.testing.assert_allclose(found.numpy(), want, atol=1e-4)
    torch.testing.assert_close(look.likeness(model, None, images, images).diagonal(), torch.ones(6))
    with pytest.raises(ValueError, match="two real images or more, not 1"):
        look.likeness(model, "3a", images[:1], made)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_pairs_right_is_the_area_under_the_curve(share):
    """The same number as scipy's Mann-Whitney U over the pairs, ties half right."""
    from scipy.stats import mannwhitneyu

    random = torch.Generator().manual_seed(0)
    answers = torch.randn(50, generator=random)
    scores = (answers + torch.randn(50, generator=random)).round()  # with ties
    order, count = answers.argsort().numpy(), round(share * 50)
    strong, weak = scores.numpy()[order[-count:]], scores.numpy()[order[:count]]
    want = mannwhitneyu(strong, weak).statistic / count**2
    assert look.pairs_right(scores, answers, share) == pytest.approx(want) and want > 0.7
    assert look.pairs_right(-scores, answers, share) == pytest.approx(1 - want)


def test_pairs_right_at_its_ends():
    answers = torch.arange(20.0)
    assert look.pairs_right(answers**3, answers) == 1
    assert look.pairs_right(-answers, answers) == 0
    assert look.pairs_right(torch.ones(20), answers) == 0.5
    middle = answers.clone()
    middle[2:-2] = middle[2:-2].flip(0)  # what lies between the two groups does not count
    assert look.pairs_right(middle, answers) == 1
    for change, sentence in (
        ({"scores": torch.ones(19)}, r"not \(19,\) and \(20,\)"),
        ({"scores": torch.ones(20, 1)}, r"not \(20, 1\)"),
        ({"share": 0.01}, "a share of 0.01 of 20 pictures is 0: wanted 1 to 10"),
        ({"share": 0.6}, "is 12: wanted 1 to 10"),
    ):
        with pytest.raises(ValueError, match=sentence):
            look.pairs_right(**{"scores": answers, "answers": answers, **change})


# ------------------------------------------------------------------------------------------------------------ occlusion


class Linear(nn.Module):
    """Logits that are a weighted sum of pixels: what covering costs can be worked out."""

    def __init__(self, height, width, classes=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, 3, height, width))
        self.largest = 0

    def forward(self, x):
        assert not self.training
        self.largest = max(self.largest, len(x))
        return torch.einsum("nchw,kchw->nk", x, self.weight)


@pytest.mark.parametrize("height, width, patch, stride", [(12, 12, 4, 2), (9, 14, 3, 4), (7, 7, 7, 1), (10, 8, 1, 1)])
def test_occlusion_of_a_linear_network_is_a_sum_over_the_patch(height, width, patch, stride):
    torch.manual_seed(0)
    model, x, classes = Linear(height, width), torch.randn(4, 3, height, width), [2, 0, 1, 2]
    found = look.occlusion(model, x, classes, patch=patch, stride=stride, fill=0.25, of="logit", batch_size=7)
    part = (model.weight[classes] * (x - 0.25)).sum(1, keepdim=True)
    want = nn.functional.avg_pool2d(part, patch, 1)[:, 0] * patch**2  # at every place
    rows, columns = (look.places(side, patch, stride) for side in (height, width))
    torch.testing.assert_close(found, want[:, rows][:, :, columns].detach(), rtol=1e-4, atol=1e-4)
    assert found.std() > 0.1 and model.largest == min(7, 4 * len(rows) * len(columns)) and model.training


def test_occlusion_in_a_colour():
    torch.manual_seed(0)
    model, x, colour = Linear(8, 8), torch.randn(1, 3, 8, 8), torch.tensor([1.0, -0.5, 0.0])
    found = look.occlusion(model, x, [1], patch=8, fill=colour, of="logit")
    want = (model.weight[1] * (x[0] - colour.view(3, 1, 1))).sum()
    torch.testing.assert_close(found[0, 0, 0], want.detach(), rtol=1e-4, atol=1e-4)


def test_occlusion_of_a_probability(model, images, unchanged):
    before = images.clone()
    found = look.occlusion(model, images, torch.arange(6), patch=16, stride=8)
    assert found.shape == (6, 3, 3) and torch.equal(images, before)
    covered = images.clone()
    covered[:, :, 8:24, 16:32] = 0
    with torch.no_grad():
        whole, rest = (copy.deepcopy(model).eval()(x).softmax(1)[range(6), range(6)] for x in (images, covered))
    torch.testing.assert_close(found[:, 1, 2], whole - rest, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_occlusion_takes_labels_of_every_whole_kind(model, images, unchanged, dtype):
    found = look.occlusion(model, images, torch.arange(6, dtype=dtype), patch=16, stride=16)
    torch.testing.assert_close(found, look.occlusion(model, images, range(6), patch=16, stride=16), rtol=0, atol=0)


def test_places_lie_inside_and_in_the_middle():
    assert look.places(32, 8, 4) == [0, 4, 8, 12, 16, 20, 24]
    assert look.places(33, 8, 5) == look.places(34, 8, 5) == [0, 5, 10, 15, 20, 25]  # 0 and 1, 0 and 2 px are left
    for side, patch, stride in ((224, 50, 30), (17, 5, 7), (9, 9, 3)):
        found = look.places(side, patch, stride)
        before, after = found[0], side - patch - found[-1]
        assert 0 <= before <= after <= before + 1 and before + after < stride
        assert [b - a for a, b in zip(found, found[1:], strict=False)] == [stride] * (len(found) - 1)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"classes": [0, 1]}, r"N classes, not \(6, 3, 32, 32\) and \(2,\)"),
        ({"classes": [0, 1, 2, 3, 4, 10]}, "classes are 0 to 9, not 0 to 10"),
        ({"classes": [0, 1, 2, 3, 4, -1]}, "classes are 0 to 9, not -1 to 4"),
        ({"patch": 33}, "a patch of 33 px every 4 px does not fit into 32 px"),
        ({"patch": 0}, "a patch of 0 px"),
        ({"stride": 0}, "every 0 px"),
        ({"of": "loss"}, "probability.* or .*logit.*, not 'loss'"),
        ({"images": torch.zeros(0, 3, 32, 32), "classes": []}, r"\(0, 3, 32, 32\)"),
    ],
)
def test_occlusion_says_what_it_wanted(model, images, unchanged, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        look.occlusion(**{"model": model, "images": images, "classes": [0] * 6, **change})


# -------------------------------------------------------------------------------------------------------- visualization


def to_network(pictures):
    return 2 * pictures - 1


class Known(nn.Module):
    """One stage whose best pictures are known: channel 0 wants red and no green, 1 a fine vertical grid, 2 light."""

    def __init__(self):
        super().__init__()
        conv = nn.Conv2d(3, 3, (1, 3), padding=(0, 1), bias=False)
        nn.init.zeros_(conv.weight)
        conv.weight.data[0, :2, 0, 1] = torch.tensor([1.0, -1.0])
        conv.weight.data[1, :, 0] = torch.tensor([-1.0, 2.0, -1.0])
        conv.weight.data[2, :, 0] = 1.0
        self.stages = nn.ModuleDict({"conv": conv, "relu": nn.ReLU()})

    def forward(self, x):
        return self.stages["relu"](self.stages["conv"](x)).mean((2, 3))


@pytest.mark.parametrize("basis, least, most", [("fourier", 0.6, 0.15), ("pixels", 0.9, 0.1)])
def test_a_picture_comes_near_the_best_there_is(basis, least, most):
    known, options = Known(), {"normalize": to_network, "size": 16, "shake": 0.0, "rate": 0.2}
    pictures = look.visualize(known, "relu", [0, 1], basis=basis, leak=200, steps=200, **options)
    assert pictures.shape == (2, 3, 16, 16) and not pictures.requires_grad
    assert 0 <= pictures.min() and pictures.max() <= 1
    red, green, _ = pictures[0].mean((1, 2)).tolist()
    assert red > least and green < most
    answers = look.responses(known, to_network(pictures), "relu")
    assert answers[0, 0] > 2 * (least - most)
    assert answers[1, 1] > 0.6 * 6, "white and black columns in turn: 12 at every other place; rows may be out of step"


def test_the_middle_asks_for_no_more_than_it_sees():
    known, options = Known(), {"normalize": to_network, "basis": "pixels", "size": 9, "shake": 0.0}
    start, end = (look.visualize(known, "conv", 2, objective="neuron", steps=n, **options)[0] for n in (0, 60))
    changed = (end - start).abs().amax(0) > 1e-6
    want = torch.zeros(9, 9, dtype=torch.bool)
    want[4, 3:6] = True  # a kernel of 1 x 3 around the middle
    assert torch.equal(changed, want) and (end[:, 4, 3:6] > 0.7).all()


def test_a_class_and_a_direction():
    known, options = Known(), {"normalize": to_network, "size": 8, "steps": 80, "shake": 0.0}
    by_class = look.visualize(known, None, 0, objective="class", **options)
    by_channel = look.visualize(known, "relu", 0, **options)
    by_direction = look.visualize(known, "relu", torch.tensor([1.0, 0.0, 0.0]), **options)
    torch.testing.assert_close(by_class, by_channel)
    torch.testing.assert_close(by_direction, by_channel)
    both = look.visualize(known, "conv", torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), **options)
    assert both.shape[0] == 2 and both[0, 0].mean() > 0.75 and both[1, 0].mean() < 0.2, "against a direction: no red"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("objective", ["channel", "neuron", "class"])
def test_a_network_is_driven_further_and_left_alone(device, objective, model, images, unchanged):
    model.to(device)
    model.stages["conv1"][0].weight.requires_grad_(False)
    where = {"stage": None} if objective == "class" else {"stage": "4a", "branch": "b5"}
    options = {"channel": [1, 2], "normalize": to_network, "objective": objective, **where}
    random = torch.get_rng_state()
    with torch.no_grad():  # as a learner's cell may be
        start, end = (look.visualize(model, steps=n, **options) for n in (0, 40))
    assert torch.equal(torch.get_rng_state(), random) and end.device.type == "cpu"
    grads = [p.requires_grad for p in model.parameters()]
    assert grads.count(False) == 1
    middle = objective == "neuron"
    before, after = (look.responses(model, to_network(x), middle=middle, **where)[[0, 1], [1, 2]] for x in (start, end))
    assert (after > before + (0.02 if objective == "class" else 0.3)).all()  # logits begin near 0
    model.cpu()


def test_the_same_seed_gives_the_same_picture_alone_or_with_others(model, unchanged):
    options = {"normalize": to_network, "steps": 12}
    one, again = (look.visualize(model, "4a", [3, 5], **options) for _ in range(2))
    assert torch.equal(one, again)
    alone = look.visualize(model, "4a", 5, **options)
    assert (alone[0] - one[1]).abs().mean() < 0.01  # rounding differs with the size of a batch, and steps add it up
    other = look.visualize(model, "4a", 5, seed=1, **options)
    assert (other - alone).abs().mean() > 0.02
    assert look.visualize(model, "4a", 5, size=48, **options).shape == (1, 3, 48, 48)
    odd = look.visualize(model, "4a", 5, size=33, **options)
    assert odd.shape == (1, 3, 33, 33)


def test_fourier_noise_has_the_spectrum_and_the_colours_that_are_said():
    paint = look._fourier(32, torch.Generator())[1]
    code = torch.randn(400, 3, 32, 17, 2, generator=torch.Generator().manual_seed(0))
    planes = torch.einsum("rc,krhw->kchw", torch.tensor(look.COLOURS), torch.logit(paint(0.02 * code).double()).float())
    loud = torch.fft.fft2(planes).abs().pow(2).mean(0).sqrt()
    assert loud[0, 0, 2] / loud[0, 0, 8] == pytest.approx(4, rel=0.15)  # 1 / frequency
    assert loud[0, 3, 0] / loud[0, 12, 0] == pytest.approx(4, rel=0.15)
    spread = planes.transpose(0, 1).flatten(1).std(1)
    assert (spread / spread[0]).tolist() == pytest.approx(look.SPREAD, rel=0.1)
    colours = torch.tensor(look.COLOURS)
    torch.testing.assert_close(colours @ colours.T, torch.eye(3))


def test_spread_is_that_of_the_training_pictures():
    from inception_lessons import data

    some = data.digits_in_the_wild().train.take(1000).images.clamp(0.02, 0.98)
    planes = torch.einsum("rc,krhw->kchw", torch.tensor(look.COLOURS), some)
    spread = planes.transpose(0, 1).flatten(1).std(1)
    assert (spread / spread[0]).tolist() == pytest.approx(look.SPREAD, rel=0.1)


def test_shaking_turns_resizes_and_shifts_a_little():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 65), torch.linspace(-1, 1, 65), indexing="ij")
    ramp = torch.stack([x, y, torch.ones_like(x)])[None].repeat(2, 1, 1, 1)
    random, seen = torch.Generator().manual_seed(0), []
    for _ in range(60):
        moved = look._shaken(ramp, 1.0, random)
        assert torch.equal(moved[0], moved[1]), "all pictures alike"
        middle = moved[0, :, 27:38, 27:38]
        slope = [float((middle[k].diff(dim=d) * 32).mean()) for k, d in ((0, 1), (0, 0), (1, 1), (1, 0))]
        scale = (slope[0] * slope[3] - slope[1] * slope[2]) ** -0.5
        angle = np.degrees(np.arctan2(slope[2], slope[3]))
        seen.append([scale, angle, float(middle[0].mean()), float(middle[1].mean())])
    low, high = np.min(seen, 0), np.max(seen, 0)
    limits = np.array([1.1, 8, 0.25, 0.25])
    assert (high <= limits + 0.02).all() and (low >= [0.88, -8.02, -0.27, -0.27]).all()
    assert (high > 0.8 * limits).all() and (low < [0.95, -6, -0.2, -0.2]).all()
    assert look._shaken(ramp, 0.0, random) is ramp


def test_a_silent_start_is_said_and_leaking_wakes_it(model, unchanged):
    """A ReLU that is shut everywhere has no gradient: without help the picture would stay as it was."""
    options = {"normalize": to_network, "branch": "b1", "objective": "neuron", "shake": 0.0}
    start = look.visualize(model, "4a", 0, steps=0, **options)
    answers = look.responses(model, to_network(start), "4a", branch="b1", middle=True)[0]
    silent = (answers == 0).nonzero().flatten()[::6].tolist()
    assert len(silent) >= 3
    for channel in silent:
        with pytest.raises(ValueError, match="silent at the start"):
            look.visualize(model, "4a", channel, leak=0, steps=1, **options)
    awake = look.visualize(model, "4a", silent, leak=60, steps=60, **options)
    answers = look.responses(model, to_network(awake), "4a", branch="b1", middle=True)
    assert (answers[range(len(silent)), silent] > 0).all()


def test_leaking_changes_gradients_and_no_number():
    before = torch.tensor([[-2.0, 3.0, -0.5]], requires_grad=True)
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    with look._leaking(net, True):
        out = net(before * 1)
    assert torch.equal(out, before.relu())
    assert torch.autograd.grad(out.sum(), before)[0].tolist() == [[pytest.approx(0.1), 1.0, pytest.approx(0.1)]]
    assert not net[1]._forward_hooks and not net[1]._forward_pre_hooks


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"stage": "9z"}, "no stage 9z"),
        ({"branch": "b7"}, "no branch 'b7' in 4a"),
        ({"channel": 128}, "no channel 128: what is listened to has 128"),
        ({"channel": [0, -1]}, "no channel -1"),
        ({"channel": []}, "channel is a number, some numbers or directions"),
        ({"channel": torch.zeros(2, 2, 2)}, r"not of shape \(2, 2, 2\)"),
        ({"channel": torch.ones(5)}, "a direction has 128 numbers here, one a channel, not 5"),
        ({"objective": "dream"}, "objective must be one of channel, neuron, class, not 'dream'"),
        ({"objective": "class"}, r"a class is asked of the whole network \(stage None\)"),
        ({"stage": None}, r"a class is asked of the whole network \(stage None\), all else of a stage, not None"),
        ({"basis": "wavelet"}, "basis must be one of fourier, pixels"),
        ({"steps": -1}, "at least 0 steps"),
        ({"size": 1}, "a side of 2 px"),
    ],
)
def test_visualize_says_what_it_wanted(model, unchanged, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        look.visualize(**{"model": model, "stage": "4a", "channel": 0, "normalize": to_network, "steps": 2, **change})
