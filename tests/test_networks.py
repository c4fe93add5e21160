"""All networks alike at laptop size: gradients, learning, scope, width, blocks, folding, sizes, wrong arguments; then
what one network alone has. Their tables are in test_tables.py.
"""

import dataclasses
import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import layers, measure
from inception_lessons.baselines import NIN, VGG16, AlexNet, Plain, dense_head
from inception_lessons.bn_inception import BNInception, Reduction
from inception_lessons.googlenet import AuxiliaryClassifier, GoogLeNet, Inception, NaiveInception
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2, Residual
from inception_lessons.inception_v3 import AuxiliaryClassifier as ConvolvedClassifier
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4

NETWORKS = (
    AlexNet,
    VGG16,
    NIN,
    Plain,
    GoogLeNet,
    BNInception,
    InceptionV3,
    InceptionV4,
    InceptionResNetV1,
    InceptionResNetV2,
)
#: Every network in the forms that differ in more than a number, each with its auxiliary heads: changes to its laptop
#: form, and the Adam steps and learning rate with which it memorizes eight images (about twice what it needs).
FORMS = {
    "AlexNet": (AlexNet, {}, 40, 1e-3),
    "AlexNet torchvision": (AlexNet, {"variant": "torchvision"}, 30, 1e-3),
    "VGG": (VGG16, {}, 50, 3e-4),
    "VGG bn": (VGG16, {"norm": "bn"}, 15, 1e-3),
    "NIN": (NIN, {}, 110, 3e-3),
    "NIN bn": (NIN, {"norm": "bn"}, 50, 1e-2),
    "Plain": (Plain, {}, 20, 1e-2),
    "Plain none": (Plain, {"norm": "none"}, 50, 3e-3),
    "V1": (GoogLeNet, {"aux": True}, 40, 3e-3),
    "V1 none": (GoogLeNet, {"aux": True, "norm": "none"}, 40, 3e-3),
    "V1 bn": (GoogLeNet, {"aux": True, "norm": "bn"}, 15, 1e-2),
    "V2": (BNInception, {}, 15, 1e-2),
    "V2 slim": (BNInception, {"believe": "sizes", "first": "slim"}, 15, 1e-2),
    "V3": (InceptionV3, {"aux": True}, 10, 1e-2),
    "V4": (InceptionV4, {"aux": True}, 15, 1e-2),
    "R1": (InceptionResNetV1, {"aux": True}, 15, 1e-2),
    "R1 facenet": (InceptionResNetV1, {"variant": "facenet"}, 10, 1e-2),
    "R2": (InceptionResNetV2, {"aux": True}, 15, 1e-2),
    "R2 slim": (InceptionResNetV2, {"aux": True, "variant": "slim"}, 15, 1e-2),
}
NORMALIZED = [label for label in FORMS if label[0] in "VR" and label[1] in "1234" and label not in ("V1", "V1 none")]
NORMALIZED += ["VGG bn", "NIN bn", "Plain"]


def laptop(label: str, **changes) -> layers.Network:
    kind, settings, *_ = FORMS[label]
    return kind.laptop(**settings | changes)


def meta(make, *args, **kwargs):
    """A network without numbers: enough to count."""
    with torch.device("meta"):
        return make(*args, **kwargs)


def stems(label: str) -> list[dict]:
    return [{}] if label.startswith("Plain") else [{"stem": "small"}, {"stem": "full"}]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """So small a network gains nothing from a second thread, and loses much where another process has it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_network_is_here():
    """A class that a new file adds must join the list above."""
    assert set(NETWORKS) == {kind for kind, *_ in FORMS.values()}
    assert {kind for kind in subclasses(layers.Network) if not kind.__name__.startswith("_")} == set(NETWORKS)


def subclasses(kind: type) -> set[type]:
    """All of the course's. Tests may define others, and so may an experiment: those have its claim's tests."""
    found = {each for direct in kind.__subclasses__() for each in {direct, *subclasses(direct)}}
    package = {each for each in found if each.__module__.startswith("inception_lessons.")}
    return {each for each in package if not each.__module__.startswith("inception_lessons.experiments.")}


# ------------------------------------------------------------------------------------------------- forward and gradient


@pytest.mark.parametrize("label", FORMS)
def test_gradient_reaches_every_parameter(label):
    torch.manual_seed(0)
    model, x, labels = laptop(label, dropout=0.0), torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    logits, aux = model.forward_with_aux(x)
    assert set(aux) == set(model.aux) and bool(aux) == ("aux" in FORMS[label][1])
    sum(F.cross_entropy(each, labels) for each in (logits, *aux.values())).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("label", FORMS)
def test_first_loss_is_that_of_a_guess(label):
    """As many labels of each class, and no dropout: what is left above ln 10 is half the variance of the logits."""
    for seed in range(2):
        torch.manual_seed(seed)
        model, x, labels = laptop(label).eval(), torch.randn(20, 3, 32, 32), torch.arange(20) % 10
        with torch.no_grad():
            logits, aux = model.forward_with_aux(x)
        for each in (logits, *aux.values()):
            assert F.cross_entropy(each, labels).item() == pytest.approx(math.log(10), abs=0.2)
            assert each.std(0).max() > 1e-4  # and it does look at its input


@pytest.mark.parametrize("label", FORMS)
def test_forward_gives_logits_in_both_modes(label):
    torch.manual_seed(0)
    model, x = laptop(label), torch.randn(4, 3, 32, 32)
    assert model.train()(x).shape == (4, 10)
    model.eval()
    with torch.no_grad():
        logits, aux = model.forward_with_aux(x)
        assert torch.equal(model(x), logits)
        assert all(torch.equal(model(x), logits) for _ in range(2))  # and nothing was changed on the way
    outputs = [logits, *aux.values()]
    assert all(each.shape == (4, 10) for each in outputs)
    for i, one in enumerate(outputs):
        assert not any(torch.allclose(one, other, atol=1e-4) for other in outputs[:i])


@pytest.mark.parametrize("label", FORMS)
def test_images_are_not_written_over(label):
    """Activations in place must stop at the input."""
    torch.manual_seed(0)
    model, x = laptop(label), torch.randn(2, 3, 32, 32)
    kept = x.clone()
    model(x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("label", FORMS)
def test_same_seed_same_network(label):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in laptop(label).parameters()])

    first = weights(3)
    assert torch.equal(first, weights(3)) and not torch.equal(first, weights(4))


@pytest.mark.parametrize("label", FORMS)
def test_odd_sizes_and_a_batch_of_one(label):
    for stem in stems(label):
        torch.manual_seed(0)
        model = laptop(label, **stem).eval()
        side = max(model.smallest, 8)
        for size in ((side + 1, side + 14), (side + 9, side)):
            x = torch.randn(3, 3, *size)
            with torch.no_grad():
                together = model(x)
                assert together.shape == (3, 10) and together.isfinite().all()
                torch.testing.assert_close(model(x[1:2]), together[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("label", FORMS)
def test_every_size_from_the_smallest_on(label):
    """Branches that halve the grid by padding and by not padding part ways on odd grids, so sizes of each remainder."""
    for stem in stems(label):
        model = meta(laptop, label, **stem).eval()
        for more in (0, 1, 2, 4, 8, 16, 31):
            size = (model.smallest + more, model.smallest + 2 * more)
            assert model(torch.zeros(1, 3, *size, device="meta")).shape == (1, 10), (stem, size)


@pytest.mark.parametrize("label", FORMS)
def test_smallest_is_where_the_pools_end(label):
    """One pixel less is refused in a sentence, and would indeed not have run."""
    for stem in stems(label):
        model = meta(laptop, label, **stem).eval()
        smallest = model.smallest
        assert model(torch.zeros(1, 3, smallest, smallest, device="meta")).shape == (1, 10)
        if smallest == 1:
            continue
        less = torch.zeros(1, 3, 100, smallest - 1, device="meta")
        for forward in (model.forward, model.forward_with_aux):
            sentence = rf"at least {smallest} x {smallest} pixels, not \(100, {smallest - 1}\)"
            with pytest.raises(ValueError, match=sentence):
                forward(less)
        model.smallest = 1
        with pytest.raises(RuntimeError, match=r"[Ss]ize|Sizes"):
            model(less)


# ------------------------------------------------------------------------------------------------------------- learning


def losses(model, steps, rate, classes=10):
    """Loss by step of Adam on 8 images of 8 labels."""
    x, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % classes
    optimizer, found = torch.optim.Adam(model.parameters(), lr=rate), []
    for _ in range(steps):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
        if found[-1] < 0.05:
            break
    return found


@pytest.mark.parametrize("label", FORMS)
def test_memorizes_eight_images(label):
    *_, steps, rate = FORMS[label]
    torch.manual_seed(0)
    assert min(losses(laptop(label, dropout=0.0), steps, rate)) < 0.05


def test_pytorchs_default_start_does_not_learn_and_hes_does():
    """The lesson's claim: nine modules without normalization, and the starting weights decide."""
    found = {}
    for init in ("torch", "he"):
        torch.manual_seed(0)
        model = GoogLeNet.laptop(8, norm="none", blocks=(2, 5, 2), dropout=0.0, init=init)
        found[init] = losses(model, 30, 1e-3)
    assert min(found["torch"]) > math.log(8) - 0.01
    assert min(found["he"]) < 0.1


# ---------------------------------------------------------------------------------------------------------------- scope


@pytest.mark.parametrize("kind", NETWORKS)
def test_scope_is_a_change_to_the_networks_own(kind):
    assert meta(kind.laptop).scope == kind.SCOPE
    changes = {"init": "torch", "deviation": 0.5, "eps": 0.01, "momentum": 0.2, "dropout": 0.3, "weight_decay": 1e-3}
    model = meta(kind.laptop, **changes)
    assert model.scope == layers.Scope(**changes) and kind.SCOPE != model.scope
    one = meta(kind.laptop, weight_decay=0.0).scope
    assert one == dataclasses.replace(kind.SCOPE, weight_decay=0.0)


def test_scopes_are_those_of_the_papers_and_of_slim():
    """Dropped share and weight decay: AlexNet sections 4.2 and 5, VGG 3.1, NIN 4.1, GoogLeNet 5, V2 4.2.1; "keep 0.8".

    Weight decay of the Inceptions: TF-slim's.
    """
    found = {kind: (kind.SCOPE.dropout, kind.SCOPE.weight_decay, kind.SCOPE.eps) for kind in NETWORKS}
    assert {kind: pair[:2] for kind, pair in found.items()} == {
        AlexNet: (0.5, 5e-4),
        VGG16: (0.5, 5e-4),
        NIN: (0.5, 5e-4),
        Plain: (0.4, 4e-5),
        GoogLeNet: (0.4, 4e-5),
        BNInception: (0.0, 4e-5),
        InceptionV3: (0.2, 4e-5),
        InceptionV4: (0.2, 4e-5),
        InceptionResNetV1: (0.2, 4e-5),
        InceptionResNetV2: (0.2, 4e-5),
    }
    assert all(eps == 1e-3 for kind, (*_, eps) in found.items() if kind not in (AlexNet, VGG16))
    assert {kind.SCOPE.momentum for kind in NETWORKS} == {0.1} and {kind.SCOPE.init for kind in NETWORKS} == {"he"}
    assert all(kind.SCOPE.deviation == 0.01 for kind in (AlexNet, VGG16, GoogLeNet))


@pytest.mark.parametrize("label", NORMALIZED)
def test_eps_and_momentum_reach_every_batch_norm(label):
    for changes, want in (({}, (FORMS[label][0].SCOPE.eps, 0.1)), ({"eps": 0.02, "momentum": 0.3}, (0.02, 0.3))):
        norms = [layer for layer in meta(laptop, label, **changes).modules() if isinstance(layer, nn.BatchNorm2d)]
        assert len(norms) > 5 and {(norm.eps, norm.momentum) for norm in norms} == {want}


@pytest.mark.parametrize("label", NORMALIZED)
def test_every_convolution_has_its_batch_norm(label):
    """And then no bias; but for what stands alone by design."""
    model = meta(laptop, label)
    units = [m for m in model.modules() if isinstance(getattr(m, "conv", None), nn.Conv2d)]
    alone = {m for m in model.modules() if isinstance(m, nn.Conv2d)} - {unit.conv for unit in units}
    without = [unit for unit in units if not isinstance(getattr(unit, "norm", None), nn.BatchNorm2d)]
    assert all(unit.conv.bias is None for unit in units if unit not in without)
    assert all(list(dict(unit.named_children()))[-1] == "relu" for unit in units)
    names = {name for name, m in model.named_modules() if m in alone}
    if label[0] == "R":
        assert names == {f"stages.{stage}.up" for stage, m in model.stages.items() if isinstance(m, Residual)}
    else:
        want = {"NIN bn": {"stages.classes"}, "V2": {"stages.conv1.depthwise"}, "V2 slim": {"stages.conv1.depthwise"}}
        assert names == want.get(label, set())
    assert [name for name, m in model.named_modules() if m in without] == (
        ["stages.conv1.pointwise"] if label == "V2 slim" else []
    )


@pytest.mark.parametrize("label", FORMS)
def test_dropout_is_the_share_that_is_dropped(label):
    for share in (FORMS[label][0].SCOPE.dropout, 0.15):
        model = meta(laptop, label, dropout=share)
        found = [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
        count = 2 if label.split()[0] in ("AlexNet", "VGG", "NIN") else 1
        heads = [0.7] if label.startswith("V1") else []  # the auxiliary classifier has its own, aux_dropout
        assert found == [share] * count + heads


@pytest.mark.parametrize("label", FORMS)
def test_dropout_changes_what_training_sees(label):
    torch.manual_seed(0)
    model, x = laptop(label, dropout=0.5).train(), torch.randn(4, 3, 32, 32)
    model.load_state_dict({k: v + 0.1 if "head" in k or "classes" in k else v for k, v in model.state_dict().items()})
    assert not torch.allclose(model(x), model(x), atol=1e-3)
    still = laptop(label, dropout=0.0).train()
    torch.testing.assert_close(still(x), still(x))


def last_layers(model):
    heads = [model.stages["classes"] if isinstance(model, NIN) else model.head[-1]]
    return heads + [head.classifier for head in model.aux.values()]


@pytest.mark.parametrize("label", FORMS)
def test_starting_weights_are_what_they_are_called(label):
    """He's variance, or slim's, in every layer but the classifiers, which start at 0.01 (0.001 after dense layers)."""
    torch.manual_seed(0)
    for init, deviation in (("he", None), ("truncated", None), ("truncated", 0.03)):
        model, seen = laptop(label, init=init, deviation=deviation), 0
        heads = last_layers(model)
        for name, layer in model.named_modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            assert layer.bias is None or not layer.bias.any(), name
            weight = layer.weight.detach()
            if layer in heads:
                want = 0.001 if isinstance(model, AlexNet | VGG16) and layer is heads[0] else 0.01
            else:
                want = 0.88 * deviation if deviation else math.sqrt(2 / weight[0].numel())
            n = weight.numel()  # the standard error of a deviation is 1 / sqrt(2 n) of it: five of them
            assert weight.std().item() == pytest.approx(want, rel=0.01 + 5 / math.sqrt(2 * n)), name
            if layer not in heads and init == "truncated":
                cut = 2 * (deviation or math.sqrt(1.3) * want)
                assert weight.abs().max() <= 1.0001 * cut, name
            seen += 1
        assert seen > 6


@pytest.mark.parametrize("label", FORMS)
def test_pytorchs_own_start_is_left_alone(label):
    """``init="torch"``: every weight within PyTorch's bound 1 / sqrt(fan in), classifiers included."""
    torch.manual_seed(0)
    for name, layer in laptop(label, init="torch").named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.detach()
            bound = 1 / math.sqrt(weight[0].numel())
            assert weight.abs().max() <= bound * 1.0001, name
            n = weight.numel()
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01 + 5 / math.sqrt(2 * n)), name


# ----------------------------------------------------------------------------------------------------- width and blocks


@pytest.mark.parametrize("label", FORMS)
@pytest.mark.parametrize("width", [0.5, 0.3])
def test_width_reaches_every_layer(label, width):
    kind, settings, *_ = FORMS[label]
    stem = {} if kind is Plain else {"stem": "small"}
    blocks = {} if kind in (AlexNet, NIN, Plain) else {"blocks": (1,) * (5 if kind is VGG16 else 3)}
    thin = meta(kind, 1000, width=width, **settings, **stem, **blocks)
    paper = meta(kind, 1000, **settings, **stem, **blocks)
    for (name, a), b in zip(thin.named_modules(), paper.modules(), strict=True):
        if isinstance(a, nn.Conv2d) and name != "stages.classes" and name.split(".")[-1] not in ("up", "depthwise"):
            assert a.out_channels == layers.channels(b.out_channels, width), name
        if isinstance(a, nn.BatchNorm2d):
            assert a.num_features == layers.channels(b.num_features, width), name
        if isinstance(a, nn.Linear):
            want = 1000 if b.out_features == 1000 else layers.channels(b.out_features, width)
            assert a.out_features == want, name
    assert thin(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 1000)


def test_thin_separable_first_layer_is_not_wider_than_what_it_feeds():
    found = {width: meta(BNInception, width=width).stages["conv1"].depthwise for width in (1, 0.5, 0.1875, 0.05)}
    assert {width: (layer.out_channels, layer.groups) for width, layer in found.items()} == {
        1: (24, 3),
        0.5: (24, 3),
        0.1875: (12, 3),
        0.05: (3, 3),
    }


LAPTOP_STAGES = {
    AlexNet: "conv1 norm1 pool1 conv2 norm2 pool2 conv3 conv4 conv5 pool5",
    VGG16: "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3 conv4_1 conv4_2 conv4_3 pool4 "
    "conv5_1 conv5_2 conv5_3 pool5",
    NIN: "mlpconv1 pool1 drop1 mlpconv2 pool2 drop2 mlpconv3 classes",
    Plain: "conv1 conv2 conv3 conv4 conv5 conv6",
    GoogLeNet: "conv1 norm1 conv2_reduce conv2 norm2 3a pool3 4a 4b pool4 5a",
    BNInception: "conv1 conv2_reduce conv2 3a 3c 4a 4b 4e 5a",
    InceptionV3: "conv1a conv2b conv3b conv4a 5b 6a 6b 6c 7a 7b",
    InceptionV4: "conv1a conv2b 4a 5a A1 reductionA B1 reductionB C1",
    InceptionResNetV1: "conv1a conv2b conv3b conv4a conv4b A1 reductionA B1 reductionB C1",
    InceptionResNetV2: "conv1a conv2b 4a 5a A1 reductionA B1 reductionB C1",
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_laptop_keeps_these_stages(kind):
    model = meta(kind.laptop)
    assert list(model.stages) == LAPTOP_STAGES[kind].split()
    assert model(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 10)
    assert meta(kind.laptop, 7)(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 7)


@pytest.mark.parametrize("kind", [BNInception, InceptionV3, InceptionV4, InceptionResNetV1, InceptionResNetV2])
def test_laptop_starts_on_a_grid_of_16_and_ends_on_3_or_4(kind):
    """16, then a reduction to 8 or 7, then one to 4 or 3."""
    sides = [row.shape[1] for row in measure.stages(kind.laptop(), 32) if len(row.shape) == 3]
    assert sorted(set(sides), reverse=True) == ([16, 8, 4] if kind is BNInception else [16, 7, 3])
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (0, 3, 2), (2, 2, 0), (0, 0, 0)])
@pytest.mark.parametrize(
    ("kind", "groups", "reductions"),
    [
        (GoogLeNet, ("3a 3b", "4a 4b 4c 4d 4e", "5a 5b"), ("pool3", "pool4")),
        (BNInception, ("3a 3b", "4a 4b 4c 4d", "5a 5b"), ("3c", "4e")),
        (InceptionV3, ("5b 5c 5d", "6b 6c 6d 6e", "7b 7c"), ("6a", "7a")),
        (InceptionV4, ("A1 A2", "B1 B2 B3", "C1 C2"), ("reductionA", "reductionB")),
        (InceptionResNetV1, ("A1 A2", "B1 B2 B3", "C1 C2"), ("reductionA", "reductionB")),
        (InceptionResNetV2, ("A1 A2", "B1 B2 B3", "C1 C2"), ("reductionA", "reductionB")),
    ],
)
def test_blocks_are_kept_from_the_front(kind, groups, reductions, blocks):
    model = meta(kind.laptop, blocks=blocks).eval()
    kept = [group.split()[:n] for group, n in zip(groups, blocks, strict=True)]
    want = [*kept[0], reductions[0], *kept[1], reductions[1], *kept[2]]
    assert list(model.stages)[-len(want) :] == want
    assert len(model.stages) - len(want) == {GoogLeNet: 5, BNInception: 3, InceptionResNetV1: 5}.get(kind, 4)
    assert model(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 10)


def test_blocks_of_vgg_and_of_the_unscaled_end():
    assert list(meta(VGG16.laptop, blocks=(1, 0, 2, 0, 1)).stages) == [
        "conv1_1", "pool1", "pool2", "conv3_1", "conv3_2", "pool3", "pool4", "conv5_1", "pool5",
    ]  # fmt: skip
    for kind, variant in ((InceptionResNetV1, "facenet"), (InceptionResNetV2, "slim")):
        model = meta(kind.laptop, variant=variant, blocks=(0, 1, 2))
        ends = [(name, m.scale, m.relu) for name, m in model.stages.items() if isinstance(m, Residual)]
        assert ends == [("B1", 0.1, True), ("C1", 0.2, True), ("C2", 0.2, True), ("C3", 1.0, False)]
    assert [sum(name[0] == x for name in meta(InceptionResNetV2, variant="slim").stages) for x in "ABC"] == [10, 20, 10]


@pytest.mark.parametrize("kind", [InceptionResNetV1, InceptionResNetV2])
def test_scales_reach_their_blocks(kind):
    model = meta(kind.laptop, blocks=(2, 2, 2), scales=(0.5, 0, 0.25))
    found = {name: m.scale for name, m in model.stages.items() if isinstance(m, Residual)}
    assert found == {"A1": 0.5, "A2": 0.5, "B1": 0, "B2": 0, "C1": 0.25, "C2": 0.25}


# ------------------------------------------------------------------------------------------------ auxiliary classifiers


@pytest.mark.parametrize(
    ("kind", "blocks", "stage"),
    [
        (InceptionV3, (1, 2, 1), "6c"),
        (InceptionV3, (3, 4, 2), "6e"),
        (InceptionV3, (1, 0, 1), "6a"),
        *((kind, (1, 3, 1), "B3") for kind in (InceptionV4, InceptionResNetV1, InceptionResNetV2)),
        *((kind, (2, 0, 1), "reductionA") for kind in (InceptionV4, InceptionResNetV1, InceptionResNetV2)),
    ],
)
def test_aux_listens_to_the_last_module_of_the_middle_grid(kind, blocks, stage):
    model = meta(kind.laptop, aux=True, blocks=blocks)
    logits, aux = model.forward_with_aux(torch.zeros(2, 3, 32, 32, device="meta"))
    assert list(aux) == [stage] and aux[stage].shape == (2, 10)


@pytest.mark.parametrize("kind", [InceptionV3, InceptionV4, InceptionResNetV1, InceptionResNetV2])
def test_aux_at_full_size(kind):
    """17 x 17 at 299, pooled to 5 x 5, which the next convolution takes whole."""
    model = meta(kind, 7, width=0.05, aux=True, blocks=(1, 1, 1)).eval()
    shapes = {}
    (head,) = model.aux.values()
    for name, layer in head.named_children():
        layer.register_forward_hook(lambda layer, inputs, out, name=name: shapes.update({name: tuple(out.shape[2:])}))
    logits, aux = model.forward_with_aux(torch.zeros(2, 3, 299, 299, device="meta"))
    assert shapes == {"pool": (5, 5), "conv": (5, 5), "hidden": (1, 1), "average": (), "classifier": ()}
    assert logits.shape == next(iter(aux.values())).shape == (2, 7)


@pytest.mark.parametrize("label", [label for label, (_, settings, *_) in FORMS.items() if "aux" in settings])
def test_aux_teaches_the_stages_before_it_and_no_other(label):
    """That is what it is for: its loss alone reaches from the first convolution to the stage it listens to."""
    torch.manual_seed(0)
    model = laptop(label, dropout=0.0)
    _, aux = model.forward_with_aux(torch.randn(4, 3, 32, 32))
    ((name, logits),) = aux.items()
    F.cross_entropy(logits, torch.arange(4)).backward()
    taught = {stage for stage, m in model.stages.items() if any(p.grad is not None for p in m.parameters())}
    before = list(model.stages)[: list(model.stages).index(name) + 1]
    assert taught == {stage for stage in before if list(model.stages[stage].parameters())}
    assert all(p.grad is None for p in model.head.parameters())


@pytest.mark.parametrize("kind", [InceptionV3, InceptionV4, InceptionResNetV1, InceptionResNetV2])
def test_aux_wants_the_grid_of_its_stem(kind):
    """Half of 28 is 14, and its reduction leaves 6 x 6; 283 at full size leaves 16 x 16."""
    for stem, size, grid in (("small", 28, 7), ("full", 283, 17)):
        model = meta(kind.laptop, stem=stem, aux=True).eval()
        model.forward_with_aux(torch.zeros(1, 3, {7: 30, 17: 299}[grid], 300, device="meta"))
        with pytest.raises(ValueError, match=rf"grid of at least {grid} x {grid}, not {grid - 1} x "):
            model.forward_with_aux(torch.zeros(1, 3, size, 300, device="meta"))


def test_aux_of_v3_averages_a_larger_grid_and_refuses_a_smaller_one():
    torch.manual_seed(0)
    head = ConvolvedClassifier(4, 5, 7, width=0.25, unit=layers.conv_bn).eval()
    x = torch.randn(2, 4, 13, 10)
    pooled = torch.stack(
        [torch.stack([x[:, :, i : i + 5, j : j + 5].mean((2, 3)) for j in (0, 3)], 2) for i in (0, 3, 6)], 2
    )
    torch.testing.assert_close(head.pool(x), pooled)
    by_hand = head.classifier(head.hidden(head.conv(pooled)).mean((2, 3)))
    torch.testing.assert_close(head(x), by_hand)
    assert head.hidden.conv.kernel_size == (1, 1)
    assert ConvolvedClassifier(4, 5, 17, unit=layers.conv_bn).hidden.conv.kernel_size == (5, 5)
    with pytest.raises(ValueError, match="built for a grid of at least 7 x 7, not 13 x 6"):
        head(torch.zeros(2, 4, 13, 6))


def test_forward_with_aux_at_224():
    torch.manual_seed(0)
    model, x = GoogLeNet(7, width=0.125, aux=True).eval(), torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        logits, aux = model.forward_with_aux(x)
        assert list(aux) == ["4a", "4d"]
        assert logits.shape == aux["4a"].shape == aux["4d"].shape == (2, 7)
        assert torch.equal(model(x), logits)
    assert not any(
        torch.allclose(a, b, atol=1e-3) for a, b in ((logits, aux["4a"]), (logits, aux["4d"]), (aux["4a"], aux["4d"]))
    )


def test_aux_only_where_its_stage_is_kept():
    x = torch.randn(2, 3, 32, 32)
    for settings, want in (({}, []), ({"aux": True}, ["4a"]), ({"aux": True, "blocks": (2, 5, 2)}, ["4a", "4d"])):
        model = GoogLeNet.laptop(**settings).train()
        assert isinstance(model(x), torch.Tensor)  # logits, in training too
        logits, aux = model.forward_with_aux(x)
        assert logits.shape == (2, 10) and list(aux) == want


def test_aux_without_its_stages_is_refused():
    with pytest.raises(ValueError, match=r"hang on 4a and 4d, and blocks=\(2, 0, 2\) keeps neither"):
        GoogLeNet.laptop(aux=True, blocks=(2, 0, 2))


def test_aux_head_wants_the_grid_it_was_built_for():
    model = GoogLeNet.laptop(aux=True).eval()
    x = torch.randn(1, 3, 40, 40)
    assert model(x).shape == (1, 10)
    with pytest.raises(ValueError, match="built for a 8 x 8 grid, not 10 x 10"):
        model.forward_with_aux(x)
    anywhere = GoogLeNet.laptop(aux=True, aux_pool="adaptive").eval()
    assert anywhere.forward_with_aux(x)[1]["4a"].shape == (1, 10)


def test_aux_head_pools_as_the_paper_says():
    """5 x 5 at stride 3 on 14 x 14: four windows a side, from 0, 3, 6 and 9. The adaptive one ends at 14."""
    head = AuxiliaryClassifier(2, 3, 14)
    x = torch.randn(1, 2, 14, 14)
    by_hand = torch.stack(
        [torch.stack([x[0, :, i : i + 5, j : j + 5].mean((1, 2)) for j in (0, 3, 6, 9)], 1) for i in (0, 3, 6, 9)], 1
    )
    torch.testing.assert_close(head.pool(x)[0], by_hand)
    assert head.hidden[1].in_features == 4 * 4 * 128
    assert not torch.allclose(AuxiliaryClassifier(2, 3, 14, pool="adaptive").pool(x)[0], by_hand, atol=1e-3)


# -------------------------------------------------------------------------------------------------------------- folding


@pytest.mark.parametrize("label", FORMS)
@torch.no_grad()
def test_folded_network_computes_the_same(label):
    """With random statistics: fresh ones are a mean of 0 and a variance of 1, which hide mistakes."""
    torch.manual_seed(0)
    model = laptop(label).double()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert bool(norms) == (label in NORMALIZED)
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    with pytest.raises(ValueError, match=r"only a network in evaluation mode can be folded: call .eval\(\) first"):
        layers.fold(model.train())
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded, x = layers.fold(model), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    (want, want_aux), (got, got_aux) = model.forward_with_aux(x), folded.forward_with_aux(x)
    assert list(want_aux) == list(got_aux)
    for a, b in zip((want, *want_aux.values()), (got, *got_aux.values()), strict=True):
        assert (a - b).abs().max() <= 1e-10 * a.abs().max()
        assert (a[0] - a[1]).abs().max() > 1e-3 * a.abs().max()  # the images do matter
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert not folded.training
    after = model.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) == len(norms)
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in folded.parameters()}
    assert not shared


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("kind", [BNInception, InceptionV3, InceptionV4])
@torch.no_grad()
def test_folding_moves_the_averages(kind, count_include_pad):
    """They stand between convolution and ReLU afterwards; at the border a bias must not be averaged with zeros."""
    torch.manual_seed(0)
    model = kind.laptop(count_include_pad=count_include_pad).double().eval()
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)):
        nn.init.normal_(norm.bias, mean=0.5, std=0.3)
    folded, x = layers.fold(model), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(folded(x), model(x), rtol=1e-9, atol=1e-10)
    moved = 0
    for name, stage in folded.stages.items():
        seen = []
        for layer in stage.modules():
            if isinstance(layer, nn.AvgPool2d):
                layer.register_forward_hook(lambda layer, inputs, out, seen=seen: seen.append(inputs[0].shape[1]))
        folded(x)
        if seen:
            assert (
                seen == [stage.branches["pool"].conv.out_channels]
                and seen[0] < model.stages[name].branches["pool"][1].conv.in_channels
            )
            moved += 1
    assert moved == sum(isinstance(layer, nn.AvgPool2d) for layer in model.modules()) > 0


# ------------------------------------------------------------------------------------------- what one network alone has


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (7, 6), (1, 1), (2, 3)])
def test_reduction_of_v2_ends_on_the_grid_of_its_convolutions(size):
    """Rows 3c and 4e. Where a side is even, windows start at its first row; where it is odd, one before it, so that
    they lie on those of the convolutions, and TensorFlow's do the same.
    """
    torch.manual_seed(0)
    module = Reduction(2, 4, 4, 4, 4, unit=layers.conv_bn).eval()
    x = torch.rand(1, 2, *size)
    h, w = size
    starts = [range(-(n % 2), n - n % 2, 2) for n in size]
    by_hand = torch.stack(
        [
            torch.stack([x[0, :, max(i, 0) : i + 3, max(j, 0) : j + 3].amax((1, 2)) for j in starts[1]], 1)
            for i in starts[0]
        ],
        1,
    )
    assert by_hand.shape == (2, (h + 1) // 2, (w + 1) // 2)
    out = module(x)
    assert out.shape == (1, 10, (h + 1) // 2, (w + 1) // 2)
    assert torch.equal(out[0, 8:], by_hand)


def test_plain_costs_what_the_laptop_network_costs():
    plain, inception = measure.count(Plain.laptop(), 32).macs, measure.count(GoogLeNet.laptop(norm="bn"), 32).macs
    assert abs(plain / inception - 1) < 0.001


def test_naive_module_3a():
    """Fig. 2(a) at 3a by hand: 192 x 64, 9 x 192 x 128 and 25 x 192 x 32 weights, 224 biases, a grid of 28 x 28."""
    before, row = nn.Conv2d(3, 192, 1), (192, 64, 96, 128, 16, 32, 32)
    alone = measure.count(before, 28)
    for module, params, macs in ((NaiveInception, 387_296, 303_464_448), (Inception, 163_696, 128_049_152)):
        both = measure.count(nn.Sequential(before, module(*row)), 28)
        assert (both.params - alone.params, both.macs - alone.macs) == (params, macs)
    assert params * 2 < 387_296 and NaiveInception(*row)(torch.zeros(1, 192, 8, 8)).shape == (
        1,
        64 + 128 + 32 + 192,
        8,
        8,
    )


def test_naive_network_is_wired_through():
    """Each module hands on all that came in, so the next one is told a number that no table holds."""
    model = GoogLeNet.laptop(module=NaiveInception, width=1.0)
    shapes = {row.name: row.shape[0] for row in measure.stages(model, 32)}
    widths, c = {}, 192
    for stage, (n1, n3, n5) in {
        "3a": (64, 128, 32),
        "4a": (192, 208, 48),
        "4b": (160, 224, 64),
        "5a": (256, 320, 128),
    }.items():
        widths[stage] = c = n1 + n3 + n5 + c
    assert {stage: shapes[stage] for stage in widths} == widths
    assert model.head[-1].in_features == c


def test_branches_are_stacked_in_the_order_written():
    module = Inception(8, 4, 8, 12, 4, 16, 20)
    x = torch.randn(2, 8, 5, 5)
    out = module(x)
    assert list(module.branches) == ["b1", "b3", "b5", "pool"]
    for name, part in zip(module.branches, out.split([4, 12, 16, 20], 1), strict=True):
        assert torch.equal(part, module.branches[name](x))


def test_norm_none_is_lrn_without_the_norms():
    """Same weights under the same names, so that the two can be compared."""
    lrn, none = meta(GoogLeNet.laptop, norm="lrn"), meta(GoogLeNet.laptop, norm="none")
    assert list(lrn.state_dict()) == list(none.state_dict())
    assert set(lrn.stages) - set(none.stages) == {"norm1", "norm2"}
    assert not any(isinstance(m, nn.LocalResponseNorm | nn.BatchNorm2d) for m in none.modules())
    bn = meta(GoogLeNet.laptop, norm="bn")
    assert sum(isinstance(m, nn.BatchNorm2d) for m in bn.modules()) == sum(
        isinstance(m, nn.Conv2d) for m in bn.modules()
    )
    assert all(m.bias is None for m in bn.modules() if isinstance(m, nn.Conv2d))


def test_dense_head_averages_down_to_its_grid():
    """A larger grid is averaged; at the grid that it was built for, flattening is all."""
    torch.manual_seed(0)
    head = dense_head(2, 3, 8, 5, 0.5).eval()
    assert [m.p for m in head if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    x = torch.randn(2, 2, 6, 6)
    small = F.avg_pool2d(x, 2)
    torch.testing.assert_close(head(x), head(small))
    first, second, last = [m for m in head if isinstance(m, nn.Linear)]
    by_hand = last(second(first(small.flatten(1)).clamp(min=0)).clamp(min=0))
    torch.testing.assert_close(head(small), by_hand)


# -------------------------------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_classes": 0}, "num_classes is a whole number of at least 1, not 0"),
        ({"num_classes": -3}, "num_classes is a whole number of at least 1, not -3"),
        ({"num_classes": 2.5}, "num_classes is a whole number of at least 1, not 2.5"),
        ({"num_classes": True}, "num_classes is a whole number of at least 1, not True"),
        ({"num_classes": 10**12}, "num_classes is a whole number of at most 100,000, not 1000000000000"),
        ({"width": 0}, "width is a number above 0 .*, not 0"),
        ({"width": -0.5}, "width is a number above 0 .*, not -0.5"),
        ({"width": float("nan")}, "width is a number above 0 .*, not nan"),
        ({"width": "wide"}, "width is a number above 0 .*, not 'wide'"),
        ({"width": 1000}, "width is a number above 0 and at most 4 .*, not 1000"),
        ({"init": "xavier"}, "init is 'he', 'truncated' or 'torch', not 'xavier'"),
        ({"dropout": 1.5}, "dropout is a number from 0 to 1, not 1.5"),
        ({"eps": -1}, "eps is a number from 0 to 1, not -1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_bad_arguments_of_every_network(kind, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**change)


@pytest.mark.parametrize("kind", NETWORKS)
def test_unknown_argument_is_named(kind):
    """Keywords that no network has go to its scope, which must not swallow them."""
    with pytest.raises(
        TypeError, match="no argument 'droput': .* takes init, deviation, eps, momentum, dropout, weight_decay$"
    ):
        kind.laptop(droput=0.3)
    with pytest.raises(TypeError, match="positional"):
        kind(10, 0.5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_defaults_are_the_papers_network(kind):
    parameters = inspect.signature(kind).parameters
    assert parameters["num_classes"].default == (10 if kind is Plain else 1000)
    assert parameters["width"].default == 1
    if kind is not Plain:
        assert parameters["stem"].default == "full"


BLOCKS_OF_3 = (InceptionV4, InceptionResNetV1, InceptionResNetV2)


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        *((k, {"stem": "tiny"}, "stem is one of 'full', 'small', not 'tiny'") for k in NETWORKS if k is not Plain),
        *((k, {"norm": "batch"}, "norm is one of 'none', 'bn', not 'batch'") for k in (VGG16, NIN, Plain)),
        *((k, {"norm": "lrn"}, "norm is one of 'none', 'bn', not 'lrn'") for k in (VGG16, NIN, Plain)),
        (GoogLeNet, {"norm": "batch"}, "norm is one of 'lrn', 'none', 'bn', not 'batch'"),
        (GoogLeNet, {"kernel5": 4}, "kernel5 is one of 5, 3, not 4"),
        (GoogLeNet, {"pool4": 1}, "pool4 is one of 3, 2, not 1"),
        (GoogLeNet, {"aux_pool": "max"}, "aux_pool is one of 'paper', 'adaptive', not 'max'"),
        (GoogLeNet, {"blocks": (3, 5, 2)}, r"groups 3, 4, 5 .* at most \(2, 5, 2\), not \(3, 5, 2\)"),
        (GoogLeNet, {"blocks": (2, 6, 2)}, r"at most \(2, 5, 2\), not \(2, 6, 2\)"),
        (GoogLeNet, {"blocks": (1, 2, -1)}, r"at most \(2, 5, 2\), not \(1, 2, -1\)"),
        (GoogLeNet, {"blocks": (1, 2)}, r"blocks is 3 whole numbers.* groups 3, 4, 5 .* not \(1, 2\)"),
        (BNInception, {"blocks": (2, 5, 2)}, r"groups 3, 4, 5 .* at most \(2, 4, 2\), not \(2, 5, 2\)"),
        (BNInception, {"blocks": 3}, "blocks is 3 whole numbers.* not 3"),
        (BNInception, {"believe": "paper"}, "believe is one of 'filters', 'sizes', not 'paper'"),
        (BNInception, {"first": "plain"}, "first is one of 'separable', 'slim', 'dense', not 'plain'"),
        (InceptionV3, {"blocks": (3, 5, 2)}, r"groups 5, 6, 7 .* at most \(3, 4, 2\), not \(3, 5, 2\)"),
        (InceptionV3, {"blocks": (3, 4)}, r"blocks is 3 whole numbers.* not \(3, 4\)"),
        *((k, {"blocks": (1, -1, 1)}, r"kinds A, B, C .* none below 0 .*, not \(1, -1, 1\)") for k in BLOCKS_OF_3),
        *((k, {"blocks": (10**6, 1, 1)}, r"A, B, C .* above 100, not \(1000000, 1, 1\)") for k in BLOCKS_OF_3),
        *((k, {"blocks": (1, 1)}, r"blocks is 3 whole numbers.* kinds A, B, C .* not \(1, 1\)") for k in BLOCKS_OF_3),
        (VGG16, {"blocks": (2, 2, 3)}, r"blocks is 5 whole numbers.* groups 1 to 5 .* not \(2, 2, 3\)"),
        (VGG16, {"blocks": (2, 2, 3, 3, -3)}, "groups 1 to 5 .* none below 0"),
        (VGG16, {"blocks": (2, 2, 3, 3, 10**6)}, "groups 1 to 5 .* none below 0 or above 100, not"),
        (AlexNet, {"variant": "caffe"}, "variant is one of 'paper', 'torchvision', not 'caffe'"),
        (InceptionResNetV1, {"variant": "slim"}, "variant is one of 'paper', 'facenet', not 'slim'"),
        (InceptionResNetV2, {"variant": "facenet"}, "variant is one of 'paper', 'slim', not 'facenet'"),
        *(
            (k, {"scales": scales}, "scales is three numbers, for the blocks A, B, C, not")
            for k in (InceptionResNetV1, InceptionResNetV2)
            for scales in (0.1, (0.1, 0.1), (0.1, 0.1, "0.2"), None)
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_arguments_of_some(kind, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**change)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(3, 32, 32), r"shape \(N, 3, H, W\), not \(3, 32, 32\)"),
        (torch.zeros(2, 1, 32, 32), r"shape \(N, 3, H, W\), not \(2, 1, 32, 32\)"),
        (torch.zeros(2, 32, 32, 3), r"shape \(N, 3, H, W\), not \(2, 32, 32, 3\)"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "floating-point images .*, not torch.uint8"),
    ],
    ids=["no batch", "grey", "channels last", "bytes"],
)
def test_wrong_images(kind, images, sentence):
    model = meta(kind.laptop)
    for forward in (model.forward, model.forward_with_aux):
        with pytest.raises(ValueError, match=sentence):
            forward(images)


@pytest.mark.parametrize("change", [{"blocks": ()}, {"scales": (0.1, float("nan"), 0.1)}, {"scales": (True, 0.1, 0.1)}])
def test_bad_blocks_and_scales_of_inception_resnet(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} is "):
        InceptionResNetV2(**change)
