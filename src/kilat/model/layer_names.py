"""The layers of a network by the paths of their modules, named as in its layer table (``kilat summary``)."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from onnx import GraphProto
from torch import nn

from kilat.model.backbone_layer import BackboneModule
from kilat.model.modules import LayerModule
from kilat.model.summary import kind_of
from kilat.recipe.network_summary import KERNELS

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
        in_backbone: whether it is a part of a network of timm's.
    """

    path: str
    name: str
    kind: str
    module: nn.Module
    in_backbone: bool = False


def named_layers(network: nn.Module) -> list[NamedLayer]:
    """Return all modules of a network that have a name, those within them as well, in its order.

    Args:
        network: from pixels to logits (``kilat.model.image_model.ImageModel``).
    """
    built = {path: module for path, module in network.named_modules() if isinstance(module, LayerModule)}
    if built:
        return [layer for path, module in built.items() for layer in _of_recipe(path, module)]
    return list(_of_modules(network))


def name_nodes(graph: GraphProto, network: nn.Module) -> None:
    """Name the nodes of a traced network after the layers that they are of: ``/residual/conv_1/Conv``.

    A batch norm without nodes of its own was folded into the layer before it, which then has both names
    (``conv_1+batch_norm_1``). Where a picture goes through the network several times, the first time counts; other
    nodes keep their names, and so do those of a network that kilat did not build.

    Args:
        graph: as PyTorch's exporter names nodes, by the paths of modules; changed.
        network: that was traced, from pixels to logits.
    """
    if not any(isinstance(module, LayerModule) for module in network.modules()):
        return
    layers, paths = named_layers(network), {path for path, _module in network.named_modules()}
    names = {layer.path: layer.name for layer in layers}
    own = {layer.path for layer in layers if isinstance(layer.module, LayerModule)}
    scopes = [_scope(node.name, paths) for node in graph.node]
    is_norm = (node.op_type == "BatchNormalization" for node in graph.node)
    normalised = {scope[-1] for scope, is_one in zip(scopes, is_norm, strict=True) if is_one and scope}
    for before, layer in pairwise(layers):
        if layer.kind == "batch_norm" and layer.path not in normalised and before.kind in KERNELS:
            names[before.path] = f"{before.name}+{layer.name}"
    for node, scope in zip(graph.node, scopes, strict=True):
        if found := [path for path in scope if path in names]:
            inside = [path.rpartition(".")[2] for path in scope[scope.index(found[-1]) + 1 :]]
            around = [names[path] for path in found[:-1] if path in own]
            node.name = "/".join(["", *around, names[found[-1]], ".".join([*inside, node.name.rpartition("/")[2]])])


def _scope(name: str, paths: set[str]) -> list[str]:
    """Return the paths of the modules that a node is in, from the outermost on; none where they are no modules.

    The exporter names each module relative to the one around it, or to the one around the sequence that it is in; a
    module whose methods are called by themselves, such as a ``network``, it leaves out.

    Args:
        name: of the node.
        paths: of all modules.
    """
    scope: list[str] = []
    around = before = ""
    for part in name.strip("/").split("/")[:-1]:
        if before and part.startswith(f"{before}."):
            around = around.removesuffix(before).rstrip(".")
        candidates = (f"{around}.{inner}{part}".strip(".") for inner in ("", "network."))
        path = next((one for one in candidates if one in paths), None)
        if path is None:
            return []
        scope.append(path)
        around, before = path, part
    return scope


def _of_recipe(path: str, module: LayerModule) -> Iterator[NamedLayer]:
    yield NamedLayer(path, module.label, module.kind, module)
    if isinstance(module, BackboneModule):
        for inner, part in module.network.named_modules():
            if inner:
                yield NamedLayer(f"{path}.network.{inner}", f"{module.label}.{inner}", kind_of(part), part, True)


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
            yield NamedLayer(path, name, kind_of(module), module, path.startswith(_BACKBONES))
