"""A graphics card that is not there: what is on "cuda" is computed on the processor, and to mix the two is an error.

    with pretended_gpu.installed():
        model.to("cuda")(images)  # RuntimeError: Expected all tensors to be on the same device

So a machine without a GPU finds the mistake that a learner with one would meet first: a picture here, a network there.
Numbers are the processor's, bit for bit. Not found: what a GPU computes otherwise, its memory, its speed, and whatever
torch does below Python. The words of the errors are torch's own.
"""

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CARD = torch.device("cuda", 0)
#: These may see both: they copy from one to the other, keep an index where it is, or give a gradient its place.
BOTH = {
    *(Tensor.copy_, Tensor.__getitem__, Tensor.__setitem__, Tensor.index_put_, Tensor.data.__set__),
    *(Tensor.grad.__set__, torch._has_compatible_shallow_copy_type),
}
ANSWERS = {Tensor.device.__get__: CARD, Tensor.is_cuda.__get__: True, Tensor.is_cpu.__get__: False}
READ = {Tensor.item, Tensor.tolist, Tensor.__len__, Tensor.backward}  # what they return is on no device


class OnCard(Tensor):
    """A tensor on the pretended card."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return _on_card(func, args, kwargs or {})

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            with torch._C.DisableTorchFunctionSubclass():
                copied = self.detach().as_subclass(Tensor).clone().as_subclass(OnCard)
                memo[id(self)] = (
                    nn.Parameter(copied, self.requires_grad)
                    if isinstance(self, nn.Parameter)
                    else copied.requires_grad_(self.requires_grad)
                )
        return memo[id(self)]

    def __repr__(self, **options):
        return f"OnCard({_here(self.detach())!r})"


class _Pretence(TorchFunctionMode):
    """Looks at every function of torch that Python calls: those that make a tensor on the card, and those that move
    one there, have no argument yet that would say so.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (Tensor.to, Tensor.cuda) or any(isinstance(given, OnCard) for given in _tensors((args, kwargs))):
            return _on_card(func, args, kwargs)
        if _is_card(kwargs.get("device")) and func is not torch._C._nn._parse_to:  # that one reads Module.to's words
            _check_generator(kwargs)
            return _there(func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Within it torch has one GPU, in this thread."""
    autocast = torch.autocast.__init__

    def autocast_here(self, kind, *args, **kwargs):
        autocast(self, "cpu" if kind == "cuda" else kind, *args, **kwargs)

    says: dict[str, Callable] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "synchronize": lambda *_: None,
        "get_device_name": lambda *_: "a pretended GPU",
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda *_: None,
    }
    old = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a Parameter cannot become one of another class
    with mock.patch.multiple(torch.cuda, **says), mock.patch.object(torch.autocast, "__init__", autocast_here):
        try:
            with _Pretence():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(old)


def start() -> None:
    """From here to the end of the process: for the ``sitecustomize`` of a kernel."""
    _kept.enter_context(installed())


_kept = contextlib.ExitStack()


def _on_card(func, args, kwargs):
    """A function of torch with at least one argument on the card, or one that may move there."""
    if func in ANSWERS:
        return ANSWERS[func]
    if func in (Tensor.numpy, Tensor.__array__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host")
    if func is Tensor.cpu:
        return _moved(args[0], "cpu")
    if func is Tensor.to:
        return _moved(*args, **kwargs)
    if func is Tensor.cuda:
        return _moved(args[0], CARD)
    if func is Tensor.get_device:
        return CARD.index
    given = list(_tensors((args, kwargs)))
    elsewhere = [each for each in given if not isinstance(each, OnCard) and each.ndim and each.device.type != "meta"]
    if elsewhere and func not in BOTH:  # a single number may be anywhere
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"(in {getattr(func, '__qualname__', func)})"
        )
    from_here = func in BOTH and not isinstance(args[0], OnCard)
    if from_here and func in (Tensor.__getitem__, Tensor.__setitem__):
        if any(isinstance(each, OnCard) for each in _tensors(args[1])):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    _check_generator(kwargs)
    place = kwargs.get("device")
    with torch._C.DisableTorchFunctionSubclass():
        found = func(*args, **kwargs | ({"device": "cpu"} if _is_card(place) else {}))
    return found if func in READ or from_here or (place is not None and not _is_card(place)) else _there(found)


def _moved(self: Tensor, *args, **kwargs):
    """``Tensor.to`` in all its forms."""
    place, number = None, None
    rest = [kwargs.pop(name) for name in ("other", "device", "dtype") if kwargs.get(name) is not None]
    flags = [given for given in args if isinstance(given, bool)]
    for given in (*args, *rest):
        if isinstance(given, Tensor):
            place, number = given.device, given.dtype
        elif isinstance(given, torch.dtype):
            number = given
        elif isinstance(given, str | torch.device | int) and not isinstance(given, bool):
            place = given
    was = isinstance(self, OnCard)
    card = was if place is None else _is_card(place)
    order = {"memory_format": kwargs["memory_format"]} if kwargs.get("memory_format") is not None else {}
    goes = "cpu" if card or place is None and was else place
    copies = kwargs.get("copy", len(flags) > 1 and flags[1]) or was != card
    with torch._C.DisableTorchFunctionSubclass():
        found = self.to(self.device if goes is None else goes, number or self.dtype, copy=copies, **order)
    return _there(found) if card else _here(found)


def _is_card(place) -> bool:
    return place is not None and torch.device(place).type == "cuda"


def _check_generator(kwargs) -> None:
    if isinstance(kwargs.get("generator"), torch.Generator):  # there are none of the card's
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")


def _here(found: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return found.as_subclass(Tensor) if isinstance(found, OnCard) else found


def _there(found):
    """A tensor, or what holds tensors -> the same on the card."""
    if isinstance(found, Tensor) and not isinstance(found, OnCard):
        with torch._C.DisableTorchFunctionSubclass():
            return found.as_subclass(OnCard)
    if isinstance(found, list | tuple) and not isinstance(found, torch.Size):
        made = map(_there, found)
        return type(found)(*made) if hasattr(found, "_fields") else type(found)(made)
    return found


def _tensors(given) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _tensors(each)
    elif isinstance(given, dict):
        yield from _tensors(list(given.values()))
