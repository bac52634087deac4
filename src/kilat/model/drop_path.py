"""Stochastic depth for a timm network that is already there: which blocks can be left out, and how often they are."""

import re
from itertools import chain

from timm.layers.drop import DropPath
from torch import nn

from kilat.errors import RecipeError
from kilat.locale import _

_SLOT = re.compile(r"(\w+_)?drop_path\d?")
_WAYS_ROUND = ("shortcut", "identity", "residual", "has_skip", "use_shortcut", "add_identity")
"""Where timm's blocks keep the way around themselves, or whether they have one."""


def set_drop_path(network: nn.Module, rate: float) -> int:
    """Lets training leave out residual branches, picture by picture (stochastic depth, arXiv 1603.09382).

    Changes no weight, no name of one, and no answer in inference mode. As with dropout, only what is in training mode
    leaves anything out, and draws are from torch's own generator. Modules are added: whoever lists those of a network
    in order to freeze them must do it afterwards.

    Rates rise in a straight line over the blocks that have a way around themselves; timm counts the others too.

    Args:
        network: of timm; its weights may be loaded already.
        rate: share of the branches left out in the topmost block, from 0 up to but not 1; in the lowest it is 0.

    Returns:
        How many blocks that concerns; 0 where the network has none (see ``without_blocks``).
    """
    blocks = {block: slots for block in network.modules() if (slots := _slots(block))}
    for place, (block, slots) in enumerate(blocks.items()):
        for slot in slots:
            drop = DropPath(rate * place / max(1, len(blocks) - 1))
            setattr(block, slot, drop.train(block.training))
    return len(blocks)


def without_blocks(name: str) -> RecipeError:
    """What to say of a backbone of which nothing can be left out."""
    return RecipeError(
        _("fit.drop_path: the backbone '{name}' has no residual blocks that could be left out.").format(name=name),
        hint=_("Leave fit.drop_path at 0, or take a backbone such as efficientnet_lite0, resnet50 or convnext_tiny."),
    )


def _slots(block: nn.Module) -> list[str]:
    """Where a block keeps its drop paths; none where everything goes through the branch."""
    if any(getattr(block, way, True) in (None, False) for way in _WAYS_ROUND):
        return []
    names = chain(vars(block), (name for name, _ in block.named_children()))
    return [name for name in names if _SLOT.fullmatch(name) and _is_slot(getattr(block, name))]


def _is_slot(held: object) -> bool:
    return held is None or isinstance(held, nn.Identity | DropPath)
