"""The backbones to choose from, kilat's own and timm's: listed, searched, with what is known of each.

Nothing is downloaded for that. torch and timm are imported only where they are installed: without them there are
kilat's own.
"""

import contextlib
import csv
import fnmatch
import importlib.metadata
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kilat.errors import BackboneError, MissingExtra, RunError, nearest
from kilat.features import lite
from kilat.features.weights import weights_file
from kilat.locale import _, localized
from kilat.locale.escapes import Shown
from kilat.locale.notes import Note
from kilat.runtime.extras import has_torch
from kilat.runtime.files import cache_home, write_file
from kilat.runtime.json_document import read_json
from kilat.runtime.progress import Advance, ignore

Order = Literal["name", "parameters", "macs", "accuracy"]
Counts = dict[str, tuple[int, int] | None]
"""Parameters and multiply-accumulates, by ``_count_key``; None for a network that cannot be counted."""

UNKNOWN = "unknown"
_EMBEDDED: Counts = {
    "efficientnet_lite0": (3_371_008, 383_907_552),
    "efficientnet_lite1": (4_135_680, 654_612_480),
    "efficientnet_lite2": (4_811_072, 751_320_064),
}
"""At ``lite.DEFAULT_SIZES``; written down, so that they are known without torch. A test counts them."""
_LICENCE = "apache-2.0"


@dataclass(frozen=True)
class Entry:
    """What is known of a network.

    Args:
        name: as recipes have it.
        size: side in pixels of the pictures that it was made for.
        licence: of its weights, as timm names it, or ``unknown``.
        accuracy: published top-1 accuracy on ImageNet-1k in percent.
        accuracy_size: side in pixels at which that was measured.
        embedded: whether its weights come as a package of Python, not from timm's hub.
        here: whether its weights are on this machine.
        parameters: without a classifier.
        macs: multiply-accumulates for one picture of ``size``.
    """

    name: str
    size: int
    licence: str
    accuracy: float | None
    accuracy_size: int | None
    embedded: bool
    here: bool
    parameters: int | None = None
    macs: int | None = None


@dataclass(frozen=True)
class SearchResult:
    """The networks that were found, how many more there are, and notes for the user."""

    entries: list[Entry]
    more: int
    notes: list[Note]


def find(
    search: str = "",
    *,
    sort: Order = "name",
    limit: int = 20,
    here: bool = False,
    advance: Advance = ignore,
) -> SearchResult:
    """Return the networks whose names match, the embedded ones first.

    Args:
        search: a part of the name, or a pattern with ``*``, ``?`` or ``[``; empty for all.
        sort: by name, those that begin with ``search`` first; from the smallest; or from the most accurate. Unknown
            values come last.
        limit: how many to return.
        here: only those whose weights are on this machine.
        advance: called as parameters and multiply-accumulates are counted.

    Raises:
        BackboneError: no name matches.
        MissingExtra: no embedded one matches, and the others come with the extra ``torch``.
    """
    published = published_accuracy()
    entries = [_entry(name, *published.get(name, (None, None))) for name in _matching(search)]
    if here:
        entries = [entry for entry in entries if entry.here]
    if sort in ("parameters", "macs"):
        entries = _counted(entries, advance)
    entries = sorted(entries, key=lambda entry: _sort_key(entry, sort, search))
    entries, more = _counted(entries[:limit], advance), len(entries[limit:])
    notes = [] if entries else [Note("backbones_none_on_this_machine")]
    if more:
        notes.append(Note("backbones_more", {"count": more, "all": len(entries) + more}))
    if not has_torch():
        notes.append(Note("backbones_need_torch"))
    return SearchResult(entries, more, notes)


def document(result: SearchResult) -> dict[str, Any]:
    """Return the result as JSON holds it."""
    return {
        "backbones": [asdict(entry) for entry in result.entries],
        "more": result.more,
        "notes": [note.document() for note in result.notes],
    }


def table(result: SearchResult) -> str:
    """Return the result as text in the language of the environment."""
    head = (_("name"), _("parameters"), _("MACs"), _("size"), _("top-1"), _("licence"), _("weights"))
    rows = [head, *map(_row, result.entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = (1, 2, 3)
    lines = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return Shown("\n").join([*(lines if result.entries else []), *(note.sentence() for note in result.notes)])


def count(name: str, size: tuple[int, int, int]) -> tuple[int, int]:
    """Return parameters and multiply-accumulates of a timm network without classifier, with no memory for either.

    Args:
        name: as timm has it.
        size: channels, height and width of the picture.
    """
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        # exportable: attention in plain matrix products, which are counted; the fused form needs a real device
        network: Any = timm.create_model(name, num_classes=0, exportable=True).eval().requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            network.forward_head(network.forward_features(torch.zeros(1, *size)), pre_logits=True)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


def published_accuracy() -> dict[str, tuple[float, int]]:
    """Return the published top-1 accuracy of networks in percent, and the side in pixels at which it was measured."""
    lines = Path(__file__).with_name("accuracy.csv").read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["name"]: (float(row["top1"]), int(row["size"])) for row in rows}


def _matching(search: str) -> list[str]:
    names = list(lite.NAMES)
    if has_torch():
        import timm

        names += map(str, timm.list_pretrained())
    is_pattern = any(sign in search for sign in "*?[")
    pattern = (search if is_pattern else f"*{search}*").lower()
    matching = [name for name in names if fnmatch.fnmatchcase(name.lower(), pattern)]
    if matching:
        return matching
    if not has_torch():
        raise MissingExtra(
            _("A backbone '{name}' (any but {own})").format(name=search, own=", ".join(lite.NAMES)), "torch"
        )
    bases = dict.fromkeys(name.partition(".")[0] for name in names)
    raise BackboneError(_("No backbone matches '{name}'.").format(name=search), hint=nearest(search, bases))


def _entry(name: str, accuracy: float | None, accuracy_size: int | None) -> Entry:
    if name in lite.NAMES:
        path = weights_file(name)
        here = path is not None and path.is_file()
        return Entry(name, lite.DEFAULT_SIZES[name], _LICENCE, accuracy, accuracy_size, embedded=True, here=here)
    import timm

    from kilat.model.timm_networks import has_weights

    config: Any = timm.get_pretrained_cfg(name)
    licence = config.license or UNKNOWN
    return Entry(name, config.input_size[-1], licence, accuracy, accuracy_size, embedded=False, here=has_weights(name))


def _sort_key(entry: Entry, sort: Order, search: str) -> tuple[bool, bool, float, str]:
    value = {
        "name": float(not entry.name.lower().startswith(search.lower())),
        "parameters": entry.parameters,
        "macs": entry.macs,
        "accuracy": None if entry.accuracy is None else -entry.accuracy,
    }[sort]
    return not entry.embedded, value is None, value or 0.0, entry.name


def _counted(entries: list[Entry], advance: Advance) -> list[Entry]:
    """Return the same networks with their parameters and multiply-accumulates, counted once for a version of timm."""
    known = dict(_EMBEDDED)
    if any(_count_key(entry) not in known for entry in entries):
        file = cache_home() / "backbones" / f"counts-{importlib.metadata.version('timm')}.json"
        known |= _count_all(entries, file, advance)
    counts = [known[_count_key(entry)] or (None, None) for entry in entries]
    return [
        replace(entry, parameters=parameters, macs=macs)
        for entry, (parameters, macs) in zip(entries, counts, strict=True)
    ]


def _count_key(entry: Entry) -> str:
    """Return what decides the counts: all weights of one network for pictures of one size share them."""
    return entry.name if entry.embedded else f"{entry.name.partition('.')[0]} {entry.size}"


def _count_all(entries: Iterable[Entry], path: Path, advance: Advance) -> Counts:
    known = _read_counts(path)
    missing = {key: entry.name for entry in entries if not entry.embedded and (key := _count_key(entry)) not in known}
    try:
        for done, (key, name) in enumerate(missing.items(), 1):
            known[key] = _count_or_none(name)
            advance(done, len(missing))
    finally:  # what was counted before an interruption need not be counted again
        if missing:
            with contextlib.suppress(OSError, RunError):  # a cache that cannot be written costs the saving only
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, json.dumps(known))
    return known


def _count_or_none(name: str) -> tuple[int, int] | None:
    import timm

    config: Any = timm.get_pretrained_cfg(name)
    try:
        return count(name, config.input_size)
    except Exception:  # noqa: BLE001 - a network that needs real numbers to be built or run fails in its own way
        return None


def _read_counts(path: Path) -> Counts:
    try:
        return {key: None if pair is None else (int(pair[0]), int(pair[1])) for key, pair in read_json(path).items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}


def _row(entry: Entry) -> tuple[str, ...]:
    parameters = "-" if entry.parameters is None else f"{localized(entry.parameters / 1e6, ',.1f')} M"
    macs = "-" if entry.macs is None else f"{localized(entry.macs / 1e9, ',.2f')} G"
    accuracy = "-" if entry.accuracy is None else localized(entry.accuracy, ".1f")
    if entry.accuracy is not None and entry.accuracy_size != entry.size:
        accuracy += _(" at {size}").format(size=entry.accuracy_size)
    weights = _("extra 'weights'") if entry.embedded else _("to download")
    if entry.here:
        weights = _("here")
    return (entry.name, parameters, macs, str(entry.size), accuracy, entry.licence, weights)
