"""Optimizers: the updates of ``keras.optimizers`` and of Muon, all tensors at once.

Weights and everything that is kept for them are float32. Whatever the algorithm, weight decay is decoupled
(Loshchilov and Hutter, arXiv 1711.05101) and comes first: a decaying weight loses ``weight_decay × rate`` of itself.

An update has two halves. ``prepare`` works out the numbers that differ from update to update, such as the rate and
Adam's bias correction; ``apply`` changes the parameters by them, as floats or as tensors. So a GPU can repeat ``apply``
as one recorded graph, in which new numbers are written to the same tensors.
"""
# ruff: noqa: SLF001 - torch's kernels over lists of tensors bear an underscore; its own optimizers are made of them.

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from kilat.recipe import optimizer as recipe

_MOMENTUM_DECAY = 0.96  # of Nadam's momentum schedule, as in its paper
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5

_ENDLESS = 1e12  # not infinity, which a GPU's fast arithmetic may not expect

Number = float | Tensor
"""A number, or a tensor that holds it, float32 ``[]``, where the parameters are."""

_Tensors = list[Tensor] | tuple[Tensor, ...]


class Optimizer:
    """Changes parameters by their gradients; a subclass says how, in ``_scalars`` and ``_update``.

    What an algorithm keeps for a parameter begins when that parameter first has a gradient, so what stays frozen costs
    no memory.

    Args:
        choices: the algorithm's settings.
        parameters: all parameters of a network by their names, in its order.
        factors: of the rate, for every parameter; None for 1.
    """

    def __init__(
        self,
        choices: recipe.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self.choices, self.parameters = choices, dict(parameters)
        self.steps = 0
        self._slots: dict[str, Tensor] = {}
        self._groups: dict[float, list[str]] = {}
        for name in self.parameters:
            self._groups.setdefault(factors[name] if factors else 1.0, []).append(name)
        for parameter in self.parameters.values():
            if torch.empty_like(parameter, device="meta").stride() != parameter.stride():
                parameter.data = parameter.data.contiguous()  # a slice with gaps; the kernels run over memory in one go

    @property
    def param_groups(self) -> list[dict[str, list[nn.Parameter]]]:
        """All parameters, as torch's gradient scaler needs them."""
        return [{"params": list(self.parameters.values())}]

    def step(self, rate: float) -> None:
        """Update every parameter that has a gradient; without any, nothing happens and no step is counted.

        Args:
            rate: the learning rate of this update, where its factor is 1.
        """
        if any(parameter.grad is not None for parameter in self.parameters.values()):
            self.apply(self.prepare(rate))

    def prepare(self, rate: float) -> list[float]:
        """Count an update, and return all numbers by which it differs from others: always as many, for ``apply``.

        Args:
            rate: the learning rate of this update, where its factor is 1.
        """
        self._count()
        return [number for factor in self._groups for number in self._numbers(rate * factor)]

    @torch.no_grad()
    def apply(self, numbers: Sequence[Number]) -> None:
        """Update every parameter that has a gradient, by the numbers that ``prepare`` gave."""
        width = len(numbers) // max(1, len(self._groups))
        for position, group in enumerate(self._groups.values()):
            names = [name for name in group if self.parameters[name].grad is not None]
            self._change(names, numbers[position * width : (position + 1) * width])

    def state(self) -> dict[str, Tensor]:
        """Return a copy of what is needed to resume exactly: ``steps``, and tensors such as ``mean/<parameter>``."""
        slots = {key: tensor.clone() for key, tensor in self._slots.items()}
        return {"steps": torch.tensor(self.steps), **slots}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Resume from what ``state`` gave, of the same algorithm on the same network."""
        for key, tensor in state.items():
            assert key == "steps" or tensor.shape == self.parameters[key.partition("/")[2]].shape, key
        self.steps = int(state["steps"])
        self._slots = {key: tensor.clone() for key, tensor in state.items() if key != "steps"}

    def _count(self) -> None:
        self.steps += 1

    def _numbers(self, rate: float) -> list[float]:
        """Return the numbers of a group: how much of a weight its decay leaves, then those of the algorithm."""
        return [1 - rate * self.choices.value("weight_decay"), *self._scalars(rate)]

    def _scalars(self, rate: float) -> list[float]:
        """Return the numbers by which an update of the algorithm differs from others, for ``_update``."""
        return [rate]

    def _change(self, names: list[str], numbers: Sequence[Number]) -> None:
        """Change parameters, all of which have gradients, by the numbers of their group."""
        kept, *scalars = numbers
        if names:
            self._decay(names, kept)
            self._update(names, *scalars)

    def _decay(self, names: list[str], kept: Number) -> None:
        weights: list[Tensor] = [self.parameters[name] for name in names]
        if self.choices.decay == "kernels":
            weights = [weight for weight in weights if weight.ndim >= 2]
        if self.choices.value("weight_decay") and weights:
            torch._foreach_mul_(weights, kept)

    def _update(self, names: list[str], *scalars: Number) -> None:
        raise NotImplementedError

    def _lists(self, names: list[str], *slots: str, start: float = 0.0) -> list[list[Tensor]]:
        """Return the weights, their gradients and what each slot keeps for them, all laid out alike in memory."""
        weights: list[Tensor] = [self.parameters[name] for name in names]
        grads = [
            _laid_out_like(self.parameters[name].grad, weight) for name, weight in zip(names, weights, strict=True)
        ]
        lists = [weights, grads]
        for slot in slots:
            keys = [f"{slot}/{name}" for name in names]
            for key, weight in zip(keys, weights, strict=True):
                self._slots[key] = _laid_out_like(self._slots.get(key), weight, start)
            lists.append([self._slots[key] for key in keys])
        return lists


def _laid_out_like(tensor: Tensor | None, like: Tensor, start: float = 0.0) -> Tensor:
    """Return a tensor laid out like another, on its device: the network may have been moved or laid out anew."""
    if tensor is None:
        return torch.full_like(like, start)
    if tensor.stride() == like.stride() and tensor.device == like.device:
        return tensor
    return torch.empty_like(like).copy_(tensor)


class Sgd(Optimizer):
    """Stochastic gradient descent."""

    def _update(self, names: list[str], *scalars: Number) -> None:
        (rate,) = scalars
        weights, grads = self._lists(names)
        _subtract(weights, grads, rate)


class Momentum(Optimizer):
    """SGD with momentum, or with Nesterov's; the rate is inside the velocity, as in Keras."""

    def _update(self, names: list[str], *scalars: Number) -> None:
        (rate,) = scalars
        weights, grads, velocity = self._lists(names, "velocity")
        momentum = self.choices.value("momentum")
        torch._foreach_mul_(velocity, momentum)
        _subtract(velocity, grads, rate)
        if self.choices.name == "nesterov":
            torch._foreach_add_(weights, velocity, alpha=momentum)
            _subtract(weights, grads, rate)
        else:
            torch._foreach_add_(weights, velocity)


class Adagrad(Optimizer):
    """AdaGrad (Duchi et al., JMLR 12, 2011)."""

    def _update(self, names: list[str], *scalars: Number) -> None:
        (rate,) = scalars
        start = self.choices.value("initial_accumulator")
        weights, grads, squares = self._lists(names, "squares", start=start)
        torch._foreach_addcmul_(squares, grads, grads)
        root = torch._foreach_add(squares, self.choices.value("epsilon"))
        torch._foreach_sqrt_(root)
        _subtract_quotients(weights, grads, root, rate)


class Rmsprop(Optimizer):
    """RMSprop (Hinton, 2012), with momentum where it is set."""

    def _update(self, names: list[str], *scalars: Number) -> None:
        (rate,) = scalars
        weights, grads, square = self._lists(names, "square")
        momentum = self.choices.value("momentum")
        _average_squares(square, grads, self.choices.value("rho"))
        root = torch._foreach_add(square, self.choices.value("epsilon"))
        torch._foreach_sqrt_(root)
        if not momentum:
            _subtract_quotients(weights, grads, root, rate)
            return
        *_, velocity = self._lists(names, "velocity")
        torch._foreach_mul_(velocity, momentum)
        _subtract_quotients(velocity, grads, root, rate)
        torch._foreach_add_(weights, velocity)


class Adam(Optimizer):
    """Adam and AdamW (Kingma and Ba, arXiv 1412.6980); epsilon is the paper's "epsilon hat", as in Keras."""

    def _scalars(self, rate: float) -> list[float]:
        beta_1, beta_2 = self.choices.value("beta_1"), self.choices.value("beta_2")
        return [rate * math.sqrt(1 - beta_2**self.steps) / (1 - beta_1**self.steps)]

    def _update(self, names: list[str], *scalars: Number) -> None:
        (rate,) = scalars
        weights, grads, mean, square = self._lists(names, "mean", "square")
        # The kernel would add epsilon after correcting the bias of the root, Keras before. So the rate corrects both
        # biases, and after so many steps the kernel finds none left.
        steps = [torch.full((), _ENDLESS, device=weights[0].device)] * len(weights)
        torch._fused_adam_(
            weights, grads, mean, square, [], steps,
            lr=rate, beta1=self.choices.value("beta_1"), beta2=self.choices.value("beta_2"), weight_decay=0.0,
            eps=self.choices.value("epsilon"), amsgrad=False, maximize=False,
        )  # fmt: skip


class Nadam(Optimizer):
    """Adam with Nesterov's momentum and a momentum schedule (Dozat, ICLR workshop 2016)."""

    _product = 1.0
    """Of all momenta so far."""

    def _count(self) -> None:
        super()._count()
        self._product *= self._momentum(self.steps)

    def _scalars(self, rate: float) -> list[float]:
        now, following = self._momentum(self.steps), self._momentum(self.steps + 1)
        of_mean, of_grads = following / (1 - self._product * following), (1 - now) / (1 - self._product)
        return [math.sqrt(1 - self.choices.value("beta_2") ** self.steps), rate * of_mean, rate * of_grads]

    def _update(self, names: list[str], *scalars: Number) -> None:
        bias, mean_rate, grad_rate = scalars
        weights, grads, mean, square = self._lists(names, "mean", "square")
        torch._foreach_lerp_(mean, grads, 1 - self.choices.value("beta_1"))
        _average_squares(square, grads, self.choices.value("beta_2"))
        root = torch._foreach_sqrt(square)
        torch._foreach_div_(root, bias)
        torch._foreach_add_(root, self.choices.value("epsilon"))
        _subtract_quotients(weights, mean, root, mean_rate)
        _subtract_quotients(weights, grads, root, grad_rate)

    def _momentum(self, step: int) -> float:
        return self.choices.value("beta_1") * (1 - 0.5 * math.pow(_MOMENTUM_DECAY, step))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Resume from what ``state`` gave; the momenta follow from the number of steps."""
        super().restore(state)
        self._product = math.prod(self._momentum(step) for step in range(1, self.steps + 1))


class Adamax(Optimizer):
    """Adam with the infinity norm (the same paper)."""

    def _scalars(self, rate: float) -> list[float]:
        return [rate / (1 - self.choices.value("beta_1") ** self.steps)]

    def _update(self, names: list[str], *scalars: Number) -> None:
        (rate,) = scalars
        weights, grads, mean, norm = self._lists(names, "mean", "norm")
        torch._foreach_lerp_(mean, grads, 1 - self.choices.value("beta_1"))
        torch._foreach_mul_(norm, self.choices.value("beta_2"))
        torch._foreach_maximum_(norm, torch._foreach_abs(grads))
        divisor = torch._foreach_add(norm, self.choices.value("epsilon"))
        _subtract_quotients(weights, mean, divisor, rate)


class Lion(Optimizer):
    """Lion: only the sign of a momentum counts (Chen et al., arXiv 2302.06675)."""

    def _update(self, names: list[str], *scalars: Number) -> None:
        (rate,) = scalars
        weights, grads, mean = self._lists(names, "mean")
        direction = torch._foreach_lerp(mean, grads, 1 - self.choices.value("beta_1"))
        torch._foreach_sign_(direction)
        _subtract(weights, direction, rate)
        torch._foreach_lerp_(mean, grads, 1 - self.choices.value("beta_2"))


class Muon(Adam):
    """Muon on hidden kernels, Adam on everything else (Jordan et al., https://kellerjordan.github.io/posts/muon).

    After Keller Jordan's definition, not Keras's, which leaves convolutions to Adam: a kernel of a dense layer or of a
    convolution is a matrix with one row a unit; its Nesterov momentum is made nearly orthogonal and scaled by
    ``sqrt(max(1, rows / columns))``. Hidden are all kernels but the network's first and last. The rest is trained by
    Adam, whose rate keeps its ratio to Muon's as the schedule goes on.

    Args:
        choices: the settings.
        parameters: by their names.
        factors: of the rate, for every parameter; None for 1.
        hidden: the names of the hidden kernels; None where the parameters are those of a whole network.
        dtype: that gradients are made orthogonal in; Jordan does so in bfloat16, which loses nothing.
    """

    def __init__(
        self,
        choices: recipe.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        factors: Mapping[str, float] | None = None,
        hidden: Collection[str] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(choices, parameters, factors)
        self.hidden = frozenset(hidden_kernels(parameters) if hidden is None else hidden)
        self.dtype = dtype

    def _numbers(self, rate: float) -> list[float]:
        adam_rate = rate * self.choices.value("adam_learning_rate") / self.choices.rate
        return [1 - rate * self.choices.value("weight_decay"), rate, *super()._numbers(adam_rate)]

    def _change(self, names: list[str], numbers: Sequence[Number]) -> None:
        kept, rate, *of_adam = numbers
        if hidden := [name for name in names if name in self.hidden]:
            self._decay(hidden, kept)
            self._turn(hidden, rate)
        super()._change([name for name in names if name not in self.hidden], of_adam)

    def _turn(self, names: list[str], rate: Number) -> None:
        weights, grads, velocity = self._lists(names, "velocity")
        torch._foreach_lerp_(velocity, grads, 1 - self.choices.value("momentum"))
        ahead = torch._foreach_lerp(grads, velocity, self.choices.value("momentum"))
        for weight, momentum in zip(weights, ahead, strict=True):
            matrix = momentum.flatten(1)
            scale = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
            weight.sub_(_orthogonal(matrix.to(self.dtype)).view_as(weight) * (rate * scale))


def _subtract(values: _Tensors, others: _Tensors, factor: Number) -> None:
    """Subtract the other values times a factor, in place."""
    if isinstance(factor, Tensor):  # which no kernel over lists takes as its alpha
        torch._foreach_sub_(values, torch._foreach_mul(others, factor))
    else:
        torch._foreach_add_(values, others, alpha=-factor)


def _subtract_quotients(values: _Tensors, numerators: _Tensors, denominators: _Tensors, factor: Number) -> None:
    """Subtract quotients times a factor, in place."""
    if isinstance(factor, Tensor):
        _subtract(values, torch._foreach_div(numerators, denominators), factor)
    else:
        torch._foreach_addcdiv_(values, numerators, denominators, value=-factor)


def _average_squares(square: list[Tensor], grads: list[Tensor], beta: float) -> None:
    torch._foreach_mul_(square, beta)
    torch._foreach_addcmul_(square, grads, grads, value=1 - beta)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Return a matrix with the same singular vectors and singular values near 1, by Newton-Schulz iteration."""
    a, b, c = _NEWTON_SCHULZ
    flat: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    flat = flat / (flat.norm() + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = flat @ flat.mT
        flat = a * flat + (b * gram + c * gram @ gram) @ flat
    return flat if matrix.shape[0] <= matrix.shape[1] else flat.mT


_ALGORITHMS: dict[recipe.OptimizerName, type[Optimizer]] = {
    "sgd": Sgd, "momentum": Momentum, "nesterov": Momentum, "adagrad": Adagrad, "rmsprop": Rmsprop, "adam": Adam,
    "adamw": Adam, "nadam": Nadam, "adamax": Adamax, "lion": Lion, "muon": Muon,
}  # fmt: skip


def create(
    choices: recipe.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    factors: Mapping[str, float] | None = None,
    hidden: Collection[str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Optimizer:
    """Return an optimizer before its first step.

    Args:
        choices: which algorithm, and its settings.
        parameters: by their names; where ``hidden`` is None all of a network in its order, frozen ones too: Muon finds
            the first and the last kernel by it.
        factors: of the rate, for every parameter by its name; None for 1. Weight decay goes by the same rate.
        hidden: the names of the kernels that Muon makes orthogonal; None for all but the first and the last.
        dtype: that Muon computes them in.
    """
    if choices.name == "muon":
        return Muon(choices, parameters, factors, hidden, dtype)
    return _ALGORITHMS[choices.name](choices, parameters, factors)


def kernels(parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """Return the names of the kernels; tensors of three dimensions are slopes of activations, or embeddings."""
    return [name for name, parameter in parameters.items() if parameter.ndim in (2, 4)]


def hidden_kernels(parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """Return the names of all kernels of a network but its first and its last."""
    return kernels(parameters)[1:-1]
