"""What a network costs and sees: parameters, multiply-adds, the shape of each stage, depth, receptive field, seconds.

Everything here takes any ``nn.Module``. Counting runs on PyTorch's ``meta`` device: shapes without numbers, so that a
network of 40 million parameters is counted in a moment.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cost:
    """Learned numbers, and multiplications in convolution and linear kernels for one image."""

    params: int
    macs: int


@dataclass(frozen=True)
class Stage:
    """One row of a stage table: its name, output shape without the batch, parameters, multiply-adds for one image."""

    name: str
    shape: tuple[int, ...]
    params: int
    macs: int


def count(model: nn.Module, size: int | tuple[int, int] = 224) -> Cost:
    """Network, or one module of it, and grid -> Cost(params, macs). Multiply-adds of what ``forward`` runs; parameters
    of everything.

    Biases, normalization, pooling and activations are not multiply-adds here: that is the papers' way of counting.
    """
    total = 0
    for layer, out in _run_meta(model, size):
        total += _macs(layer, out)
    return Cost(sum(p.numel() for p in model.parameters()), total)


def stages(model: nn.Module, size: int | tuple[int, int] = 224) -> list[Stage]:
    """Network with ``.stages`` -> one row for each named stage, then one for the head."""
    named = stage_modules(model)
    rows = {name: [None, 0] for name in named}
    owner = {layer: name for name, stage in named.items() for layer in stage.modules()}
    tops = {stage: name for name, stage in named.items()}
    for layer, out in _run_meta(model, size):
        name = owner.get(layer)
        if name is not None:
            rows[name][1] += _macs(layer, out)
        if layer in tops:
            rows[tops[layer]][0] = tuple(out.shape[1:])
    return [
        Stage(name, shape, sum(p.numel() for p in named[name].parameters()), macs)
        for name, (shape, macs) in rows.items()
        if shape is not None
    ]


def stage_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Network -> its stages by name, head included. A network without ``.stages`` gives its direct children."""
    if isinstance(getattr(model, "stages", None), nn.ModuleDict):
        named = dict(model.stages.items())
        if isinstance(getattr(model, "head", None), nn.Module):
            named["head"] = model.head
        return named
    return dict(model.named_children())


def depth(model: nn.Module, size: int | tuple[int, int] = 224) -> int:
    """Network -> the number of layers with weights on its longest path, as the papers count depth.

    Counted on autograd's graph of one forward pass, where a branch, a residual sum and a concatenation are what they
    are. A depthwise and a pointwise convolution count as two.
    """
    shadow = _meta_copy(model).requires_grad_(True)
    out = shadow(torch.empty(1, _colours(shadow), *_pair(size), device="meta"))
    longest: dict = {None: 0}  # the graph is too deep for a recursive walk of Python's
    stack = [out.grad_fn]
    while stack:
        node = stack[-1]
        before = [] if node is None else [parent for parent, _ in node.next_functions if parent not in longest]
        if before:
            stack += before
            continue
        stack.pop()
        if node not in longest:
            weighs = node.name().startswith(("ConvolutionBackward", "AddmmBackward", "MmBackward"))
            longest[node] = weighs + max((longest[parent] for parent, _ in node.next_functions), default=0)
    return longest[out.grad_fn]


def transparent(model: nn.Module) -> nn.Module:
    """Network, or any module -> a copy on the processor in which nothing cancels: the gradient of an output counts the
    paths that lead to it from each pixel.

    All weights are positive and equal within a layer, normalization is idle, and averages stand for maxima.
    """
    shadow = copy.deepcopy(model).cpu().eval()
    for name, layer in list(shadow.named_modules(remove_duplicate=False)):  # one pool may stand in two places
        instead = None
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            layer.reset_parameters()
        elif isinstance(layer, nn.MaxPool2d):
            instead = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
        elif isinstance(layer, nn.LocalResponseNorm | nn.BatchNorm2d):  # without statistics: it takes the batch's
            instead = nn.Identity()
        if instead is None:
            continue
        if not name:  # the module itself
            return instead
        _replace(shadow, name, instead)
    return shadow


def receptive_field(model: nn.Module, stage: str, size: int = 224) -> tuple[int, int]:
    """Network and stage name -> height and width in pixels of the part of the image that one unit of the stage can
    see.

    Measured, not derived: in a ``transparent`` copy nothing cancels, so the pixels with a gradient are exactly those
    that can matter. ``size`` must be larger than the answer, or ValueError says so.
    """
    shadow = transparent(model).double()
    named = stage_modules(shadow)
    if stage not in named:
        raise ValueError(f"no stage {stage!r}; this network has {', '.join(named) or 'none with names'}")
    image = torch.ones(1, 3, *_pair(_at_least_one("size", size)), dtype=torch.float64, requires_grad=True)
    seen = {}
    handle = named[stage].register_forward_hook(lambda layer, inputs, out: seen.update(out=out))
    shadow(image)
    handle.remove()
    out = seen["out"]
    if out.ndim != 4:
        raise ValueError(f"{stage} puts out no grid of positions: its units see the whole image")
    centre = out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum()  # all channels: branches see different widths
    touched = torch.autograd.grad(centre, image)[0][0].sum(0) != 0
    rows, columns = touched.any(1).nonzero().flatten(), touched.any(0).nonzero().flatten()
    if rows[0] == 0 or columns[0] == 0 or rows[-1] == size - 1 or columns[-1] == size - 1:
        raise ValueError(
            f"the receptive field of {stage} reaches the border of a {size} x {size} image: ask with a larger size"
        )
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


@dataclass(frozen=True)
class Seconds:
    """Mean and standard deviation over repeats, in seconds."""

    mean: float
    deviation: float


def seconds(
    work: Callable[[], object], *, repeats: int = 10, burn_in: int = 3, device: str | torch.device = "cpu"
) -> Seconds:
    """A function without arguments -> Seconds over ``repeats`` calls, after ``burn_in`` calls that are not counted.

    Raises ValueError for fewer than one repeat.
    """
    _at_least_one("repeats", repeats)
    wait = torch.cuda.synchronize if str(device).startswith("cuda") else (lambda: None)
    for _ in range(burn_in):
        work()
    times = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return Seconds(statistics.mean(times), statistics.stdev(times) if repeats > 1 else 0.0)


@dataclass(frozen=True)
class Memory:
    """Bytes that one training step holds at its fullest, as counted: ``weights`` with batch norm's statistics,
    ``gradients``, ``optimizer`` (two moments a weight, as Adam keeps) and ``activations``, what the way forward leaves
    for the way back.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All four together."""
        return self.weights + self.gradients + self.optimizer + self.activations


def memory(model: nn.Module, size: int | tuple[int, int] = 224, *, batch: int = 64, moments: int = 2) -> Memory:
    """Network, grid and batch size -> Memory of a training step in float32, ``moments`` numbers a weight for the
    optimizer.

    Counted on shapes alone, the same on any machine: tensors that autograd saves, each storage once, the weights
    among them left out. A library's own working space comes on top, and differs. Raises ValueError for a batch below 1
    or fewer than 0 moments.
    """
    _at_least_one("batch", batch)
    if not isinstance(moments, int) or moments < 0:
        raise ValueError(f"moments is a whole number of at least 0, not {moments!r}")
    shadow = _meta_copy(model).train().requires_grad_(True)
    own = {t.untyped_storage()._cdata for t in [*shadow.parameters(), *shadow.buffers()]}
    kept: dict[int, Tensor] = {}  # the tensor too: a storage that is gone may lend its number to the next

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        shadow(torch.empty(batch, _colours(shadow), *_pair(size), device="meta"))
    learned = sum(p.numel() * p.element_size() for p in shadow.parameters())
    return Memory(
        weights=learned + sum(t.numel() * t.element_size() for t in shadow.buffers()),
        gradients=learned,
        optimizer=moments * learned,
        activations=sum(t.untyped_storage().nbytes() for t in kept.values()),
    )


def activation_volumes(model: nn.Module, size: int | tuple[int, int] = 224) -> dict[str, int]:
    """Network -> numbers that each stage hands on for one image: channels x height x width."""
    return {row.name: math.prod(row.shape) for row in stages(model, size)}


def gradient_norms(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, float]:
    """Network and a function from it to a scalar loss -> the size of the gradient in each stage: root mean square
    over its weights. Raises ValueError for what is no loss: a tensor with one number.
    """
    model.zero_grad(set_to_none=True)
    found = loss(model)
    if not isinstance(found, Tensor) or found.numel() != 1:
        came = f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
        raise ValueError(f"loss(model) gives a tensor with one number, not {came}")
    found.backward()
    norms = {}
    for name, stage in stage_modules(model).items():
        grads = [p.grad.flatten() for p in stage.parameters() if p.grad is not None and p.ndim > 1]
        if grads:
            norms[name] = float(torch.cat(grads).pow(2).mean().sqrt())
    model.zero_grad(set_to_none=True)
    return norms


def _colours(model: nn.Module) -> int:
    """What the first convolution reads: 3, or more where the model is one module of a network."""
    return next((layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)), 3)


def _pair(size) -> tuple[int, int]:
    sides = size if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        raise ValueError(f"size is a side in pixels, or (height, width), whole numbers above 0, not {size!r}")
    return tuple(sides)


def _macs(layer: nn.Module, out: Tensor) -> int:
    if isinstance(layer, nn.Conv2d):
        return layer.weight[0].numel() * math.prod(out.shape[1:])
    if isinstance(layer, nn.Linear):
        return layer.weight.numel()
    return 0


def _run_meta(model: nn.Module, size) -> Iterator[tuple[nn.Module, Tensor]]:
    """Every (layer, output) of one forward pass in order, on the meta device, the network itself untouched."""
    calls = []
    shadow = _meta_copy(model)
    original = dict(zip(shadow.modules(), model.modules(), strict=True))
    for layer in shadow.modules():
        layer.register_forward_hook(lambda layer, inputs, out: calls.append((original[layer], out)))
    shadow(torch.empty(1, _colours(shadow), *_pair(size), device="meta"))
    yield from ((layer, out) for layer, out in calls if isinstance(out, Tensor))


def _meta_copy(model: nn.Module) -> nn.Module:
    # deep-copying real weights only to drop them would double the memory of a large network
    memo = {id(t): torch.empty_like(t, device="meta") for t in [*model.parameters(), *model.buffers()]}
    memo = {
        key: nn.Parameter(t.float(), requires_grad=False) if t.is_floating_point() else t for key, t in memo.items()
    }
    return copy.deepcopy(model, memo).eval()


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


@dataclass(frozen=True)
class Calibration:
    """How far a network's confidence can be believed. By bin, from doubtful to sure: mean ``confidence``, ``accuracy``
    (both nan in an empty bin) and ``count``; over all examples: ``ece``, the expected calibration error, and ``nll``
    in nats.
    """

    ece: float
    nll: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    count: tuple[int, ...]

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy: above 0, the network believes itself more than it should. At most ``ece``
        in size, for bins may err both ways.
        """
        bins = zip(self.confidence, self.accuracy, self.count, strict=True)
        return sum(n * (c - a) for c, a, n in bins if n) / sum(self.count)


def calibration(logits: Tensor, labels: Tensor, bins: int = 15) -> Calibration:
    """Logits (N, K) and labels (N,) -> Calibration over ``bins`` equal steps of the largest probability, each without
    its lower end.

    ``ece`` is the mean over examples of the gap between a bin's accuracy and its confidence. Source: Guo et al.,
    arXiv:1706.04599, section 2. Raises ValueError for shapes that do not fit, labels out of range, or logits that are
    no numbers.
    """
    _check_logits(logits)
    if not isinstance(labels, Tensor):
        raise ValueError(f"labels are a tensor ({len(logits)},), not {type(labels).__name__}")
    if labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise ValueError(f"labels are ({len(logits)},) whole numbers, not {tuple(labels.shape)} {labels.dtype}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        wrong = int(labels.max() if labels.max() >= logits.shape[1] else labels.min())
        raise ValueError(f"labels run from 0 to {logits.shape[1] - 1}, but label {wrong} came")
    _at_least_one("bins", bins)
    logs = (
        logits.detach().double().log_softmax(1)
    )  # in double precision: a sum over thousands, and probabilities close to 1
    sure, guess = logs.exp().max(1)
    right = (guess == labels).double()
    inner = torch.arange(1, bins, dtype=torch.double, device=sure.device) / bins
    place = torch.bucketize(sure, inner)
    count = torch.bincount(place, minlength=bins)
    confidence = torch.bincount(place, sure, minlength=bins) / count  # 0 / 0 is nan
    accuracy = torch.bincount(place, right, minlength=bins) / count
    gap = (confidence - accuracy).abs().nan_to_num(0.0)
    return Calibration(
        ece=float((count * gap).sum() / len(labels)),
        nll=float(-logs.gather(1, labels[:, None].long()).mean()),
        confidence=tuple(confidence.tolist()),
        accuracy=tuple(accuracy.tolist()),
        count=tuple(count.tolist()),
    )


def logit_gap(logits: Tensor) -> float:
    """Logits (N, K) -> the largest minus the mean of the others, mean over examples: what label smoothing bounds and
    plain cross-entropy lets grow. Raises ValueError for fewer than two classes, or logits that are no numbers.
    """
    _check_logits(logits)
    if logits.shape[1] < 2:
        raise ValueError("a gap between logits wants at least 2 classes, not 1")
    logits = logits.detach().double()
    top = logits.max(1).values
    return float((top - (logits.sum(1) - top) / (logits.shape[1] - 1)).mean())


def _check_logits(logits: Tensor) -> None:
    if not isinstance(logits, Tensor):
        raise ValueError(f"logits are a tensor (examples, classes), not {type(logits).__name__}")
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"logits are (examples, classes), at least one of each, not {tuple(logits.shape)}")
    if not logits.isfinite().all():
        raise ValueError("logits must be numbers, but some are infinite or nan: has this network diverged?")


# -------------------------------------------------------------------------------------------------------------- seconds


def speed(
    model: nn.Module,
    size: int | tuple[int, int] | Tensor,
    *,
    batch: int = 1,
    burn_in: int = 10,
    batches: int = 100,
    backward: bool = False,
    device: str | torch.device | None = None,
    channels_last: bool = True,
    precision: str = "float32",
) -> Seconds:
    """Network, or one module of it, and grid (or images (N, C, H, W)) -> Seconds for **one image**, over ``batches``
    batches of ``batch`` images, after ``burn_in`` that are not counted.

    Forward is what a server runs: evaluation mode, no gradients. With ``backward`` it is what training runs but for the
    optimizer's step: training mode, forward, and the gradient of every weight. The device is waited for before the
    clock is read; the deviation is that of the batches. Works on a copy: statistics and gradients stay as they are.
    ``precision="bfloat16"`` is autocast, as in ``train.fit``. Raises ValueError for counts below 1.
    """
    if isinstance(size, Tensor):
        images, batch = size, len(size)
    else:
        images = torch.randn(_at_least_one("batch", batch), _channels_in(model), *_pair(size))
    _at_least_one("batches", batches)
    if burn_in < 0:
        raise ValueError(f"burn_in is how many batches are not counted, not {burn_in!r}")
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision is 'float32' or 'bfloat16', not {precision!r}")
    work, x, device = _ready(model, images, device, channels_last, backward)

    def step():
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bfloat16"):
            if not backward:
                with torch.inference_mode():
                    return work(x)
            out = work(x)
        for weight in work.parameters():
            weight.grad = None
        out.float().square().mean().backward()

    taken = seconds(step, repeats=batches, burn_in=burn_in, device=device)
    return Seconds(taken.mean / batch, taken.deviation / batch)


@dataclass(frozen=True)
class Spent:
    """What all layers of one kind cost for one image: multiply-adds, bytes read and written, seconds."""

    kind: str
    macs: int
    moved: int
    seconds: float


def spent(
    model: nn.Module,
    size: int | tuple[int, int],
    *,
    batch: int = 1,
    burn_in: int = 2,
    batches: int = 5,
    device: str | torch.device | None = None,
    channels_last: bool = True,
) -> list[Spent]:
    """Network and grid -> what each kind of layer costs in one forward pass, the one with most seconds first.

    The clock is read before and after each layer, and what lies inside another is counted once: a concatenation is its
    copying alone. ``moved`` counts each input, output and weight (once a batch) as four bytes: the least that a layer
    must fetch and store if nothing is still at hand. Reading the clock costs some microseconds a layer. Raises
    ValueError for a batch or a number of batches below 1, and a ``burn_in`` below 0.
    """
    if burn_in < 0:
        raise ValueError(f"burn_in is how many batches are not counted, not {burn_in!r}")
    images = torch.randn(_at_least_one("batch", batch), _channels_in(model), *_pair(size))
    work, x, device = _ready(model, images, device, channels_last, False)
    wait = torch.cuda.synchronize if device.startswith("cuda") else (lambda: None)
    found: dict[str, list] = {}
    open_calls: list[list[float]] = []  # start, and seconds that went to layers inside

    def before(layer, inputs):
        wait()
        open_calls.append([time.perf_counter(), 0.0])

    def after(layer, inputs, out):
        wait()
        start, inside = open_calls.pop()
        took = time.perf_counter() - start
        if open_calls:
            open_calls[-1][1] += took
        row = found.setdefault(_kind(layer), [0, 0, 0.0])
        row[2] += took - inside
        row[0] += _macs(layer, out) * len(out)
        if _kind(layer) != "other":
            passed = [out, *inputs] if not isinstance(layer, nn.ModuleDict) else [out, out]  # its branches, once more
            weights = sum(p.numel() for p in layer.parameters(recurse=False))
            row[1] += 4 * (sum(t.numel() for t in passed) + weights)

    for layer in work.modules():
        layer.register_forward_pre_hook(before)
        layer.register_forward_hook(after)
    with torch.inference_mode():
        for number in range(burn_in + _at_least_one("batches", batches)):
            if number == burn_in:
                found.clear()
            work(x)
    many = batch * batches
    rows = [Spent(kind, macs // many, moved // many, took / many) for kind, (macs, moved, took) in found.items()]
    return sorted(rows, key=lambda row: -row.seconds)


def _kind(layer: nn.Module) -> str:
    """A layer -> the kind that ``spent`` books it under. "other" is what lies between the layers: Python, and sums."""
    if isinstance(layer, nn.Conv2d):
        return "{} x {}".format(*sorted(layer.kernel_size))
    if isinstance(layer, nn.ModuleDict):
        return "side by side"
    for kind, kinds in _KINDS.items():
        if isinstance(layer, kinds):
            return kind
    return "other"


_KINDS = {
    "linear": nn.Linear,
    "batch norm": nn.BatchNorm2d,
    "ReLU": nn.ReLU,
    "pooling": (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    "response norm": nn.LocalResponseNorm,
}


@dataclass(frozen=True)
class Roofs:
    """What the device can do at best: multiply-adds a second, and bytes a second to and from memory."""

    macs: float
    moved: float


def roofs(device: str | torch.device | None = None, *, turns: int = 10) -> Roofs:
    """-> Roofs of this device, measured: the fastest of ``turns`` products of two large matrices and ``turns`` large
    3 x 3 convolutions, and of ``turns`` copies of a block far larger than any cache.

    A layer takes at least its multiply-adds over the one and its bytes over the other; one that finds its numbers in a
    cache, or does better than these two products, may stand a little above. Two kinds of arithmetic, because which of
    the two a library does better depends on the processor.
    Source: Williams, Waterman, Patterson, *Roofline*, Communications of the ACM 52(4), 2009.
    """
    _at_least_one("turns", turns)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    side, channels, grid, length = 1024, 256, 28, 2**24
    a, b = torch.randn(2, side, side, device=device)
    images = torch.randn(2, channels, grid, grid, device=device).to(memory_format=torch.channels_last)
    conv = nn.Conv2d(channels, channels, 3, padding=1, device=device).to(memory_format=torch.channels_last)
    block = torch.ones(length, device=device)
    target = torch.empty_like(block)
    works = {
        "product": (lambda: a @ b, side**3),
        "convolution": (lambda: conv(images), images.numel() * 9 * channels),
        "copy": (lambda: target.copy_(block), 2 * 4 * length),
    }
    best = dict.fromkeys(works, 0.0)
    with torch.inference_mode():
        for _ in range(turns + 1):  # in turn: a moment in which the machine is busy costs each of them one try
            for name, (work, amount) in works.items():
                best[name] = max(best[name], amount / seconds(work, repeats=1, burn_in=0, device=device).mean)
    return Roofs(max(best["product"], best["convolution"]), best["copy"])


@dataclass(frozen=True)
class Agreement:
    """How near one network's logits are to another's: largest difference over the largest logit, and the share of
    images with the same decision.
    """

    difference: float
    same: float


def agreement(logits: Tensor, wanted: Tensor) -> Agreement:
    """Logits (N, K) of a network that was changed or moved, and of the one it was -> Agreement.

    Raises ValueError for shapes that differ, or logits that are no numbers.
    """
    for given in (logits, wanted):
        if not isinstance(given, Tensor):
            raise ValueError(f"logits are a tensor (examples, classes), not {type(given).__name__}")
    if logits.shape != wanted.shape:
        raise ValueError(f"logits to compare have one shape, not {tuple(logits.shape)} and {tuple(wanted.shape)}")
    _check_logits(logits)
    _check_logits(wanted)
    logits, wanted = logits.detach().double(), wanted.detach().double()
    largest = float(wanted.abs().max()) or 1.0
    same = (logits.argmax(1) == wanted.argmax(1)).double().mean()
    return Agreement(float((logits - wanted).abs().max()) / largest, float(same))


def _ready(
    model: nn.Module, images: Tensor, device: str | torch.device | None, channels_last: bool, training: bool
):
    """-> a copy of the network and the images, on the device and in one memory order, and the device's name."""
    if len(images) == 0:
        raise ValueError("there are no images to take the time with")
    device = str(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    order = torch.channels_last if channels_last else torch.contiguous_format
    # Forward only reads, and a linear layer's weights have no memory order: half a gigabyte more in VGG-16.
    shared = {} if training or device != "cpu" else {id(p): p for p in model.parameters() if p.ndim < 4 and p.is_cpu}
    work = copy.deepcopy(model, shared).to(device=device, memory_format=order).train(training)
    return work, images.to(device=device, memory_format=order), device


def _channels_in(model: nn.Module) -> int:
    """Channels of what the network, or one module of it, reads first."""
    norm = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)), None)
    return norm.num_features if isinstance(norm, nn.BatchNorm2d) else _colours(model)


def _at_least_one(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is a whole number of at least 1, not {value!r}")
    return value
