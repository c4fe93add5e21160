"""Our networks against other libraries' under copied weights: outputs, gradients, statistics, stages and counts; and
parts against their formulas written out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import peers
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inception_lessons import googlenet, inception_resnet, inception_v3, inception_v4, measure, weights
from inception_lessons.baselines import VGG16, AlexNet
from inception_lessons.bn_inception import BNInception
from inception_lessons.googlenet import GoogLeNet
from inception_lessons.inception_resnet import InceptionResNetV1, InceptionResNetV2
from inception_lessons.inception_v3 import InceptionV3
from inception_lessons.inception_v4 import InceptionV4

CLASSES = 11
BOUNDS = {torch.float32: 2e-5, torch.float64: 1e-12}  # rounding, up to 3e-6 and 1e-14 as measured, with room


@dataclass(frozen=True)
class Pair:
    """One network twice: theirs, and the form of ours that should equal it; each a function from classes to network.

    ``aux``: our stage -> their stage that feeds the auxiliary classifier, and the classifier. ``trunk``: the part of
    theirs whose output is compared, where the head is another. ``dense``: two wide layers come last. ``stages``: our
    stage -> their module that puts the same out, or, written ">name", that takes it in. ``swaps``: pairs of equally
    shaped tensors, and the outputs that must see them exchanged. ``unseen``: settings that no tensor tells, each the
    wrong way round. ``cost``: parameters and multiply-adds of theirs at ``side``, with so many parameters ``more`` than
    ours has.
    """

    theirs: Callable[[int], nn.Module]
    ours: Callable[..., nn.Module]
    sizes: tuple[tuple[int, int, int], ...]
    small: tuple[int, int, int]
    stages: dict[str, str]
    swaps: tuple[tuple[str, str, str], ...]
    cost: measure.Cost
    side: int = 299
    more: int = 0
    aux: dict[str, tuple[str, str]] = field(default_factory=dict)
    trunk: str | None = None
    dense: bool = False
    unseen: tuple[dict, ...] = ()


def form(kind, **settings) -> Callable[..., nn.Module]:
    """The network in the form that a library has, dropping nothing: dropout is another at every call."""
    settings = {"dropout": 0.0, **settings}
    return lambda classes=CLASSES, **changes: kind(classes, **(settings | changes))


def last_names(names: dict) -> dict[str, str]:
    return {stage: found if isinstance(found, str) else found[-1] for stage, found in names.items()}


def of_torchvision(name: str, **settings) -> Callable[[int], nn.Module]:
    return lambda classes: getattr(peers.torchvision().models, name)(num_classes=classes, **settings)


def of_timm(name: str) -> Callable[[int], nn.Module]:
    return lambda classes: peers.timm().create_model(name, num_classes=classes)


FULL = ((2, 299, 299), (1, 331, 317))
PAIRS = {
    "torchvision googlenet": Pair(
        of_torchvision("googlenet", aux_logits=True, init_weights=False, dropout=0.0, dropout_aux=0.0),
        form(GoogLeNet, norm="bn", kernel5=3, pool4=2, aux_pool="adaptive", aux=True, aux_dropout=0.0),
        sizes=((2, 224, 224), (1, 231, 219)),
        small=(3, 96, 96),
        stages=last_names(googlenet.NAMES),
        aux={"4a": ("inception4a", "aux1"), "4d": ("inception4d", "aux2")},
        swaps=(
            ("inception3b.branch1.conv.weight", "inception3b.branch2.0.conv.weight", "main 4a 4d"),
            ("inception4c.branch1.conv.weight", "inception4c.branch2.0.conv.weight", "main 4d"),
            ("inception5a.branch3.1.bn.running_mean", "inception5a.branch4.1.bn.running_mean", "main"),
            ("inception4b.branch3.1.bn.running_var", "inception4b.branch4.1.bn.running_var", "main 4d"),
            ("aux1.fc1.weight", "aux2.fc1.weight", "4a 4d"),
        ),
        unseen=({"pool4": 3}, {"eps": 1e-5}),
        cost=measure.Cost(13_004_888, 1_498_376_192),
        side=224,
    ),
    "torchvision inception_v3": Pair(
        of_torchvision("inception_v3", aux_logits=True, init_weights=False, dropout=0.0),
        form(InceptionV3, aux=True, count_include_pad=True),
        sizes=FULL,
        small=(2, 299, 299),  # below this the auxiliary classifier has no 5 x 5 grid to work on
        stages=last_names(inception_v3.NAMES),
        aux={"6e": ("Mixed_6e", "AuxLogits")},
        swaps=(
            ("Mixed_6c.branch7x7_2.conv.weight", "Mixed_6d.branch7x7_2.conv.weight", "main 6e"),
            ("Mixed_7b.branch3x3_2a.bn.running_mean", "Mixed_7b.branch3x3_2b.bn.running_mean", "main"),
            ("AuxLogits.conv1.bn.weight", "AuxLogits.conv1.bn.bias", "6e"),
        ),
        unseen=({"count_include_pad": False},),
        cost=measure.Cost(27_161_264, 5_713_216_096),
    ),
    "timm inception_v3": Pair(
        of_timm("inception_v3"),
        form(InceptionV3, count_include_pad=True),
        sizes=FULL,
        small=(3, 139, 139),
        stages=last_names(inception_v3.NAMES),
        swaps=(
            ("Mixed_5c.branch3x3dbl_1.conv.weight", "Mixed_5c.branch1x1.conv.weight", "main"),
            ("Mixed_6b.branch7x7dbl_2.conv.weight", "Mixed_6b.branch7x7dbl_4.conv.weight", "main"),
            ("Mixed_7a.branch3x3_1.conv.weight", "Mixed_7a.branch7x7x3_1.conv.weight", "main"),
            ("Mixed_7c.branch3x3dbl_3a.bn.running_var", "Mixed_7c.branch3x3dbl_3b.bn.running_var", "main"),
        ),
        unseen=({"count_include_pad": False}, {"eps": 1e-5}),
        cost=measure.Cost(23_834_568, 5_713_216_096),
    ),
    "timm inception_v4": Pair(
        of_timm("inception_v4"),
        form(InceptionV4),
        sizes=FULL,
        small=(3, 139, 139),
        stages=last_names(inception_v4.NAMES),
        swaps=(
            ("features.4.branch0.0.conv.weight", "features.4.branch1.0.conv.weight", "main"),
            ("features.7.branch1.0.conv.weight", "features.7.branch2.0.conv.weight", "main"),
            ("features.11.branch1.0.conv.weight", "features.11.branch2.0.conv.weight", "main"),
            ("features.14.branch2.3.bn.running_mean", "features.14.branch2.2.bn.running_mean", "main"),
            ("features.20.branch1_0.conv.weight", "features.20.branch2_0.conv.weight", "main"),
            ("features.21.branch2_3a.bn.running_var", "features.21.branch2_3b.bn.running_var", "main"),
        ),
        unseen=({"count_include_pad": True}, {"eps": 1e-5}),
        cost=measure.Cost(42_679_816, 12_253_974_624),
    ),
    "timm inception_resnet_v2": Pair(
        of_timm("inception_resnet_v2"),
        form(InceptionResNetV2, variant="slim"),
        sizes=FULL,
        small=(3, 139, 139),
        stages=last_names(inception_resnet.NAMES_V2),
        swaps=(
            ("repeat.3.branch0.conv.weight", "repeat.3.branch2.0.conv.weight", "main"),
            ("repeat_1.4.conv2d.bias", "repeat_1.15.conv2d.bias", "main"),
            ("mixed_7a.branch1.0.conv.weight", "mixed_7a.branch2.0.conv.weight", "main"),
            ("repeat_2.8.branch0.bn.running_mean", "repeat_2.8.branch1.0.bn.running_mean", "main"),
            ("repeat_2.8.conv2d.weight", "block8.conv2d.weight", "main"),
        ),
        unseen=(
            {"count_include_pad": True},
            {"eps": 1e-5},
            {"scales": (0.18, 0.10, 0.20)},
            {"scales": (0.17, 0.11, 0.20)},
            {"scales": (0.17, 0.10, 0.21)},
        ),
        cost=measure.Cost(55_843_464, 13_155_794_016),
    ),
    "pretrainedmodels bninception": Pair(
        lambda classes: peers.pretrainedmodels().bninception(num_classes=classes, pretrained=None),
        form(BNInception, first="dense", believe="filters", count_include_pad=True, eps=1e-5),
        sizes=((2, 224, 224), (1, 223, 224)),  # its last average is 7 x 7, so no other grid will do
        small=(2, 224, 223),
        stages={
            "conv1": "conv1_relu_7x7",
            "conv2_reduce": "conv2_relu_3x3_reduce",
            "conv2": "conv2_relu_3x3",
            "3a": ">inception_3b_1x1",
            "3b": ">inception_3c_3x3_reduce",
            "3c": ">inception_4a_1x1",
            "4a": ">inception_4b_1x1",
            "4b": ">inception_4c_1x1",
            "4c": ">inception_4d_1x1",
            "4d": ">inception_4e_3x3_reduce",
            "4e": ">inception_5a_1x1",
            "5a": ">inception_5b_1x1",
            "5b": ">global_pool",
        },
        swaps=(
            ("inception_3a_1x1.weight", "inception_3a_3x3_reduce.weight", "main"),
            ("inception_3a_3x3.bias", "inception_3a_3x3_reduce.bias", "main"),
            ("inception_4a_double_3x3_1_bn.running_mean", "inception_4a_double_3x3_2_bn.running_mean", "main"),
            ("inception_5b_double_3x3_1_bn.running_var", "inception_5b_double_3x3_2_bn.running_var", "main"),
        ),
        unseen=({"count_include_pad": False}, {"eps": 1e-3}),
        cost=measure.Cost(11_295_240, 2_032_600_064),
        side=224,
        more=10_016,  # biases before batch norm
    ),
    "facenet-pytorch InceptionResnetV1": Pair(
        lambda classes: peers.facenet().InceptionResnetV1(),
        form(InceptionResNetV1, variant="facenet"),
        sizes=((2, 160, 160), (1, 299, 287)),
        small=(3, 139, 139),
        stages=inception_resnet.NAMES_V1,
        trunk="avgpool_1a",
        swaps=(
            ("repeat_1.0.branch0.conv.weight", "repeat_1.0.branch1.0.conv.weight", "main"),
            ("repeat_2.9.branch1.1.bn.running_mean", "repeat_2.9.branch1.2.bn.running_mean", "main"),
            ("repeat_3.2.conv2d.bias", "repeat_3.3.conv2d.bias", "main"),
            ("repeat_3.4.branch0.conv.weight", "block8.branch0.conv.weight", "main"),
        ),
        unseen=(
            {"eps": 1e-5},
            {"scales": (0.18, 0.10, 0.20)},
            {"scales": (0.17, 0.11, 0.20)},
            {"scales": (0.17, 0.10, 0.21)},
        ),
        cost=measure.Cost(23_482_624, 1_417_662_304),
        side=160,
        more=512,  # its head is a linear layer of 512 without bias and a batch norm
    ),
    "torchvision alexnet": Pair(
        of_torchvision("alexnet", dropout=0.0),
        form(AlexNet, variant="torchvision"),
        dense=True,
        sizes=((2, 224, 224), (1, 261, 243)),
        small=(2, 127, 127),
        stages={"conv1": "features.1", "conv2": "features.4", "conv3": "features.7", "conv4": "features.9"}
        | {"conv5": "features.11"},
        swaps=(("features.8.bias", "features.10.bias", "main"), ("classifier.1.bias", "classifier.4.bias", "main")),
        cost=measure.Cost(61_100_840, 714_188_480),
        side=224,
    ),
    "torchvision vgg16": Pair(
        of_torchvision("vgg16", init_weights=False, dropout=0.0),
        form(VGG16),
        dense=True,
        sizes=((1, 224, 224), (1, 259, 243)),
        small=(2, 64, 64),
        stages={"pool1": "features.4", "pool2": "features.9", "pool3": "features.16", "pool4": "features.23"}
        | {"pool5": "features.30"},
        swaps=(("features.12.weight", "features.14.weight", "main"), ("features.26.bias", "features.28.bias", "main")),
        cost=measure.Cost(138_357_544, 15_470_264_320),
        side=224,
    ),
    "torchvision vgg19_bn": Pair(
        of_torchvision("vgg19_bn", init_weights=False, dropout=0.0),
        form(VGG16, blocks=(2, 2, 4, 4, 4), norm="bn"),
        dense=True,
        sizes=((2, 96, 96), (1, 131, 97)),  # the rest is in vgg16
        small=(3, 64, 64),
        stages={"pool1": "features.6", "pool2": "features.13", "pool3": "features.26", "pool4": "features.39"}
        | {"pool5": "features.52"},
        swaps=(
            ("features.30.weight", "features.33.weight", "main"),
            ("features.30.bias", "features.33.bias", "main"),
            ("features.44.running_mean", "features.47.running_mean", "main"),
            ("features.46.bias", "features.47.bias", "main"),
        ),
        unseen=({"eps": 1e-3},),
        cost=measure.Cost(143_678_248, 19_632_062_464),
        side=224,
        more=5_504,  # biases before batch norm
    ),
}


@dataclass
class Found:
    """A pair at work: their network with random weights in evaluation mode, in float64."""

    pair: Pair
    theirs: nn.Module

    def ours(self, state=None, dtype=torch.float64, **changes) -> nn.Module:
        """Ours with their weights, or with those of another state dict of theirs."""
        model = self.pair.ours(**changes)
        model = (thin(model) if self.pair.dense else model).to(dtype)
        return weights.load_reference(model, self.theirs.state_dict() if state is None else state).eval()

    def outputs_of_theirs(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits by our names. In evaluation mode theirs leave the auxiliary classifiers out."""
        pair, seen, model = self.pair, {}, self.theirs
        watched = {place for both in pair.aux.values() for place in both} | ({pair.trunk} if pair.trunk else set())
        handles = [
            model.get_submodule(place).register_forward_hook(lambda _, x, out, place=place: seen.update({place: out}))
            for place in watched
        ]
        logits = model(x)
        for handle in handles:
            handle.remove()
        logits = logits if isinstance(logits, torch.Tensor) else logits[0]
        found = {"main": seen[pair.trunk].flatten(1) if pair.trunk else logits}
        for stage, (feeds, head) in pair.aux.items():
            found[stage] = seen[head] if head in seen else model.get_submodule(head)(seen[feeds])
        return found

    def outputs_of_ours(self, model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.pair.trunk:
            for stage in model.stages.values():
                x = stage(x)
            return {"main": x.mean((2, 3))}
        logits, aux = model.forward_with_aux(x)
        return {"main": logits, **aux}


@pytest.fixture(scope="module", params=PAIRS)
def found(request):
    pair = PAIRS[request.param]
    theirs = pair.theirs(CLASSES)
    return Found(pair, peers.randomize(thin(theirs) if pair.dense else theirs).double().eval())


def thin(model: nn.Module) -> nn.Module:
    """AlexNet or VGG with hidden layers of 64 in place of 4096, which take gigabytes and show nothing more."""
    head = model.head if hasattr(model, "head") else model.classifier
    first, second, last = (place for place, layer in enumerate(head) if isinstance(layer, nn.Linear))
    head[first], head[second] = nn.Linear(head[first].in_features, 64), nn.Linear(64, 64)
    head[last] = nn.Linear(64, head[last].out_features)
    return model


def pictures(batch: int, height: int, width: int) -> torch.Tensor:
    """Clouds with some noise: pictures of noise alone would all look alike to a network that averages."""
    make = torch.Generator().manual_seed(1)
    clouds = torch.randn(batch, 3, 5, 5, dtype=torch.float64, generator=make)
    noise = torch.randn(batch, 3, height, width, dtype=torch.float64, generator=make)
    return F.interpolate(clouds, (height, width), mode="bicubic") + 0.3 * noise


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the largest value."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def difference(ours: dict, theirs: dict) -> float:
    """The worst of the outputs."""
    assert set(ours) == set(theirs)
    return max(apart(ours[key], theirs[key]) for key in ours)


@torch.no_grad()
def test_outputs_are_equal(found):
    """In evaluation mode, at the full size and at an odd one, in single and in double precision."""
    pair = found.pair
    models = {dtype: found.ours(dtype=dtype) for dtype in BOUNDS}
    for size in pair.sizes:
        x = pictures(*size)
        want = found.outputs_of_theirs(x)
        for dtype, bound in BOUNDS.items():
            assert difference(found.outputs_of_ours(models[dtype], x.to(dtype)), want) < bound, (size, dtype)
        if size[0] > 1:  # the pictures do matter
            assert min(apart(out[:1], out[1:2]) for out in want.values()) > 0.02
    assert set(want) == {"main", *pair.aux}


def test_training_is_equal(found):
    """Batch statistics, gradients at the picture and at every weight, and the running statistics after the step."""
    x, model = pictures(*found.pair.small), found.ours().train()
    before = {key: value.clone() for key, value in found.theirs.named_buffers()}
    found.theirs.train()
    try:
        outputs, slope = step(found.outputs_of_theirs, x)
        after = {key: value.clone() for key, value in found.theirs.named_buffers()}
        grads = {key: p.grad for key, p in found.theirs.named_parameters() if p.grad is not None}
    finally:
        found.theirs.zero_grad()
        found.theirs.eval().load_state_dict(before, strict=False)
    assert not any(torch.equal(before[key], after[key]) for key in before if not key.startswith("last_bn."))

    our_outputs, our_slope = step(lambda x: found.outputs_of_ours(model, x), x)
    assert difference(our_outputs, outputs) < 1e-11
    assert apart(our_slope, slope) < 1e-9 and slope.abs().max() > 1e-6

    # what theirs has learned from the step, under our names; biases before batch norm have no slope and no place
    state = found.theirs.state_dict()
    statistics = dict(found.ours(state | after).named_buffers())
    for key, value in model.named_buffers():
        torch.testing.assert_close(value, statistics[key], rtol=1e-10, atol=1e-12, msg=lambda text, key=key: key + text)
    slopes = dict(found.ours(state | grads).named_parameters())
    for key, parameter in model.named_parameters():
        if not (found.pair.trunk and key.startswith("head.")):
            # measured against the whole tensor; some slopes are 0: those of biases that batch norm takes away again
            want = slopes[key].detach()
            assert (parameter.grad - want).abs().max() < 1e-8 * want.abs().max() + 1e-13, key


def step(outputs: Callable, x: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """One forward and backward pass -> the outputs and the slope at the picture; the slopes of weights stay there."""
    x = x.clone().requires_grad_()
    found = outputs(x)
    make = torch.Generator().manual_seed(2)
    pushes = [torch.randn(found[key].shape, dtype=x.dtype, generator=make) for key in sorted(found)]
    torch.autograd.backward([found[key] for key in sorted(found)], pushes)
    return {key: out.detach() for key, out in found.items()}, x.grad


def test_every_tensor_of_theirs_is_felt(found):
    """A weight that no output depends on could be paired with anything."""
    sum(out.square().sum() for out in found.outputs_of_theirs(pictures(*found.pair.small)).values()).backward()
    grads = {key: p.grad for key, p in found.theirs.named_parameters()}
    found.theirs.zero_grad()
    heads = ("last_linear.", "last_bn.") if found.pair.trunk else ()
    # slopes at a batch norm's bias are those at its running mean, up to a factor
    numb = [key for key, grad in grads.items() if not key.startswith(heads) and (grad is None or not grad.any())]
    assert not numb


@torch.no_grad()
def test_two_exchanged_tensors_are_noticed(found):
    """Shapes would not tell: the comparison of outputs must, and exactly where the tensors lie."""
    x = pictures(*found.pair.small)
    want = found.outputs_of_theirs(x)
    for one, other, seen_by in found.pair.swaps:
        state = dict(found.theirs.state_dict())
        assert state[one].shape == state[other].shape
        state[one], state[other] = state[other], state[one]
        got = found.outputs_of_ours(found.ours(state), x)
        apart_by = {key: apart(got[key], want[key]) for key in want}
        assert {key for key, value in apart_by.items() if value > 1e-4} == set(seen_by.split()), (one, apart_by)
        assert all(value < BOUNDS[torch.float64] for key, value in apart_by.items() if key not in seen_by.split())


@torch.no_grad()
def test_what_no_tensor_tells_is_noticed(found):
    """Borders of pools, epsilon, scales of residuals: weights fit both ways, outputs do not."""
    x = pictures(*found.pair.small)
    want = found.outputs_of_theirs(x)
    for changes in found.pair.unseen:
        assert difference(found.outputs_of_ours(found.ours(**changes), x), want) > 5 * BOUNDS[torch.float32], changes


@torch.no_grad()
def test_stages_are_equal_under_both_names(found):
    """Each stage hands on the same, so that a mistake that a later one mends would be seen."""
    x, seen, handles = pictures(*found.pair.small), {}, []
    for stage, name in found.pair.stages.items():
        module = found.theirs.get_submodule(name.removeprefix(">"))
        if name.startswith(">"):
            handles += [module.register_forward_pre_hook(lambda _, x, s=stage: seen.update({s: x[0].clone()}))]
        else:
            handles += [module.register_forward_hook(lambda _, x, out, s=stage: seen.update({s: out.clone()}))]
    found.theirs(x)
    for handle in handles:
        handle.remove()
    assert set(seen) == set(found.pair.stages)
    model, compared = found.ours(), set()
    for stage, module in model.stages.items():
        x = module(x)
        if stage in seen:
            assert apart(x, seen[stage]) < BOUNDS[torch.float64], stage
            compared.add(stage)
    assert compared == set(seen)
    if not isinstance(model, VGG16):  # there, whole groups are compared
        assert compared == {stage for stage, module in model.stages.items() if list(module.parameters())}


@pytest.mark.parametrize("name", PAIRS)
def test_counts_are_equal(name):
    pair = PAIRS[name]
    classes = 512 if pair.trunk else 1000
    with torch.device("meta"):
        theirs, ours = pair.theirs(classes), pair.ours(classes)
    found = measure.count(theirs, pair.side)
    assert found == pair.cost
    assert measure.count(ours, pair.side) == measure.Cost(found.params - pair.more, found.macs)


@torch.no_grad()
def test_papers_inception_resnet_v1_is_facenets_without_its_last_block():
    """So the paper's network is compared too, up to its head: in everything that facenet took over."""
    theirs = peers.randomize(peers.facenet().InceptionResnetV1()).double().eval()
    whole = weights.load_reference(PAIRS["facenet-pytorch InceptionResnetV1"].ours().double(), theirs.state_dict())
    paper = InceptionResNetV1(CLASSES).double()
    state = {key: value for key, value in whole.state_dict().items() if not key.startswith("stages.C6.")}
    paper.load_state_dict(state)
    seen = {}
    theirs.repeat_3.register_forward_hook(lambda layer, x, out: seen.update(out=out))
    x = pictures(1, 299, 299)
    theirs(x)
    for stage in paper.eval().stages.values():
        x = stage(x)
    assert apart(x, seen["out"]) < BOUNDS[torch.float64]


def test_a_peer_that_is_missing(monkeypatch):
    """Is a failure where CI is set, and else a skip with its reason."""
    monkeypatch.setattr(peers, "_imported", lambda name: f"{name} cannot be imported: gone")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="timm cannot be imported: gone"):
        peers.timm()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="timm cannot be imported: gone"):
        peers.timm()


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
