"""Several processes that train one network: who is who, and what they tell each other.

``torchrun`` starts them, on one machine or on several, and says in the environment which each of them is. Every process
holds the whole network and computes on its share of each batch; the gradients are averaged, so all take the same step.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """Process ``rank`` of ``world``, and the device it computes on. Alone, it asks nobody and waits for nobody.

    Where the shares of a batch are not equally large (an unreadable image is left out), means are still means over all
    examples, so that a network without dropout and batch statistics learns the same from any number of processes.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    def prepare(self, model: nn.Module) -> nn.Module:
        """The network with batch statistics of whole batches, where torch can compute those: on GPUs."""
        if self.world == 1 or not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()):
            return model
        if self.device.startswith("cuda"):
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if self.rank == 0:
            warnings.warn(
                f"torch synchronizes batch norm on GPUs only: here each of the {self.world} processes normalizes by "
                "its own share of a batch, so the losses will not be those of one process",
                stacklevel=2,
            )
        return model

    def wrap(self, network: nn.Module, unused: bool = False) -> nn.Module:
        """The same network, whose gradients are those of all processes; ``unused``: not every weight gets one."""
        if self.world == 1:
            return network
        device = torch.device(self.device)
        ids = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=unused)

    def mean(self, loss: Tensor, count: int) -> tuple[Tensor, Tensor | float]:
        """Mean loss over this process's ``count`` examples -> that over everybody's, and what this process's gradient
        must be multiplied by for the average over processes to be the average over examples.
        """
        if self.world == 1:
            return loss, 1.0
        mine = torch.full_like(loss, count, dtype=torch.float64)  # made on the device: a copy there would wait for it
        sums = torch.stack([loss.double() * mine, mine])
        dist.all_reduce(sums)
        return sums[0] / sums[1], mine * self.world / sums[1]

    def sum(self, numbers: list[float]) -> list[float]:
        """Each number's sum over all processes; exact for counts."""
        if self.world == 1:
            return numbers
        sums = torch.tensor(numbers, dtype=torch.float64).to(self.device)
        dist.all_reduce(sums)
        return sums.tolist()

    def spread(self, model: nn.Module) -> None:
        """Give everybody process 0's running statistics: without synchronized batch norm they have drifted apart."""
        for buffer in model.buffers() if self.world > 1 else ():
            dist.broadcast(buffer, 0)

    def gather(self, value: Tensor) -> list[Tensor]:
        """Everybody's tensor, by rank; all of one shape."""
        if self.world == 1:
            return [value]
        rows = [torch.empty_like(value, device=self.device) for _ in range(self.world)]
        dist.all_gather(rows, value.to(self.device))
        return [row.cpu() for row in rows]

    def send(self, content: bytes) -> bytes:
        """What process 0 gives, to everybody: only its machine needs to have the file."""
        if self.world == 1:
            return content
        length = torch.tensor(len(content)).to(self.device)
        dist.broadcast(length, 0)
        if int(length) == 0:
            return b""
        given = bytearray(content) if self.rank == 0 else bytearray(int(length))
        moved = torch.frombuffer(given, dtype=torch.uint8).to(self.device)
        dist.broadcast(moved, 0)
        return moved.cpu().numpy().tobytes()


@contextmanager
def join(device: str | None = None) -> Iterator[Share]:
    """This process's share of the work, from the environment that ``torchrun`` sets; without it, all of it.

    ``device`` is ``cpu`` or ``cuda``, by default a GPU where there is one; under ``torchrun`` each process takes the
    GPU of its own number. Raises ValueError where processes and GPUs do not go together.
    """
    rank, world, local = (int(os.environ.get(name, alone)) for name, alone in PLACE.items())
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if world == 1:
        yield Share(device=kind)
        return
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"several processes train on cpu or cuda, not on {kind!r}")
    if kind == "cuda" and local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local} of this machine has no GPU: there are {torch.cuda.device_count()}; start that many "
            "processes (torchrun --nproc-per-node), or train on the processor (--device cpu)"
        )
    if kind == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", store=_store(world), rank=rank, world_size=world)
    yield Share(rank, world, f"cuda:{local}" if kind == "cuda" else "cpu")
    dist.destroy_process_group()  # after an error nobody says goodbye: torchrun ends the others


def _store(world: int) -> "dist.Store | None":
    """Where the processes of this attempt find each other; None where torch finds the place itself.

    Under ``torchrun`` one store outlives the attempts, and since torch 2.5 a second attempt would read in it where the
    processes that died had listened (pytorch issue 135712): so each attempt gets names of its own. Its number is known
    to one machine only; for several, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 gives each attempt a store of its own.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", dist.TCPStore(*place, world))


PLACE = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}  # torchrun's variables, and what holds without it
