"""Our GoogLeNet against torchvision's under copied weights, and its parts against their formulas written out."""

import os
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import measure, weights
from inception_lessons.googlenet import NAMES, GoogLeNet

CLASSES = 11
_kept = []  # torch forgets an operator's schema when its Library is collected


@pytest.fixture(scope="module")
def torchvision():
    """torchvision, if need be beside a torch that its compiled part was not built for: that part is not used here."""
    try:
        try:
            import torchvision
        except RuntimeError:  # operator torchvision::nms does not exist
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept.append(library)
            import torchvision
    except (ImportError, RuntimeError) as error:
        reason = f"torchvision (extra: parity) cannot be imported: {error}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return torchvision


@pytest.fixture(scope="module")
def theirs(torchvision):
    """Their network with random weights of He's size and random batch-norm statistics, in float64.

    With their small default start, or fresh statistics, the logits would hardly depend on the image, and a comparison
    would prove nothing.
    """
    torch.manual_seed(0)
    model = torchvision.models.googlenet(
        num_classes=CLASSES, aux_logits=True, init_weights=False, transform_input=False, dropout=0.0, dropout_aux=0.0
    ).double()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.8, 1.2)
            nn.init.normal_(layer.bias, std=0.2)
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return model.eval()


def ours(state=None, dtype=torch.float64) -> GoogLeNet:
    """Our network in torchvision's form, with its weights where a state dict is given."""
    settings = {"norm": "bn", "kernel5": 3, "pool4": 2, "aux_pool": "adaptive", "aux": True}
    model = GoogLeNet(CLASSES, **settings, dropout=0.0, aux_dropout=0.0).to(dtype)
    return (model if state is None else weights.load_reference(model, state)).eval()


@torch.no_grad()
def outputs_of_theirs(model, x):
    """Logits by our names: in evaluation mode theirs leaves the auxiliary classifiers out."""
    fed = {}
    handles = [
        stage.register_forward_hook(lambda layer, inputs, out, head=head: fed.update({head: out}))
        for head, stage in (("4a", model.inception4a), ("4d", model.inception4d))
    ]
    logits = model(x)
    for handle in handles:
        handle.remove()
    return {"main": logits, "4a": model.aux1(fed["4a"]), "4d": model.aux2(fed["4d"])}


@torch.no_grad()
def outputs_of_ours(model, x):
    logits, aux = model.forward_with_aux(x)
    return {"main": logits, **aux}


def difference(ours: dict, theirs: dict) -> float:
    """Largest absolute difference over largest absolute value, the worst of the outputs."""
    assert set(ours) == set(theirs)
    return max(float((ours[k] - theirs[k]).abs().max() / theirs[k].abs().max()) for k in ours)


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-10)], ids=["float32", "float64"]
)
@pytest.mark.parametrize(("batch", "size"), [(2, 224), (1, 231)])
def test_logits_equal_torchvisions(theirs, dtype, bound, batch, size):
    model = ours(theirs.state_dict(), dtype)
    torch.manual_seed(1)
    x = torch.randn(batch, 3, size, size, dtype=torch.float64)
    want = outputs_of_theirs(theirs, x)
    assert difference(outputs_of_ours(model, x.to(dtype)), want) < bound
    if batch > 1:  # the images do matter
        assert min(float((out[0] - out[1]).abs().max() / out.abs().max()) for out in want.values()) > 0.01


def test_training_mode_equals_torchvisions(theirs):
    """Batch statistics, gradients at the input and the running statistics after the step."""
    theirs_too = type(theirs)(CLASSES, init_weights=False, dropout=0.0, dropout_aux=0.0).double()
    theirs_too.load_state_dict(theirs.state_dict())
    model = ours(theirs.state_dict()).train()
    torch.manual_seed(2)
    images = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    results = []
    for network in (theirs_too.train(), model):
        x = images.clone().requires_grad_()
        if network is model:
            logits, aux = network.forward_with_aux(x)
            found = {"main": logits, **aux}
        else:
            found = dict(zip(("main", "4d", "4a"), network(x), strict=True))  # their order: logits, aux2, aux1
        sum(F.cross_entropy(out, torch.tensor([3, 7])) for out in found.values()).backward()
        results.append({**{k: v.detach() for k, v in found.items()}, "gradient": x.grad})
    assert difference(results[1], results[0]) < 1e-9
    assert results[0]["gradient"].abs().max() > 1e-4
    after, before = theirs_too.state_dict(), theirs.state_dict()
    again = ours(after).state_dict()
    moved = [key for key in again if key.endswith("running_mean")]
    assert moved and not torch.equal(after["conv1.bn.running_mean"], before["conv1.bn.running_mean"])
    for key in [*moved, *(key.replace("mean", "var") for key in moved)]:
        torch.testing.assert_close(model.state_dict()[key], again[key], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "seen_by"),
    [
        ("inception3b.branch1.conv.weight", "inception3b.branch2.0.conv.weight", {"main", "4a", "4d"}),
        ("inception4c.branch1.conv.weight", "inception4c.branch2.0.conv.weight", {"main", "4d"}),
        ("inception5a.branch3.1.bn.running_mean", "inception5a.branch4.1.bn.running_mean", {"main"}),
        ("inception4b.branch3.1.bn.running_var", "inception4b.branch4.1.bn.running_var", {"main", "4d"}),
        ("aux1.fc1.weight", "aux2.fc1.weight", {"4a", "4d"}),
    ],
)
def test_two_swapped_layers_are_noticed(theirs, one, other, seen_by):
    """Shapes would not tell: the comparison of outputs must, and exactly where the layers lie."""
    state = dict(theirs.state_dict())
    assert state[one].shape == state[other].shape
    state[one], state[other] = state[other], state[one]
    torch.manual_seed(1)
    x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    got, want = outputs_of_ours(ours(state), x), outputs_of_theirs(theirs, x)
    assert {k for k in want if difference({k: got[k]}, {k: want[k]}) > 1e-3} == seen_by
    assert all(difference({k: got[k]}, {k: want[k]}) < 1e-10 for k in set(want) - seen_by)


def test_names_lead_to_torchvisions_stages(theirs):
    """Each stage hands on the same under both names."""
    model, x, seen = ours(theirs.state_dict()), torch.randn(1, 3, 64, 64, dtype=torch.float64), {}
    handles = [
        theirs.get_submodule(name).register_forward_hook(
            lambda layer, inputs, out, stage=stage: seen.update({stage: out})
        )
        for stage, (_, name) in NAMES.items()
    ]
    with torch.no_grad():
        theirs(x)
        for handle in handles:
            handle.remove()
        for stage, module in model.stages.items():
            x = module(x)
            if stage in NAMES:
                torch.testing.assert_close(x, seen[stage], rtol=1e-10, atol=1e-10)
    assert set(seen) == set(NAMES)


def test_counts_equal_torchvisions(torchvision):
    with torch.device("meta"):
        with_heads = torchvision.models.googlenet(aux_logits=True, init_weights=False)
        without = torchvision.models.googlenet(aux_logits=False, init_weights=False)
    assert sum(p.numel() for p in with_heads.parameters()) == 13_004_888
    assert measure.count(without, 224) == measure.Cost(6_624_904, 1_498_376_192)


# -------------------------------------------------------------------------------------------- parts, against arithmetic


def test_response_normalization_is_the_papers_formula():
    """AlexNet's section 3.3, with Caffe's alpha / 5, by loops: five neighbouring channels, cut off at the ends."""
    layer = GoogLeNet.laptop().stages["norm1"]
    torch.manual_seed(0)
    x = torch.randn(2, 7, 2, 3, dtype=torch.float64) * 200  # large, so that alpha = 1e-4 is felt
    want = torch.empty_like(x)
    for n in range(2):
        for c in range(7):
            for i in range(2):
                for j in range(3):
                    squares = sum(float(x[n, k, i, j]) ** 2 for k in range(max(0, c - 2), min(7, c + 3)))
                    want[n, c, i, j] = float(x[n, c, i, j]) / (1.0 + 1e-4 / 5 * squares) ** 0.75
    torch.testing.assert_close(layer(x), want, rtol=1e-12, atol=0)
    assert (want / x).max() < 0.99 and (want / x).min() < 0.5


def test_pools_round_up():
    """112 -> 56 -> 28 -> 14 -> 7: windows that stick out on the right and below, as TensorFlow's SAME has them."""
    model, torch_pool = GoogLeNet(2, width=0.1), nn.MaxPool2d(3, 2)
    side = 112
    for name in ("pool1", "pool2", "pool3", "pool4"):
        x = torch.randn(1, 2, side, side)
        out = model.stages[name](x)
        assert torch.equal(out, torch_pool(F.pad(x, (0, 1, 0, 1), value=-torch.inf)))
        assert torch_pool(x).shape[-1] == side // 2 - 1  # what rounding down would leave
        side = out.shape[-1]
    assert side == 7
    x = torch.randn(1, 2, 14, 14)
    assert torch.equal(GoogLeNet(2, width=0.1, pool4=2).stages["pool4"](x), F.max_pool2d(x, 2, 2))


def test_batch_norm_unit_is_the_formula():
    """Inference of batch normalization, arXiv:1502.03167 algorithm 2, step 11, with random statistics."""
    from inception_lessons.layers import conv_bn

    torch.manual_seed(0)
    unit = conv_bn(3, 4, 3).double().eval()
    norm = unit.norm
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    y = F.conv2d(x, unit.conv.weight, padding=1)
    gamma, beta, mean, var = (t[:, None, None] for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var))
    torch.testing.assert_close(unit(x), (gamma * (y - mean) / (var + 1e-3).sqrt() + beta).clamp(min=0))
