"""Whether int8 is precise enough for a backbone, measured on some of the pictures themselves, once for each backbone.

Some transformers have few channels of huge values, which coarsen all others; others bear int8 well. No rule says
which, so their features are compared.
"""

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort

from kilat.data.catalog import Picture, Source, content_digest
from kilat.data.decode import without_warnings
from kilat.errors import PictureError, RunError
from kilat.features.backbone import Backbone
from kilat.features.processing import OnnxRunner, Preprocessor
from kilat.recipe import Resize
from kilat.runtime.array_types import Floats
from kilat.runtime.byte_budget import bytes_of
from kilat.runtime.cores import available_cores
from kilat.runtime.files import cache_home, write_file
from kilat.runtime.json_document import read_json
from kilat.runtime.ordered_map import ordered_map

MOST_NOISE = 0.01
"""The share of a feature's variance over the pictures that int8 may add, on average over the features of a block. That
much noise made heads on flowers and CIFAR-10 no worse than their standard error (``docs/log.md``)."""

PICTURES = 16
"""How many are compared."""

FEWEST_PICTURES = 8 * PICTURES
"""With fewer pictures the comparison takes longer than int8 saves."""

_KEPT = 1000
"""Answers of the last comparisons that are kept."""

_CONSTANT = 1e-4
"""Features that vary less over the pictures, beside their size, say nothing."""


def noise_share(fp32: Backbone, int8: Backbone, source: Source, resize: Resize) -> float | None:
    """Return the share of the variance of features that int8 adds, in the block where it is largest.

    Args:
        fp32: the backbone.
        int8: the same with layers in int8.
        source: the pictures, of which some from all over are taken.
        resize: how pictures that are not square are fitted into the network's square.

    Returns:
        0 for the same features, 1 for noise as large as what tells the pictures apart; None where too few pictures
        can be read.
    """
    digests = [content_digest(one).hex() for one in _sample(source)]
    what = [fp32.digest, int8.digest, resize, ort.__version__, *digests]
    key = hashlib.sha256(" ".join(what).encode()).hexdigest()
    path = cache_home() / "backbones" / "int8-noise.json"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        known = {str(name): float(share) for name, share in read_json(path).items()}
    if key in known:
        return known[key]
    found = _features(_sample(source), Preprocessor(fp32.size, resize), (OnnxRunner(fp32), OnnxRunner(int8)))
    if len(found) < PICTURES // 2:
        return None
    known[key] = _worst_share(fp32, *np.stack(found, 1))
    with contextlib.suppress(OSError, RunError):  # a cache that cannot be written costs the saving only
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(dict(list(known.items())[-_KEPT:])))
    return known[key]


def _sample(source: Source) -> Iterator[Picture]:
    """Yield some pictures from all over a source that can be read."""
    for index in np.unique(np.linspace(0, len(source.entries) - 1, PICTURES).astype(int)).tolist():
        if not source.entries[index].refused:
            with contextlib.suppress(PictureError, MemoryError):
                yield source.read(index)


def _features(pictures: Iterable[Picture], preprocess: Preprocessor, runners: Sequence[OnnxRunner]) -> list[Floats]:
    """Return the features ``[runners, width]`` of every picture that can be decoded."""

    def features(picture: Picture) -> list[Floats]:
        try:
            pixels = preprocess(picture)[None]
        except PictureError:
            return []
        return [np.concatenate([runner(pixels) for runner in runners])]

    workers = available_cores()
    with without_warnings(), ThreadPoolExecutor(workers) as pool:
        return [one for found in ordered_map(pool, features, pictures, bytes_of, workers) for one in found]


def _worst_share(backbone: Backbone, expected: Floats, found: Floats) -> float:
    """Return the share of the variance of features that is noise, in the block where it is largest."""
    signal, noise = expected.var(0, dtype=np.float64), (found - expected).var(0, dtype=np.float64)
    varies = np.sqrt(signal) > _CONSTANT * np.abs(expected).max(0)
    share = np.where(varies, noise / np.where(varies, signal, 1), np.nan)
    ends = list(itertools.accumulate(block.width for block in backbone.blocks))[:-1]
    blocks = [block[np.isfinite(block)] for block in np.split(share, ends)]
    return max((float(block.mean()) for block in blocks if len(block)), default=1.0)
