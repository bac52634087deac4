"""The layers of a network by the paths of their modules, named as in its layer table (``kilat summary``)."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from kilat.model.backbone_layer import BackboneModule
from kilat.model.modules import LayerModule
from kilat.model.summary import kind_of

_BACKBONES = "backbones."
"""What the paths of modules in ``kilat.model.finetuned.FineTuned`` begin with, whose head has no module of its own."""


class NamedLayer(NamedTuple):
    """A layer.

    Args:
        path: of its module in the network.
        name: as in the layer table; of layers that the table has no rows of their own for, such as those in residual
            blocks, the one that no other layer has. A layer in a backbone has the backbone's name before its path.
        kind: as a recipe calls it; of a module that recipes do not know, the name of its class.
        module: itself.
    """

    path: str
    name: str
    kind: str
    module: nn.Module


def named_layers(network: nn.Module) -> list[NamedLayer]:
    """Return all modules of a network that have a name, in its order.

    Args:
        network: from pixels to logits (``kilat.model.image_model.ImageModel``).
    """
    built = {path: module for path, module in network.named_modules() if isinstance(module, LayerModule)}
    if built:
        return [layer for path, module in built.items() for layer in _of_recipe(path, module)]
    return list(_of_modules(network))


def _of_recipe(path: str, module: LayerModule) -> Iterator[NamedLayer]:
    yield NamedLayer(path, module.label, module.kind, module)
    if isinstance(module, BackboneModule):
        for inner, part in module.network.named_modules():
            if inner:
                yield NamedLayer(f"{path}.network.{inner}", f"{module.label}.{inner}", kind_of(part), part)


def _of_modules(network: nn.Module) -> Iterator[NamedLayer]:
    """Yield the modules of a network that kilat did not build, and the head of a fine-tuned one."""
    several = len(getattr(network, "backbones", [])) > 1
    for path, module in network.named_modules():
        name = path.removeprefix("network.")
        if path.startswith(_BACKBONES):
            number, _network, inner = [*path.removeprefix(_BACKBONES).split(".", 2), "", ""][:3]
            name = f"{number}.{inner}" if several and inner else inner
        elif not path and hasattr(network, "backbones"):
            yield NamedLayer(path, "head", "dense", module)
        if path and name:
            yield NamedLayer(path, name, kind_of(module), module)
