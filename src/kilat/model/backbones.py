"""Any timm network as a backbone: exported to ONNX once, and from then on read from the cache without torch.

The export goes through PyTorch's TorchScript exporter (``dynamo=False``). Measured with torch 2.15 on seven families of
networks, it is as near to PyTorch as the newer exporter (1e-5 of the largest feature at worst), its graphs run as fast
or faster in ONNX Runtime (at opset 18 the newer one leaves GELU in pieces that are not fused: ConvNeXt 17.8 ms
against 13.3), it takes 0.5 to 9 seconds instead of 6 to 22, and needs no further package. Every export is compared
with the network before it is used.
"""

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kilat.errors import BackboneError, MissingExtra, RunError
from kilat.features.backbone import Backbone, Block
from kilat.features.cache import limit
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.locale.system_errors import system_reason
from kilat.runtime.cores import available_cores
from kilat.runtime.extras import has_torch
from kilat.runtime.files import cache_home, write_file
from kilat.runtime.json_document import read_json
from kilat.runtime.kept_files import BACKBONES, mark_used, shrink
from kilat.runtime.onnx_session import make_session
from kilat.runtime.regular_file import open_regular_file, read_regular_file

if TYPE_CHECKING:
    from kilat.model.feature_extractor import FeatureExtractor

EXPORT = 1
"""Part of every cache key: raised when the exported graphs change."""

TOLERANCE = 1e-3
"""How far ONNX Runtime may be from PyTorch, as a share of a block's largest feature; 1e-5 is usual."""

_MAX_BYTES = 1_900_000_000


def settle_size(names: Sequence[str], size: int | None, suggested: int, device: str) -> tuple[int, list[Note]]:
    """Return the side in pixels at which several networks take pictures, and notes; once known, without torch.

    Args:
        names: as timm has them, or of embedded networks.
        size: the given side; None for one that follows from the pictures and from what the networks cost on a device.
        suggested: the side that the pictures are worth.
        device: ``cpu`` or ``cuda``.

    Raises:
        BackboneError: there is no such network, one of them cannot take the given size, or they have none in common.
    """
    path = cache_home() / "backbones" / f"sizes-{importlib.metadata.version('timm')}.json"
    known: dict[str, Any] = {}
    key = f"{EXPORT} {' '.join(names)} {size or f'{suggested} {device}'}"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = dict(read_json(path))
        document = known[key]
        return int(document["size"]), [Note(note["code"], note["values"]) for note in document["notes"]]
    from kilat.model import input_size

    settled = input_size.settle(names, size, suggested, input_size.MAX_MACS[device])
    known[key] = {"size": settled.size, "notes": [note.document() for note in settled.notes]}
    with contextlib.suppress(OSError, RunError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(known))
    return settled.size, settled.notes


def load(name: str, *, weights: Path | None = None, size: int | None = None) -> Backbone:
    """Return a timm network as a backbone, in fp32.

    Args:
        name: as timm has it, such as ``resnet18`` or ``resnet18.a1_in1k``.
        weights: a file of weights (``.safetensors``, ``.pth``, ``.pt``, ``.bin``); None for timm's hub.
        size: side of the input in pixels; None for the side in timm's configuration.

    Raises:
        MissingExtra: PyTorch and timm are not installed.
        BackboneError: there is no such network, it cannot take pictures of this size, its weights are missing,
            unreachable or do not fit, or it cannot be exported.
    """
    if not has_torch():
        raise MissingExtra(_("The backbone '{name}'").format(name=name), "torch")
    path = cache_home() / "backbones" / f"{_cache_key(name, weights, size)}.onnx"
    cached = _read(path, name)
    if cached is not None:
        return cached
    from kilat.model.feature_extractor import create

    extractor = create(name, size, weights)
    backbone = Backbone(name, _export(extractor, name), extractor.size, "fp32", extractor.blocks)
    with contextlib.suppress(OSError, RunError):  # a cache that cannot be written costs the saving, not the run
        _write(path, backbone)
    return backbone


def _cache_key(name: str, weights: Path | None, size: int | None) -> str:
    versions = [importlib.metadata.version(package) for package in ("timm", "torch")]
    source = _file_digest(weights) if weights else "hub"
    return hashlib.sha256(json.dumps([EXPORT, name, size, source, *versions]).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        with open_regular_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackboneError(
            _("The weights file {path} cannot be read: {reason}.").format(path=path, reason=system_reason(error))
        ) from error


def _read(path: Path, name: str) -> Backbone | None:
    """Return the cached backbone; None where there is none, or a damaged one."""
    try:
        model = read_regular_file(path, _MAX_BYTES)
        document = read_json(path.with_suffix(".json"))
        blocks = tuple(Block(str(block), int(width)) for block, width in document["blocks"])
        is_whole = document["sha256"] == hashlib.sha256(model).hexdigest()
        mark_used(path)
        mark_used(path.with_suffix(".json"))
        return Backbone(name, model, int(document["size"]), "fp32", blocks) if is_whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, backbone: Backbone) -> None:
    blocks = [[block.name, block.width] for block in backbone.blocks]
    document = {"sha256": backbone.digest, "name": backbone.name, "size": backbone.size, "blocks": blocks}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, backbone.model)
    write_file(path.with_suffix(".json"), json.dumps(document))
    shrink(path.parent, BACKBONES, limit())


def _export(extractor: "FeatureExtractor", name: str) -> bytes:
    from kilat.model.to_onnx import trace

    if sum(value.nbytes for value in extractor.state_dict().values()) > _MAX_BYTES:
        raise BackboneError(
            _("'{name}' is too large for one ONNX file (2 GB).").format(name=name),
            hint=_("Take a smaller network of the same family."),
        )
    try:
        model = trace(extractor, extractor.size, "features")
        difference = _difference(extractor, model)
    except Exception as error:  # an operator without counterpart shows in many ways, in either library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise BackboneError(
            _("'{name}' cannot be turned into ONNX: {reason}").format(name=name, reason=reason)
        ) from error
    if not difference <= TOLERANCE:
        raise BackboneError(
            _("'{name}' in ONNX Runtime differs from PyTorch by {difference:.1e}; {tolerance:.0e} is allowed.").format(
                name=name, difference=difference, tolerance=TOLERANCE
            )
        )
    return model


def _difference(extractor: "FeatureExtractor", model: bytes) -> float:
    """Return the largest difference between graph and network, as a share of the largest feature of its block.

    On noise, in batches of sizes that tracing did not see; NaN where anything is not finite.
    """
    import torch

    session = make_session(model, threads=available_cores())
    ends = list(itertools.accumulate(block.width for block in extractor.blocks))[:-1]
    differences = []
    for batch in (3, 1):
        noise = np.random.default_rng(batch).integers(0, 256, (batch, extractor.size, extractor.size, 3), np.uint8)
        (found,) = session.run(["features"], {"pixels": noise})
        with torch.inference_mode():
            expected = extractor(torch.from_numpy(noise)).numpy()
        for of_graph, of_network in zip(np.split(found, ends, 1), np.split(expected, ends, 1), strict=True):
            scale = max(float(np.abs(of_network).max()), 1e-6)
            differences.append(float(np.abs(of_graph - of_network).max()) / scale)
    return float(np.max(differences))
