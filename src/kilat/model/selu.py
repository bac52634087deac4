"""What keeps a network of SELUs from normalising itself (Klambauer et al., arXiv 1706.02515), as notes for the user."""

from kilat.locale.notes import Note
from kilat.recipe import Network
from kilat.recipe.network import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    GroupNorm,
    LayerNorm,
    Residual,
    SpatialDropout,
    Weighted,
    walk,
)


def notes(network: Network) -> list[Note]:
    """Return one note for each condition of self-normalisation that a network of SELUs breaks; none for others."""
    if not network.is_selu:
        return []
    layers = list(walk(network.layers))
    weighted = [layer for layer in layers if isinstance(layer, Weighted)]

    def has(*kinds: type) -> bool:
        return any(isinstance(layer, kinds) for layer in layers)

    found = []
    if others := sorted({function.name for function in network.hidden_activations()} - {"selu"}):
        found.append(Note("selu_other_activations", {"names": others}))
    choices = [layer.normalisation or network.normalisation for layer in weighted]
    if has(BatchNorm, LayerNorm, GroupNorm) or any(choice.options for choice in choices[:-1]):
        found.append(Note("selu_normalisation"))
    if has(Residual):
        found.append(Note("selu_residual"))
    inits = sorted({layer.init or network.init or "lecun_normal" for layer in weighted})
    if inits not in ([], ["lecun_normal"]):
        found.append(Note("selu_init", {"names": inits}))
    if has(Conv, DepthwiseConv):
        found.append(Note("selu_convolutions"))
    if has(SpatialDropout):
        found.append(Note("selu_spatial_dropout"))
    return found
