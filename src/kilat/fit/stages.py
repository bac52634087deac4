"""The part of a network that opens in stages, and how deep below the head every parameter is."""

from typing import Literal, Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class Staged(Protocol):
    """A backbone, or a network around one."""

    @property
    def stages(self) -> list[str]:
        """The names of the backbone's stages, from pixels up."""
        ...

    def unfreeze(self, stages: int | Literal["all"]) -> list[str]:
        """Lets training change the top stages, and nothing else of the backbone; gives their names."""
        ...

    def depth(self, parameter_name: str) -> int:
        """1 in the top stage, 2 in the one below it; 0 for the head and everything else above the backbone."""
        ...


def staged(network: nn.Module) -> tuple[str, Staged] | None:
    """What opens in stages, with its path in the network; None where nothing does."""
    return next(((path, part) for path, part in network.named_modules() if isinstance(part, Staged)), None)


def depths(network: nn.Module) -> dict[str, int]:
    """How many stages down each parameter of a network is, by its full name; 0 in the head, or without a backbone."""
    found = staged(network)
    names = [name for name, _parameter in network.named_parameters()]
    if found is None:
        return dict.fromkeys(names, 0)
    start = f"{found[0]}." if found[0] else ""
    return {name: found[1].depth(name.removeprefix(start)) if name.startswith(start) else 0 for name in names}
