"""The sentences about layers of a training that was watched (``kilat.fit.layer_notes``), by their codes."""

from kilat.locale import N_

LAYERS: dict[str, str | tuple[str, str]] = {
    "gradients_vanish": N_(
        "Gradients vanish: beside its weights, the gradient of the first layer ({first}) is {factor:,} times smaller "
        "than that of the last ({last}), so the first layers hardly learn. What helps: ReLU in place of tanh or "
        "sigmoid (model.activation=relu), first weights that fit it (model.init=he_normal), batch norm "
        "(model.normalisation=batch_norm), residual blocks, or fewer layers."
    ),
    "gradients_absent": N_(
        "No gradient reaches the first layer ({first}): what lies between it and the last one ({last}) gives zeros "
        "alone, so nothing below can learn. What helps: a lower learning rate, first weights that fit the activation "
        "(model.init=he_normal), leaky ReLU (model.activation=leaky_relu), or batch norm."
    ),
    "gradients_explode": N_(
        "Gradients explode: that of {layer} is {factor:,} times as large as its weights, so that an update at any "
        "usual rate replaces them. What helps: smaller first weights (model.init=glorot_uniform), pixels that are "
        "normalised (input.normalise), batch norm (model.normalisation=batch_norm), or clipping "
        "(fit.clip.global_norm=1)."
    ),
    "updates_too_large": N_(
        "In epoch {epoch} an update of {layer} was {ratio:.1f} times as large as its weights; 0.001 times is usual. "
        "What helps: a lower learning rate, warm-up, or clipping (fit.clip.global_norm=1)."
    ),
    "units_dead": (
        N_(
            "Dead units: {share:.0%} of the units of {layer} are zero for all {pictures:,} validation pictures that "
            "were looked at, and no longer learn. What helps: a lower learning rate, first weights that fit the "
            "activation (model.init=he_normal), leaky ReLU (model.activation=leaky_relu), or batch norm."
        ),
        N_(
            "Dead units: in {count:,} layers most units are zero for all {pictures:,} validation pictures that were "
            "looked at, and no longer learn; in {layer} {share:.0%} of them. What helps: a lower learning rate, first "
            "weights that fit the activation (model.init=he_normal), leaky ReLU (model.activation=leaky_relu), or "
            "batch norm."
        ),
    ),
    "units_saturated": (
        N_(
            "Saturated units: {share:.0%} of the values of {layer} lie where its activation function is flat, so that "
            "hardly any gradient passes. What helps: a lower learning rate, smaller first weights, batch norm "
            "(model.normalisation=batch_norm), or ReLU (model.activation=relu)."
        ),
        N_(
            "Saturated units: in {count:,} layers most values lie where the activation function is flat, so that "
            "hardly any gradient passes; in {layer} {share:.0%} of them. What helps: a lower learning rate, smaller "
            "first weights, batch norm (model.normalisation=batch_norm), or ReLU (model.activation=relu)."
        ),
    ),
}
"""The sentence of every code; where there is a singular, both, chosen by the value ``count``."""
