"""The part of a network that is unfrozen in stages, and how far below the head every parameter is."""

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
        """Let training change the top stages, and nothing else of the backbone; return their names."""
        ...

    def depth(self, parameter_name: str) -> int:
        """Return 1 in the top stage, 2 in the one below it; 0 in the head and everywhere else above the backbone."""
        ...


def find_staged(network: nn.Module) -> tuple[str, Staged] | None:
    """Return the part that is unfrozen in stages, with its path in the network; None where there is none."""
    return next(((path, part) for path, part in network.named_modules() if isinstance(part, Staged)), None)


def parameter_depths(network: nn.Module) -> dict[str, int]:
    """Return how many stages down each parameter is, by its full name; 0 in the head, or without a backbone."""
    found = find_staged(network)
    names = [name for name, _parameter in network.named_parameters()]
    if found is None:
        return dict.fromkeys(names, 0)
    path, part = found
    prefix = f"{path}." if path else ""
    return {name: part.depth(name.removeprefix(prefix)) if name.startswith(prefix) else 0 for name in names}
