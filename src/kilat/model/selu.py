"""What keeps a network of SELUs from normalising itself (Klambauer et al., arXiv 1706.02515), said in sentences."""

from kilat.locale import _
from kilat.recipe import Network
from kilat.recipe.network import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    GroupNorm,
    Layer,
    LayerNorm,
    Residual,
    SpatialDropout,
    Weighted,
    walk,
)


def notes(network: Network) -> list[str]:
    """One sentence for each condition of self-normalisation that a network of SELUs breaks; none for other networks."""
    if not network.is_selu:
        return []
    layers = list(walk(network.layers))
    others = sorted({function.name for function in network.functions()} - {"selu"})
    inits = sorted({layer.init or network.init or "lecun_normal" for layer in layers if isinstance(layer, Weighted)})
    broken = {
        _("This network of SELUs has other activations as well ({names}), so it does not normalise itself.").format(
            names=", ".join(others)
        ): bool(others),
        _("This network of SELUs has normalisation layers, which take the place of its normalising itself."): (
            _is_normalised(network, layers)
        ),
        _("This network of SELUs has residual layers; what they add up no longer has a variance of 1."): (
            _has(layers, Residual)
        ),
        _("A network of SELUs normalises itself only with first weights from lecun_normal (here: {names}).").format(
            names=", ".join(inits)
        ): inits not in ([], ["lecun_normal"]),
        _("That a network of SELUs normalises itself is proven for dense layers only; this one has convolutions."): (
            _has(layers, Conv, DepthwiseConv)
        ),
        _("Spatial dropout changes mean and variance in a network of SELUs; dropout is alpha dropout here."): (
            _has(layers, SpatialDropout)
        ),
    }
    return [sentence for sentence, is_broken in broken.items() if is_broken]


def _has(layers: list[Layer], *kinds: type) -> bool:
    return any(isinstance(layer, kinds) for layer in layers)


def _is_normalised(network: Network, layers: list[Layer]) -> bool:
    choices = [layer.normalisation or network.normalisation for layer in layers if isinstance(layer, Weighted)]
    return _has(layers, BatchNorm, LayerNorm, GroupNorm) or any(choice.name != "none" for choice in choices[:-1])
