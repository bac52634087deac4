"""The losses that training minimises: Keras's cross-entropies and focal losses, from logits, over soft labels."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from kilat.errors import RecipeError, nearest
from kilat.locale import _
from kilat.recipe import fit as recipe

_EPSILON = 1e-7  # Keras's; below it, a power less than 1 has no usable slope


class Loss:
    """The loss of a recipe, ``keras.losses`` with ``from_logits``.

    ``cross_entropy`` and ``focal`` are over a softmax; ``binary_cross_entropy``, and ``focal`` of one unit, over a
    sigmoid. ``alpha`` scales the focal loss of a softmax only, as Keras's binary one has none unless it balances.
    Logarithms are taken from logits, never from a probability, so the loss of a picture that is hopelessly wrong keeps
    its slope.

    Args:
        choices: which loss, and its numbers.
        classes: how many classes there are.
        class_weight: a factor for every class, ``[classes]``; None for none.
    """

    def __init__(self, choices: recipe.Loss, classes: int, class_weight: Tensor | None) -> None:
        assert class_weight is None or class_weight.shape == (classes,)
        self.choices, self.classes, self.class_weight = choices, classes, class_weight

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over pictures; class weights multiply and are not divided out again, as in Keras.

        Args:
            logits: ``[n, classes]``, or ``[n, 1]`` for one sigmoid unit.
            targets: float32 ``[n, classes]``, how much a picture belongs to each class; rows sum to 1. The second
                column is the target of a sigmoid unit.
        """
        return self.each(logits, targets).mean()

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every picture, times the weight of its class: float32 ``[n]``."""
        assert targets.shape == (len(logits), self.classes)
        assert logits.shape[1] in (1, self.classes)
        logits = logits.float()
        losses = self._sigmoid(logits[:, 0], targets[:, 1]) if logits.shape[1] == 1 else self._softmax(logits, targets)
        if self.class_weight is None:
            return losses
        self.class_weight = self.class_weight.to(targets.device)
        return losses * (targets @ self.class_weight)

    def _softmax(self, logits: Tensor, targets: Tensor) -> Tensor:
        targets = self._smoothed(targets, self.classes)
        logarithms = functional.log_softmax(logits, 1)
        if self.choices.name == "cross_entropy":
            return -(targets * logarithms).sum(1)
        others = (-logarithms.expm1()).clamp_min(_EPSILON)
        return -self.choices.alpha * (targets * others**self.choices.gamma * logarithms).sum(1)

    def _sigmoid(self, logits: Tensor, truth: Tensor) -> Tensor:
        truth = self._smoothed(truth, 2)
        losses = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        if self.choices.name == "binary_cross_entropy":
            return losses
        missing = truth * (-logits).sigmoid() + (1 - truth) * logits.sigmoid()
        return missing.clamp_min(_EPSILON) ** self.choices.gamma * losses

    def _smoothed(self, targets: Tensor, classes: int) -> Tensor:
        smoothing = self.choices.label_smoothing
        return targets * (1 - smoothing) + smoothing / classes if smoothing else targets


def probabilities(logits: Tensor) -> Tensor:
    """Return float32 probabilities of all classes: the softmax of ``[n, classes]``, or both of a unit ``[n, 1]``."""
    logits = logits.float()
    if logits.shape[1] == 1:
        return torch.cat([(-logits).sigmoid(), logits.sigmoid()], 1)
    return logits.softmax(1)


def class_weights(
    choice: Literal["balanced"] | dict[str, float] | None, classes: Sequence[str], counts: Sequence[int]
) -> Tensor | None:
    """Return a factor for every class.

    Args:
        choice: ``balanced`` for ``pictures / (classes * pictures of the class)``, as in scikit-learn; factors by name,
            1 for those not named; or None.
        classes: the names.
        counts: how many training pictures each has.

    Returns:
        Float32 ``[classes]``, or None where nothing is weighted.

    Raises:
        RecipeError: a name is none of the classes.
    """
    if choice is None:
        return None
    if choice == "balanced":
        # A class without pictures has no loss; it only must not divide by zero.
        return torch.tensor([sum(counts) / (len(classes) * max(1, count)) for count in counts])
    unknown = [name for name in choice if name not in classes]
    if unknown:
        raise RecipeError(
            _("fit.class_weight: there is no class {names}.").format(names=", ".join(map(repr, unknown))),
            hint=" ".join(dict.fromkeys(nearest(name, classes) for name in unknown)),
        )
    return torch.tensor([choice.get(name, 1.0) for name in classes])
