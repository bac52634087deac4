"""Logits of pictures by their rows, in parts for which memory suffices, shared among the processes of a group."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kilat.fit.activation_cache import ActivationCache
from kilat.fit.distributed.group import ALONE, SingleProcess
from kilat.fit.loader import Pictures, Rows
from kilat.fit.microbatch import MicroBatch
from kilat.model.image_model import ImageModel

_BATCH = 256
_BATCH_PIXELS = 256 * 96 * 96
"""Of larger pictures fewer are computed at a time, so that inference needs no more memory than training."""
_LOADED_AT_ONCE = 64


class Inference:
    """Computes what the model file will give: in inference mode and float32, whatever training computes in.

    ``cache`` holds activations of the validation pictures while there are any. Pickled, it leaves that and the other
    processes behind; its network's classes have to be importable.

    Args:
        network: on its device.
        pictures: that it gets.
        classes: how many there are.
        device: of the network.
        group: the processes that compute together.
    """

    def __init__(
        self, network: ImageModel, pictures: Pictures, classes: int, device: str, group: SingleProcess = ALONE
    ) -> None:
        self.network, self.pictures, self.classes = network, pictures, classes
        self.device, self.group = device, group
        self.batch = max(1, min(_BATCH, _BATCH_PIXELS // network.size**2))
        self.cache: ActivationCache | None = None
        self.micro_batch = MicroBatch()

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the logits of some pictures, float32 ``[n, classes]``; of a sigmoid unit, 0 and its logit."""
        with self.group:
            self.group.request(rows)
            logits = self.outputs(rows)
        if logits.shape[1] == 1:  # the softmax of 0 and a logit is the logit's sigmoid
            logits = functional.pad(logits, (1, 0))
        return np.asarray(logits.cpu().numpy(), np.float32)

    def outputs(self, rows: Rows) -> Tensor:
        """Return what the network gives for some pictures, float32 ``[n, classes]`` or ``[n, 1]``.

        All processes of the group have to call it.
        """
        self.network.eval()
        own = rows[self.group.share(len(rows)).rows]
        order = [own[start : start + self.batch] for start in range(0, len(own), self.batch)]
        pictures: Pictures = self.pictures
        forward: Any = self.network
        if self.cache and self.cache.validation.holds(rows):
            pictures, forward = self.cache.validation, self.cache.network.forward_upper
        with torch.inference_mode():
            found = [self._forward(forward, batch) for batch in pictures.batches(order)]
            nothing = torch.zeros(0, self.classes, device=self.device)
            return self.group.all_gather(torch.cat(found or [nothing]), len(rows))

    def _forward(self, forward: Any, batch: Tensor) -> Tensor:
        def compute(at_once: int) -> Tensor:
            return torch.cat([forward(part) for part in torch.split(batch, at_once)])

        return self.micro_batch.compute(compute, len(batch))

    def pixels(self, rows: Rows) -> Iterator[NDArray[np.uint8]]:
        """Yield some pictures as the network gets them, batch by batch, uint8 ``[n, size, size, 3]``."""
        parts = np.array_split(rows, max(1, -(-len(rows) // _LOADED_AT_ONCE)))
        for batch in self.pictures.batches(parts):
            yield batch.cpu().numpy()

    def close(self) -> None:
        """Let the other processes end; from then on this one computes logits alone."""
        self.group.close()
        self.group = ALONE

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "group": ALONE, "cache": None}
