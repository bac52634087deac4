"""Stochastic depth for an existing timm network: which residual blocks can be left out, and how often they are."""

import re
from itertools import chain

from timm.layers.drop import DropPath
from torch import nn

from kilat.errors import RecipeError
from kilat.locale import _

_DROP_PATH = re.compile(r"(\w+_)?drop_path\d?")
_SHORTCUTS = ("shortcut", "identity", "residual", "has_skip", "use_shortcut", "add_identity")
"""Where timm's blocks keep their shortcut, or whether they have one."""


def set_drop_path(network: nn.Module, rate: float) -> int:
    """Let training leave out residual branches, picture by picture (stochastic depth, arXiv 1603.09382).

    Changes no weight, no name of one, and no output in inference mode. As with dropout, only what is in training mode
    leaves anything out, and draws are from torch's own generator. Modules are added: whoever lists those of a network
    in order to freeze them must do it afterwards.

    Rates rise linearly over the blocks that have a shortcut; timm counts the others too.

    Args:
        network: of timm; its weights may be loaded already.
        rate: share of the branches left out in the topmost block, from 0 up to but not 1; in the lowest it is 0.

    Returns:
        The number of these blocks; 0 where the network has none (see ``without_blocks``).
    """
    blocks = {block: names for block in network.modules() if (names := _drop_paths(block))}
    for index, (block, names) in enumerate(blocks.items()):
        for name in names:
            drop = DropPath(rate * index / max(1, len(blocks) - 1))
            setattr(block, name, drop.train(block.training))
    return len(blocks)


def without_blocks(name: str) -> RecipeError:
    """Return the error for a backbone of which nothing can be left out."""
    return RecipeError(
        _("fit.drop_path: the backbone '{name}' has no residual blocks that could be left out.").format(name=name),
        hint=_("Leave fit.drop_path at 0, or take a backbone such as efficientnet_lite0, resnet50 or convnext_tiny."),
    )


def _drop_paths(block: nn.Module) -> list[str]:
    """Return the attributes that hold a block's drop paths; none where it has no shortcut."""
    if any(getattr(block, shortcut, True) in (None, False) for shortcut in _SHORTCUTS):
        return []
    names = [name for name in chain(vars(block), dict(block.named_children())) if _DROP_PATH.fullmatch(name)]
    current = ((name, getattr(block, name)) for name in names)
    return [name for name, value in current if value is None or isinstance(value, nn.Identity | DropPath)]
