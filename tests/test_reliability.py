"""Bad input to every public part of the package: each slip gets a sentence that says what came and what was wanted.

A row of `SLIPS` is one slip: the call as somebody would write it, the error, and words of it (a regular expression).
The innermost line of each traceback lies in the package, so no slip travels into torch's depths, and none is slow.
"""

import contextlib
import importlib
import io
import os
import re
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import inception_lessons
from inception_lessons import baselines, data, experiments, export, googlenet, measure, train, weights
from inception_lessons.__main__ import main

PACKAGE = Path(inception_lessons.__file__).parent
MODULES = (
    "layers", "batch_norm", "baselines", "googlenet", "bn_inception", "inception_v3", "inception_v4",
    "inception_resnet", "data", "train", "measure", "look", "weights", "plots", "experiments", "fetch", "export",
    "assignments", "locks", "processes",
)  # fmt: skip
V, F, N, D = ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError

SLIPS = [
    # layers
    ("layers.channels(0, 1.0)", V, "count of filters is a whole number of at least 1, not 0"),
    ("layers.channels(-8, 0.5)", V, "count of filters is a whole number of at least 1, not -8"),
    ("layers.channels(6.5, 0.5)", V, "count of filters is a whole number of at least 1, not 6.5"),
    ("layers.channels(64, nan)", V, "width is a number above 0 .*, not nan"),
    ("layers.channels(64, -1)", V, "width is a number above 0 .*, not -1"),
    ("layers.channels(64, 'x')", V, "width is a number above 0 .*, not 'x'"),
    ("layers.same(4)", V, "kernels of odd size keep the grid, not 4"),
    ("layers.same((1, 2))", V, r"kernels of odd size keep the grid, not \(1, 2\)"),
    ("layers.same(0)", V, "kernels of odd size keep the grid, not 0"),
    ("layers.conv(0, 4, 3)", V, "c_in is a whole number of at least 1, not 0"),
    ("layers.conv(3, -4, 3)", V, "c_out is a whole number of at least 1, not -4"),
    ("layers.conv(3, 4, 2)", V, "kernels of odd size keep the grid, not 2: say padding"),
    ("layers.conv(3, 4, 3, 0)", V, "stride is a whole number of at least 1, not 0"),
    ("layers.conv_bn(3, 0, 3)", V, "c_out is a whole number of at least 1, not 0"),
    ("layers.conv_bn(3, 4, (3, -1))", V, "kernel is a whole number of at least 1, not -1"),
    ("layers.Concat()", V, "one module or more, each with a name of its own, but there is none"),
    ("layers.Concat(a=same, half=same)", V, "'half' is a name that torch needs itself"),
    ("layers.Concat(a=same, b=nn.MaxPool2d(2))(x)", V, r"end on one grid, but here .* a \(32, 32\), b \(16, 16\)"),
    ("layers.fold(net.train())", V, "only a network in evaluation mode can be folded"),
    # networks
    ("net(None)", V, r"images as a tensor \(N, 3, H, W\), not as NoneType"),
    ("net(np.zeros((1, 3, 32, 32)))", V, "as a tensor .* not as ndarray"),
    ("v1(torch.zeros(1, 3, 4, 32))", V, r"at least 7 x 7 pixels, not \(4, 32\)"),
    ("googlenet.GoogLeNet(width=inf)", V, "width is a number above 0 .*, not inf"),
    ("googlenet.GoogLeNet(width=1000)", V, "width is a number above 0 and at most 4 .*, not 1000"),
    ("googlenet.GoogLeNet(10**12)", V, "num_classes is a whole number of at most 100,000, not 1000000000000"),
    ("googlenet.GoogLeNet(blocks=(10**6, 5, 2))", V, r"at most \(2, 5, 2\), not \(1000000, 5, 2\)"),
    ("bn_inception.BNInception(width=1000)", V, "width is a number above 0 and at most 4 .*, not 1000"),
    ("inception_v3.InceptionV3(width=1000)", V, "width is a number above 0 and at most 4 .*, not 1000"),
    ("inception_v4.InceptionV4(width=1000)", V, "width is a number above 0 and at most 4 .*, not 1000"),
    ("inception_v4.InceptionV4(blocks=(10**6, 7, 3))", V, r"or above 100, not \(1000000, 7, 3\)"),
    ("inception_resnet.InceptionResNetV1(width=1000)", V, "width is a number above 0 and at most 4 .*, not 1000"),
    ("inception_resnet.InceptionResNetV2(blocks=(5, 10**6, 5))", V, r"or above 100, not \(5, 1000000, 5\)"),
    ("baselines.AlexNet(width=1000)", V, "width is a number above 0 and at most 4 .*, not 1000"),
    ("baselines.NIN(10**12)", V, "num_classes is a whole number of at most 100,000, not 1000000000000"),
    ("baselines.VGG16(blocks=(10**6, 2, 3, 3, 3))", V, r"or above 100, not \(1000000, 2, 3, 3, 3\)"),
    ("baselines.Plain.laptop(width=1000)", V, "width is a number above 0 and at most 4 .*, not 1000"),
    ("googlenet.Inception(0, 1, 1, 1, 1, 1, 1)", V, "c_in is a whole number of at least 1, not 0"),
    ("googlenet.Inception(3, -1, 1, 1, 1, 1, 1)", V, "c_out is a whole number of at least 1, not -1"),
    # batch norm
    ("batch_norm.BatchNorm2d(0)", V, "num_features is a whole number of at least 1, not 0"),
    ("batch_norm.BatchNorm2d('8')", V, "num_features is a whole number of at least 1, not '8'"),
    ("batch_norm.BatchNorm2d(3, eps=-1)", V, "eps is at least 0 .* not -1 and 0.1"),
    ("batch_norm.BatchNorm2d(3, momentum=2)", V, "momentum from 0 to 1, not 1e-05 and 2"),
    # data
    ("data.normalize(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))", V, "floating-point .* not torch.uint8"),
    ("data.normalize(np.zeros((3, 4, 4)))", V, "floating-point tensor .* not ndarray"),
    ("data.denormalize(torch.zeros(1, 3, 4, 4, dtype=torch.int64))", V, "floating-point .* not torch.int64"),
    ("data.digits_in_the_wild(sizes=5)", V, "sizes must be a least and a greatest size .* not 5"),
    ("data.digits_in_the_wild(sizes=('a', 'b'))", V, r"sizes must be a least and a greatest .* not \('a', 'b'\)"),
    ("data.digits_in_the_wild(sizes=(nan, 20))", V, r"sizes must be .* not \(nan, 20\)"),
    ("data.digits_in_the_wild(counts=5)", V, "counts must be three numbers.* not 5"),
    ("data.digits_in_the_wild(place=nan)", V, "place must be a number from 0 to 1, not nan"),
    ("data.cifar10(here / 'text.txt')", V, "text.txt is damaged or no .tar.gz archive"),
    ("data.image_folder(here / 'text.txt')", F, "there is no folder .*text.txt"),
    ("data.Split(3, 4)", V, r"pixels must be a tensor \(N, H, W, 3\) uint8, not int 3"),
    ("data.Split(pixels.numpy(), labels)", V, r"must be a tensor .* not ndarray \(40, 32, 32, 3\) uint8"),
    ("data.Split(pixels, [0] * 40)", V, r"labels must be a tensor \(40,\) int64, not list"),
    ("data.Split(pixels, labels - 5)", V, "labels count classes from 0, but label -5 is among them"),
    ("data.Split(pixels, labels, {'size': 3})", V, "factor 'size' must be a tensor .* not int 3"),
    ("split.batches(4, device='tpu')", V, "device must be one that torch knows, .* not 'tpu'"),
    ("split.batches(4, share=3)", V, r"share must be a pair, .* as in \(2, 8\), not 3"),
    ("split.batches(4, share=(1, 2, 3))", V, r"share must be a pair, .* not \(1, 2, 3\)"),
    ("split.take('all')", V, "take wants a count or a list of positions, not 'all'"),
    ("split.take(None)", V, "take wants a count or a list of positions, not None"),
    ("data.fingerprint(split)", V, "fingerprint wants an ImageSet, with its three splits, not Split"),
    ("data.Augment()(5, None)", V, r"Augment wants a batch \(B, channels, H, W\), not int 5"),
    # training
    ("train.Recipe(steps=True)", V, "steps is a whole number of at least 1, not True"),
    ("train.Recipe(lr='fast')", V, "lr is a number above 0, not 'fast'"),
    ("train.Recipe(lr=None)", V, "lr is a number above 0, not None"),
    ("train.Recipe(momentum='x')", V, "momentum is at least 0 and below 1, not 'x'"),
    ("train.Recipe(clip='x')", V, "clip is a number above 0 or None, not 'x'"),
    ("train.Recipe(average='x')", V, "average is above 0 and below 1 or None, not 'x'"),
    ("train.Recipe(weight_decay=nan)", V, "weight_decay is at least 0 and below inf, not nan"),
    ("train.Recipe(optimizer=['sgd'])", V, r"optimizer is one of 'sgd', .* not \['sgd'\]"),
    ("train.Recipe(steps=10).rate(10)", V, "steps 0 to 9, not 10"),
    ("train.Recipe(steps=10).rate(-1)", V, "steps 0 to 9, not -1"),
    ("train.History(train.Recipe()).smoothed(0)", V, "window is a whole number of at least 1, not 0"),
    ("train.History(train.Recipe()).final_loss(-2)", V, "window is a whole number of at least 1, not -2"),
    ("fit(net, images)", V, "train is a split, with batches.*, not ImageSet: say which .* images.train"),
    ("fit(net, None)", V, "train is a split, .* not NoneType"),
    ("fit(net, split, images)", V, "validation is a split, .* not ImageSet"),
    ("fit(net, split, recipe='fast')", V, "recipe is a train.Recipe, not 'fast'"),
    ("fit(net, split, seed='x')", V, "seed is a whole number, not 'x'"),
    ("fit(net, split, seed=None)", V, "seed is a whole number, not None"),
    ("fit(net, split, device='tpu')", V, "device is one that is here .*cpu.*, not 'tpu'"),
    ("fit(net, split, device='cuda:99')", V, "device is one that is here .*cpu.*, not 'cuda:99'"),
    ("fit(net, split, watch=4)", V, "watch is a function .* not 4"),
    ("fit(net, split, validate_every=0)", V, "validate_every is a whole number of at least 1, not 0"),
    ("fit(net, split, validate_every='x')", V, "validate_every is a whole number of at least 1, not 'x'"),
    ("fit(net, split, keep=4)", V, r"keep has load\(\), save\(state\) and every, and 4 does not"),
    ("fit(net, split, augment=4)", V, "augment must be a function .* not 4"),
    ("fit(3, split)", V, "the network is a torch.nn.Module, not 3"),
    ("fit(googlenet.GoogLeNet, split)", V, r"Module, not GoogLeNet itself: build one of it, with \(\)"),
    ("fit(nn.Flatten(), split)", V, "this Flatten has no weights that could learn"),
    ("fit(net, Stream(x, torch.zeros(2)))", V, r"labels are whole numbers \(N,\), not \(2,\) torch.float32"),
    ("fit(net, Stream(x, torch.tensor([0, -1])))", V, "labels count classes from 0, but label -1 came"),
    ("fit(net, Stream(x, torch.tensor([0, 9])))", V, "the network has 4 outputs, but label 9 came"),
    ("train.evaluate(net, Stream(x, torch.tensor([0, 9])))", V, "the network has 4 outputs, but label 9 came"),
    ("train.evaluate(net, images)", V, "a split, .* not ImageSet: say which"),
    ("train.evaluate(3, split)", V, "the network is a torch.nn.Module, not 3"),
    ("train.evaluate(net, split.take(0))", V, "this split has no examples to evaluate on"),
    ("train.predict(net, 3)", V, "a split, .* not int"),
    # measuring
    ("measure.count(net, -5)", V, r"size is a side in pixels, or \(height, width\), .* not -5"),
    ("measure.count(net, 'x')", V, "size is a side in pixels, .* not 'x'"),
    ("measure.count(net, 32.0)", V, "size is a side in pixels, .* not 32.0"),
    ("measure.count(net, (32,))", V, r"size is a side in pixels, .* not \(32,\)"),
    ("measure.count(v1, 4)", V, r"at least 7 x 7 pixels, not \(4, 4\)"),
    ("measure.depth(net, 0)", V, "size is a side in pixels, .* not 0"),
    ("measure.receptive_field(net, 'conv1', -4)", V, "size is a whole number of at least 1, not -4"),
    ("measure.receptive_field(nn.ReLU(), '3a')", V, "no stage '3a'; this network has none with names"),
    ("measure.memory(net, 32, moments=-1)", V, "moments is a whole number of at least 0, not -1"),
    ("measure.gradient_norms(net, lambda net: net(x))", V, r"a tensor with one number, not a tensor \(2, 4\)"),
    ("measure.gradient_norms(net, lambda net: 3)", V, "a tensor with one number, not 3"),
    ("measure.calibration(logits, [0] * 6)", V, r"labels are a tensor \(6,\), not list"),
    ("measure.calibration([[1.0]], labels)", V, r"logits are a tensor \(examples, classes\), not list"),
    ("measure.calibration(logits, labels[:6] * 0, bins=True)", V, "bins is a whole number of at least 1, not True"),
    ("measure.logit_gap(logits * nan)", V, "logits must be numbers, but some are infinite or nan"),
    ("measure.agreement(logits, 3)", V, "logits are a tensor .* not int"),
    ("measure.speed(net, torch.zeros(0, 3, 32, 32), batches=1)", V, "there are no images to take the time with"),
    ("measure.spent(net, 32, burn_in=-1)", V, "burn_in is how many batches are not counted, not -1"),
    ("measure.roofs(turns=0)", V, "turns is a whole number of at least 1, not 0"),
    # looking
    ("look.activations(net, x, 'conv1')", V, r"stages is a list of names, as in \['conv1'\], not 'conv1'"),
    ("look.activations(nn.ReLU(), x)", V, "has named stages, and this ReLU has none"),
    ("look.correlation(torch.zeros(3, 4))", V, r"activations are \(N, C, H, W\), .* not \(3, 4\)"),
    ("look.correlation(torch.zeros(0, 3, 4, 4))", V, r"at least one of each, not \(0, 3, 4, 4\)"),
    ("look.correlation(torch.full((2, 3, 4, 4), nan))", V, "must be numbers, but some are infinite or nan"),
    ("look.within_and_across(torch.eye(3), ['a', 'b'])", V, r"2 channels .* rows and columns, not \(3, 3\)"),
    ("look.responses(net, x, 'conv1', batch_size=0)", V, "batch_size is a whole number of at least 1, not 0"),
    ("look.responses(nn.ReLU(), x, '3a')", V, "has named stages, and this ReLU has none"),
    ("look.strongest(net, x, 'conv1', 1.5)", V, "no channel 1.5: .* has 4, from 0 to 3"),
    ("look.strongest(net, x, 'conv1', 0, count=-1)", V, "count is a whole number of at least 1, not -1"),
    ("look.pairs_right(logits[:, 0], logits[:, 1], nan)", V, "share is a number from 0 to 1, not nan"),
    ("look.occlusion(net, x, [0.5, 1.5])", V, "classes are whole numbers, not torch.float32"),
    ("look.occlusion(net, x, [0, 1], fill=torch.zeros(4))", V, r"fill is a number or a colour \(3,\), not .*\(4,\)"),
    ("look.occlusion(net, x, [0, 1], fill='grey')", V, "fill is a number or a colour .* not 'grey'"),
    ("look.occlusion(net, x, [0, 1], batch_size=0)", V, "batch_size is a whole number of at least 1, not 0"),
    ("look.places(32, 1.5, 1)", V, "a patch of 1.5 px every 1 px does not fit into 32 px"),
    # files of weights
    ("weights.load(None)", V, "the name of a checkpoint, or a path, not None"),
    ("weights.load(here / 'noise.safetensors')", V, "noise.safetensors is damaged or not a safetensors file"),
    ("weights.load(here / 'folder.safetensors')", F, "no checkpoint .*folder.safetensors.*; shipped are: googlenet"),
    ("weights.build(['GoogLeNet'], {})", V, r"network is one of GoogLeNet, .* not \['GoogLeNet'\]"),
    ("weights.save(here / 'o.safetensors', net, dict(network='VGG17', settings={}))", V, "'VGG17', and there are Goog"),
    ("weights.save(here / 'text.txt' / 'o', net, about)", N, "o cannot be written into .*text.txt is no folder"),
    ("weights.save(here / 'folder.safetensors', net, about)", D, "folder.safetensors is a folder"),
    ("weights.Preprocess('x', 224, (0, 0, 0), (1, 1, 1))", V, "crop must be from 1 to resize, which is x, not 224"),
    ("weights.Preprocess(256, 224, (0, 0), (1, 1, 1))", V, r"three numbers each, std above 0, not \(0, 0\) and"),
    ("weights.Preprocess(256, 224, (0, 0, 0), (1, 1, 0))", V, r"std above 0, not \(0, 0, 0\) and \(1, 1, 0\)"),
    ("weights.pretrained('googlenet', here)", F, "there is no file .*; wanted googlenet-1378be20.pth"),
    # addresses
    ("fetch.download(here / 'f', ['file:///etc/hosts'], sha256=digits)", V, "https:// .* and 'file:///etc/hosts' does"),
    ("fetch.download(here / 'f', ['nowhere'], sha256=digits)", V, "begins with https:// .* and 'nowhere' does not"),
    ("fetch.download(here / 'f', [''], sha256=digits)", V, "begins with https:// .* and '' does not"),
    ("fetch.download(here / 'f', [3], sha256=digits)", V, r"must be a list of addresses, not \[3\]"),
    # claims
    ("experiments.find(None)", V, "no experiment None; there are N1, N2"),
    ("experiments.run('N1', seeds='x')", V, "at least 5 seeds, not 'x'"),
    ("experiments.run('N1', workers=0)", V, "workers are processes, at least 1, not 0"),
    ("experiments.run('N1', dataset='imagenet')", V, "no data set 'imagenet'; there are digits, mnist"),
    ("experiments.run('N1', dataset='noise')", V, "N1 runs on digits.*, not on 'noise'"),
    ("experiments.results('N1', here / 'damaged')", V, "N1.json is damaged .*run python -m inception_lessons"),
    ("experiments.results('N1', here / 'another')", V, "N1.json was made under other settings than N1 has now"),
    ("experiments.run_one('N1', 'zz')", V, "N1 has no arm 'zz'; it has reduced, naive"),
    ("experiments.images_of('imagenet')", V, "no data set 'imagenet'; there are digits, mnist"),
    ("experiments.interval([1.0, nan])", V, r"is of numbers, and among these .* \[1.0, nan\]"),
    ("experiments.interval(['a', 'b'])", V, r"is of numbers, .* \['a', 'b'\]"),
    ("experiments.paired(arms, 'a', 'c', 'v')", V, "no arm 'c'; there are a, b"),
    ("experiments.paired(arms, 'a', 'b', 'w')", V, "the runs of 'a' have no 'w'"),
    ("experiments.paired(arms | dict(b=[]), 'a', 'b', 'v')", V, "'a' has 2 runs and 'b' 0: no pairs"),
    ("experiments.log_ratios(arms, 'a', 'b', 'v')", V, "only what is above 0 has a ratio, .* 0"),
    ("experiments.log(9)", V, "belongs to lesson '9'; it runs from '01' to '05'"),
    ("experiments.where(here / 'nothing')", F, "there is no folder .*nothing: wanted the one with the lessons"),
    ("experiments.where(here / 'pages')", V, "01_page.ipynb is not a readable notebook"),
    # charts
    ("plots.pictures(x[0])", V, r"images of shape \(N, 3, H, W\), not a tensor \(3, 32, 32\)"),
    ("plots.pictures(x[:, :1])", V, r"shape \(N, 3, H, W\), not a tensor \(2, 1, 32, 32\)"),
    ("plots.pictures('x')", V, r"shape \(N, 3, H, W\), not 'x'"),
    ("plots.pictures(x, columns=0)", V, "columns is a whole number of at least 1, not 0"),
    ("plots.losses(3)", V, "loss curves by name, .* not 3"),
    ("plots.losses({'a': 3})", V, "a should have a list of curves, .* has 3"),
    ("plots.losses({'a': [[1.0]]}, every=0)", V, "every is a whole number of at least 1, not 0"),
    ("plots.bars({}, ylabel='', title='', alt=alt)", V, "there are no bars to draw"),
    ("plots.seeds({'a': [1.0]}, {}, xlabel='', title='', alt=alt)", V, "a has 1 values and no interval"),
    ("plots.maps(x[0], x[0], {}, title='', alt=alt)", V, r"a map \(h, w\), not .*\(3, 32, 32\) and .*\(3, 32, 32\)"),
    ("plots.maps(x[0], x[0, 0], {}, title='', alt=alt)", V, r"rows {label: \(count, h, w\)}, not nothing"),
    ("plots.matrix(torch.eye(3), ['a'], title='', alt=alt)", V, r"1 groups go with .* not with a tensor \(3, 3\)"),
    ("plots.module(3, -1, 1, 1, 1, 1, 1)", V, "n1 is a whole number of at least 1, not -1"),
    ("plots.module(3, 1, 1, 1, 1, 1, 1, grid=0)", V, "grid is a whole number of at least 1, not 0"),
    ("plots.shares({}, xlabel='', title='', alt=alt)", V, "there are no rows to share out"),
    ("plots.roofline({}, 1.0, 1.0, title='', alt=alt)", V, "there are no points to draw"),
    ("plots.Chart(None, 'title', None)", V, "alt says in a sentence what the chart shows; got None"),
]  # fmt: skip


class Stream:
    """A training set of one batch that comes as it is, which nothing has checked."""

    def __init__(self, images, labels):
        self.rows = images, labels

    def batches(self, batch_size, **options):
        yield self.rows


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the calls of `SLIPS` speak of."""
    here = tmp_path_factory.mktemp("slips")
    (here / "text.txt").write_text("hello")
    (here / "noise.safetensors").write_bytes(os.urandom(500))
    (here / "folder.safetensors").mkdir()
    for folder, text in (("damaged", '{"runs": ['), ("another", '{"runs": [], "settings_hash": "0"}')):
        (here / folder).mkdir()
        (here / folder / "N1.json").write_text(text)
    (here / "pages").mkdir()
    (here / "pages" / "01_page.ipynb").write_text("this is no JSON")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 32, 32, 3), generator=generator).to(torch.uint8)
    labels = torch.arange(40) % 4
    split = data.Split(pixels, labels)

    def fit(model, *sets, recipe=None, **options):
        recipe = recipe or train.Recipe(steps=1, batch_size=2)
        return train.fit(model, *sets, recipe=recipe, progress=False, **options)

    modules = {name: importlib.import_module(f"inception_lessons.{name}") for name in MODULES}
    return modules | {
        "torch": torch, "nn": nn, "np": np, "nan": float("nan"), "inf": float("inf"), "same": nn.Identity(),
        "v1": googlenet.GoogLeNet.laptop(4, width=0.0625), "net": baselines.Plain.laptop(4, width=0.05),
        "x": torch.randn(2, 3, 32, 32, generator=generator),
        "logits": torch.randn(6, 3, generator=generator), "pixels": pixels, "labels": labels, "split": split,
        "images": data.ImageSet("toy", split, split, split, tuple("abcd"), "made here"), "fit": fit, "Stream": Stream,
        "here": here, "about": {"network": "Plain", "settings": {}}, "digits": "a" * 64,
        "arms": {"a": [{"v": 1}, {"v": 2}], "b": [{"v": 1}, {"v": 0}]}, "alt": "A sentence that is long enough.",
    }  # fmt: skip


@pytest.mark.parametrize("call, kind, words", SLIPS, ids=[call for call, _, _ in SLIPS])
def test_a_slip_gets_a_sentence(names, call, kind, words):
    names["net"].eval()
    state = torch.get_rng_state()
    start = time.process_time()
    with pytest.raises(kind, match=words) as caught:
        eval(call, dict(names))
    assert time.process_time() - start < 1.5, "of the processor's time; imports on the way count"
    last = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert PACKAGE in last.parents, f"the error comes out of {last.name}"
    assert torch.equal(torch.get_rng_state(), state), "a call that is refused costs no random numbers"


def test_the_slips_are_many_and_each_is_another():
    calls = [call for call, _, _ in SLIPS]
    assert len(calls) >= 100 and len(set(calls)) == len(calls)


def test_what_is_right_is_not_refused(names):
    """The checks above let pass what stands beside each slip."""
    right = (
        "layers.channels(64, 0.5)", "layers.conv(3, 4, (1, 3), (1, 2))", "layers.conv(3, 4, 2, padding=0)(x)",
        "layers.Concat(a=same, b=nn.Conv2d(3, 5, 1))(x)", "data.normalize(x.double())", "split.take([1, -1])",
        "split.batches(4, share=(1, 2))", "train.Recipe(lr=1)", "train.Recipe(lr=np.float32(0.5))",
        "train.Recipe(steps=10).rate(9)", "fit(net, split, split, seed=np.int64(3), validate_every=1)",
        "measure.count(net, (32, 40))", "look.places(32, 8, 4)", "look.occlusion(net, x, [0, 1], fill=torch.zeros(3))",
        "experiments.interval([1, 2.5])", "plots.pictures(x)", "plots.losses({}, live=[1.0])",
        "plots.losses({'a': []})", "batch_norm.BatchNorm2d(3, eps=0, momentum=1)(x)",
    )  # fmt: skip
    for call in right:
        eval(call, dict(names))


# ------------------------------------------------------------------------------------------------------- properties

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.lists(st.integers(0, 9), max_size=6))
def test_no_wrong_shape_reaches_a_convolution(names, shape):
    if len(shape) == 4 and shape[1] == 3 and min(shape[2:]) >= names["net"].smallest:
        return
    with pytest.raises(ValueError) as caught:
        names["net"](torch.zeros(shape))
    said = str(caught.value)
    assert "N, 3, H, W" in said and str(tuple(shape)) in said or f"not {tuple(shape[2:])}" in said


FIELDS = [name for name in train.Recipe.__dataclass_fields__ if name not in ("clip", "average")]


@quick
@given(
    st.sampled_from(FIELDS),
    st.one_of(st.none(), st.lists(st.integers()), st.floats(max_value=-1e-9), st.just(float("nan")), st.just("x")),
)
def test_a_recipe_names_the_field_that_is_wrong(field, value):
    with pytest.raises(ValueError) as caught:
        train.Recipe(**{field: value})
    assert field in str(caught.value) and repr(value) in str(caught.value)


@quick
@given(st.text(max_size=12))
def test_an_unknown_name_lists_those_there_are(name):
    assume(name != "LOG" and not re.fullmatch(r"[A-Z]\d[a-z]?", name))  # it may be a claim's
    calls = {
        "GoogLeNet": lambda: weights.build(name, {}), "N1": lambda: experiments.find(name),
        "vgg16": lambda: weights.at_hand(name), "digits": lambda: experiments.images_of(name),
        "V1a": lambda: experiments.claim_of(name), "B4": lambda: experiments.counted_verdict(name),
    }  # fmt: skip
    for known, call in calls.items():
        with pytest.raises(ValueError) as caught:
            call()
        assert known in str(caught.value) and repr(name) in str(caught.value)


@quick
@given(draws=st.data())
def test_a_damaged_checkpoint_is_refused_or_whole(checkpoint, draws):
    """Cut anywhere, or with any byte of its header changed; what has no header's fault may be other numbers."""
    path, whole = checkpoint
    if draws.draw(st.booleans()):
        path.write_bytes(whole[: draws.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(ValueError, match=f"{path.name} "):
            weights.load(path)
        return
    header = 8 + int.from_bytes(whole[:8], "little")
    place, value = draws.draw(st.integers(0, header - 1)), draws.draw(st.integers(0, 255))
    path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
    try:
        weights.load(path)
    except ValueError as error:
        assert path.name in str(error)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "plain.safetensors"
    about = {"network": "Plain", "settings": {"num_classes": 4, "width": 0.05}}
    weights.save(path, baselines.Plain.laptop(4, width=0.05), about)
    return path, path.read_bytes()


@quick
@given(st.one_of(st.binary(max_size=60), st.text(max_size=40).map(str.encode)))
def test_no_results_file_is_trusted(tmp_path, content):
    (tmp_path / "N1.json").write_bytes(content)
    with pytest.raises(ValueError, match="N1.json (is damaged|was made).*run python -m inception_lessons"):
        experiments.results("N1", tmp_path)


@quick
@given(draws=st.data())
def test_a_cut_photograph_is_named(photograph, draws):
    root, path, whole = photograph
    path.write_bytes(whole[: draws.draw(st.integers(0, len(whole) * 9 // 10))])
    with pytest.raises(ValueError, match=r"a/0\.jpg cannot be read as an image: .*on_error"):
        list(image_folder(root).test.batches(2))


def image_folder(root):
    return data.image_folder(root, 16, validation=0.0, workers=0)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """A folder of JPEG files, the one that is to be cut, and its bytes."""
    from PIL import Image

    root = tmp_path_factory.mktemp("photographs")
    for place in ("train", "test"):
        (root / place / "a").mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / place / "a" / "0.jpg")
    path = root / "test" / "a" / "0.jpg"
    return root, path, path.read_bytes()


OPTIONS = ("--steps", "--batch-size", "--lr", "--seed", "--crop", "--size", "--workers", "--save-every", "--set",
           "--momentum", "--clip", "--optimizer", "--schedule", "--precision", "--recipe", "--preset", "--device",
           "--nothing")  # fmt: skip


@quick
@given(st.sampled_from(OPTIONS), st.text(max_size=8))
def test_no_command_line_ends_in_a_traceback(names, option, text):
    """Usage and status 2 where argparse knows better, else a sentence and status 1: the data set is not there."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(["train", "Plain", "--data", "nowhere", "--out", str(names["here"] / "run"), option, text])
        except SystemExit as left:
            status = 2 if left.code else 0
    assert status in (1, 2) or text in ("-h", "--help")
    assert "Traceback" not in said.getvalue() and not (names["here"] / "run").exists()


@pytest.mark.parametrize(
    "line, status, words",
    [
        ("", 2, r"usage: .*train \| experiments"),
        ("learn", 2, r"usage: .*train \| experiments"),
        ("train", 2, "required: NETWORK"),
        ("train VGG17 --data digits --out HERE/run", 2, "invalid choice: 'VGG17'"),
        ("train Plain --data HERE/text.txt --out HERE/run", 1, "there is no folder .*text.txt"),
        ("train Plain --data HERE/toy --out HERE/text.txt --validate-every 1", 1, "text.txt is a file"),
        ("train Plain --data HERE/toy --out HERE/run --device tpu", 1, "device is one that is here .*, not 'tpu'"),
        ("train Plain --data HERE/toy --out HERE/run --device cuda:99", 1, "one that is here .*, not 'cuda:99'"),
        ("train Plain --data HERE/toy --out HERE/run --set width=1000", 1, "width is .* at most 4 .*, not 1000"),
        ("experiments", 2, "required: ID"),
        ("experiments Z9", 1, "no experiment 'Z9'; there are N1"),
        ("experiments N1 --workers 0", 1, "workers are processes, at least 1, not 0"),
        ("experiments N1 --seeds many", 2, "invalid int value: 'many'"),
        ("assignments copy 99_nothing --out HERE/copies", 1, "there is no assignment 99_nothing; there are 01_"),
        ("assignments create HERE", 1, "is not empty and holds no nbgrader_config.py"),
        ("checkpoint --steps 0 --out HERE/o.safetensors", 1, "steps is a whole number of at least 1, not 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:the validation split of")
def test_a_slip_on_the_command_line(names, photograph, capsys, monkeypatch, line, status, words):
    monkeypatch.setattr(data, "digits_in_the_wild", lambda: names["images"])
    there = line.replace("HERE/toy", str(photograph[0])).replace("HERE", str(names["here"]))
    try:
        found = main(there.split())
    except SystemExit as left:
        found = left.code
    printed = capsys.readouterr()
    assert found == status and re.search(words, printed.err, re.DOTALL) and "Traceback" not in printed.err, printed.err
    assert not (names["here"] / "run").exists(), "a slip leaves nothing behind"


def test_a_damaged_onnx_file_is_named(names):
    if export.missing():
        pytest.skip(export.missing())
    noise = names["here"] / "noise.onnx"
    noise.write_bytes(b"not an ONNX file")
    for call in (lambda: export.session(noise), lambda: export.quantize(noise, names["here"] / "q", names["x"])):
        with pytest.raises(ValueError, match="noise.onnx is damaged or no ONNX file"):
            call()
    with pytest.raises(FileNotFoundError, match="there is no ONNX file nothing.onnx: export.to_onnx"):
        export.quantize(names["here"] / "nothing.onnx", names["here"] / "q", names["x"])


def test_what_is_shown_stays_right():
    """Counts of a network are those of before the checks: nothing is computed otherwise."""
    assert measure.count(googlenet.GoogLeNet(), 224).params == 6_998_552
