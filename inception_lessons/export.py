"""Networks that leave Python: as a program of ``torch.export``, as an ONNX file, and as one with 8-bit numbers.

What ``torch.export`` makes needs torch to run; an ONNX file does not. ONNX needs packages that the course does without
otherwise: ``pip install -e ".[export]"``.
"""

import importlib.util
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from inception_lessons import weights

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
HOW = 'pip install -e ".[export]"'


def missing() -> str:
    """-> a sentence that says what ONNX lacks here and how to get it, "" where nothing is missing."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"ONNX needs {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not here: {HOW}" * bool(absent)


def _check() -> None:
    if missing():
        raise ModuleNotFoundError(missing())


def to_program(model: nn.Module, size: int | tuple[int, int]) -> torch.export.ExportedProgram:
    """Network in evaluation mode and grid -> a program for any number of images of that size: ``.module()`` runs it.

    The program is the list of operations that one pass made, without the network's Python. Fold batch norm first
    (``layers.fold``): then there is none in it. Raises ValueError for a network in training mode.
    """
    if model.training:
        raise ValueError("only a network in evaluation mode can be exported: call .eval() first")
    height, width = (size, size) if isinstance(size, int) else size
    device = next(model.parameters()).device
    pictures = torch.zeros(2, 3, height, width, device=device)  # a batch of one would be taken for a constant
    return torch.export.export(model, (pictures,), dynamic_shapes=({0: torch.export.Dim("count")},))


def save_program(model: nn.Module, path: str | Path, size: int | tuple[int, int]) -> Path:
    """Network in evaluation mode, file and grid -> its program, weights included, as ``torch.export.load`` reads it.

    Written beside and renamed. Raises ValueError for a network in training mode.
    """
    blob = io.BytesIO()
    torch.export.save(to_program(model, size), blob)
    return weights.write(path, blob.getvalue())


def to_onnx(model: nn.Module, path: str | Path, size: int | tuple[int, int]) -> Path:
    """Network in evaluation mode, file and grid -> an ONNX file from ``images`` (N, 3, height, width) to ``logits``.

    Checked against the format's rules, written beside and renamed. Raises ValueError for a network in training mode,
    ModuleNotFoundError that says what to install where ONNX is not there.
    """
    _check()
    import onnx

    program = to_program(model, size)
    names = {"input_names": ["images"], "output_names": ["logits"]}
    with warnings.catch_warnings():  # torch's own copying calls what torch itself calls out of date
        warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
        made = torch.onnx.export(program, (), dynamo=True, external_data=False, verbose=False, **names)
    blob = made.model_proto.SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(blob), full_check=True)
    return weights.write(path, blob)


def quantize(path: str | Path, out: str | Path, images: Tensor, *, batch_size: int = 50) -> Path:
    """ONNX file, new file, normalized images (N, 3, H, W) to calibrate with -> the same network with 8-bit numbers.

    Weights become whole numbers from -64 to 64, with one scale a channel; what layers hand on becomes 0 to 255, with a
    scale that fits the smallest and the largest value that these images bring about. One bit of the weights is given
    away because processors without the VNNI instructions add two products in 16 bits, which would overflow.
    Convolutions, linear layers, pooling and concatenation are converted; the rest stays float32. Written beside and
    renamed. Raises ValueError for fewer than one image, ModuleNotFoundError where ONNX is not there.
    """
    _check()
    if len(images) < 1:
        raise ValueError("calibration wants at least 1 image, not 0")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no ONNX file {Path(path).name}: export.to_onnx(model, path, size) makes one")
    session(path)  # says of a damaged file what it is
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """Batches of the images, under the name that ``to_onnx`` gave its input."""

        def __init__(self):
            self.batches: Iterator[Tensor] = iter(images.split(batch_size))

        def get_next(self) -> dict | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.contiguous().numpy()}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        ready, done = Path(folder, "ready.onnx"), Path(folder, "done.onnx")
        quant_pre_process(Path(path), ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            done,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        blob = done.read_bytes()
    return weights.write(out, blob)


def session(path: str | Path, *, threads: int | None = None) -> Callable[[Tensor], Tensor]:
    """ONNX file -> a function from images (N, 3, H, W) to logits (N, K) that runs in onnxruntime, on the processor.

    ``threads``: as many as onnxruntime likes, unless said. Raises FileNotFoundError for a file that is not there,
    ModuleNotFoundError where ONNX is not, ValueError for threads below 1 and a file that is no network.
    """
    _check()
    import onnxruntime

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no ONNX file {Path(path).name}: export.to_onnx(model, path, size) makes one")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads is a whole number of at least 1, or None, not {threads!r}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:
        runs = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an error of its own for each kind of damage, and they share no parent
        raise ValueError(f"{Path(path).name} is damaged or no ONNX file ({error})") from error
    return lambda images: torch.from_numpy(runs.run(["logits"], {"images": images.contiguous().numpy()})[0])


class _quiet:
    """onnxruntime's advice about preprocessing goes to the root logger, whatever was asked."""

    def __enter__(self):
        self.before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *error):
        logging.disable(self.before)
