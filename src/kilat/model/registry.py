"""The networks that can look at pictures, kilat's own and timm's: listed, searched, with what is known of each.

Nothing is fetched for that, and torch is imported only where it is installed: without it there are kilat's own.
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
from kilat.locale import _
from kilat.runtime.extras import has_torch
from kilat.runtime.files import cache_home, write_file
from kilat.runtime.progress import Advance, ignore

Order = Literal["name", "parameters", "macs", "accuracy"]
Counts = dict[str, tuple[int, int] | None]
"""Parameters and multiply-accumulates, by ``_key``; None of a network that cannot be counted."""

UNKNOWN = "unknown"
_EMBEDDED: Counts = {
    "efficientnet_lite0": (3_371_008, 383_907_552),
    "efficientnet_lite1": (4_135_680, 654_612_480),
    "efficientnet_lite2": (4_811_072, 751_320_064),
}
"""At ``lite.USUAL_SIDES``; written down, so that they are told without torch. A test counts them."""
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
        embedded: its weights come as a package of Python, not from timm's hub.
        here: its weights are on this machine.
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
class Listing:
    """The networks that were found, how many more there are, and what the user should know of that."""

    entries: list[Entry]
    more: int
    notes: list[str]


def find(
    search: str = "",
    *,
    sort: Order = "name",
    limit: int = 20,
    here: bool = False,
    advance: Advance = ignore,
) -> Listing:
    """The networks whose names match, the embedded ones first.

    Args:
        search: a part of the name, or a pattern with ``*``, ``?`` or ``[``; empty for all.
        sort: by name, those that begin with ``search`` first; from the smallest; or from the most accurate. What is
            unknown comes last.
        limit: how many to give.
        here: only those whose weights are on this machine.
        advance: called as parameters and multiply-accumulates are counted.

    Raises:
        BackboneError: no name matches.
        MissingExtra: no embedded one matches, and the others come with the extra ``torch``.
    """
    entries = _known(_matching(search))
    if here:
        entries = [entry for entry in entries if entry.here]
    if sort in ("parameters", "macs"):
        entries = _counted(entries, advance)
    entries = sorted(entries, key=lambda entry: _place(entry, sort, search))
    shown, more = entries[:limit], len(entries[limit:])
    return Listing(_counted(shown, advance), more, _notes(len(shown), more))


def document(listing: Listing) -> dict[str, Any]:
    """The listing as a document."""
    return {"backbones": [asdict(entry) for entry in listing.entries], "more": listing.more, "notes": listing.notes}


def table(listing: Listing) -> str:
    """The listing as text."""
    head = (_("name"), _("parameters"), _("MACs"), _("size"), _("top-1"), _("licence"), _("weights"))
    rows = [head, *map(_row, listing.entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_cells(row, widths)).rstrip() for row in rows]
    return "\n".join([*(lines if listing.entries else []), *listing.notes])


def count(name: str, size: tuple[int, int, int]) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a timm network without classifier, without memory for either.

    Args:
        name: as timm has it.
        size: channels, height and width of the picture.
    """
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        # exportable: attention in plain matrix products, which are counted; the fused form needs a real device
        network: Any = timm.create_model(name, num_classes=0, exportable=True).eval()
        with FlopCounterMode(display=False) as counter:
            network.forward_head(network.forward_features(torch.zeros(1, *size)), pre_logits=True)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


def _matching(search: str) -> list[str]:
    names = [*lite.NAMES, *_timm_names()]
    is_pattern = any(sign in search for sign in "*?[")
    pattern = (search if is_pattern else f"*{search}*").lower()
    found = [name for name in names if fnmatch.fnmatchcase(name.lower(), pattern)]
    if found:
        return found
    if not has_torch():
        raise MissingExtra(
            _("A backbone '{name}' (any but {own})").format(name=search, own=", ".join(lite.NAMES)), "torch"
        )
    bases = dict.fromkeys(name.partition(".")[0] for name in names)
    raise BackboneError(_("No backbone matches '{name}'.").format(name=search), hint=nearest(search, bases))


def _timm_names() -> list[str]:
    if not has_torch():
        return []
    import timm

    return [str(name) for name in timm.list_pretrained()]


def _known(names: Iterable[str]) -> list[Entry]:
    published = _published()
    return [(_own if name in lite.NAMES else _timms)(name, *published.get(name, (None, None))) for name in names]


def _published() -> dict[str, tuple[float, int]]:
    """The accuracy of networks, and the side in pixels at which it was measured."""
    lines = Path(__file__).with_name("accuracy.csv").read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["name"]: (float(row["top1"]), int(row["size"])) for row in rows}


def _own(name: str, accuracy: float | None, accuracy_size: int | None) -> Entry:
    path = weights_file(name)
    here = path is not None and path.is_file()
    return Entry(name, lite.USUAL_SIDES[name], _LICENCE, accuracy, accuracy_size, embedded=True, here=here)


def _timms(name: str, accuracy: float | None, accuracy_size: int | None) -> Entry:
    import timm

    from kilat.model.feature_extractor import is_here

    config: Any = timm.get_pretrained_cfg(name)
    licence = config.license or UNKNOWN
    return Entry(name, config.input_size[-1], licence, accuracy, accuracy_size, embedded=False, here=is_here(name))


def _place(entry: Entry, sort: Order, search: str) -> tuple[bool, bool, float, str]:
    measure = {
        "name": float(not entry.name.lower().startswith(search.lower())),
        "parameters": entry.parameters,
        "macs": entry.macs,
        "accuracy": None if entry.accuracy is None else -entry.accuracy,
    }[sort]
    return not entry.embedded, measure is None, measure or 0.0, entry.name


def _counted(entries: list[Entry], advance: Advance) -> list[Entry]:
    """The same networks with their parameters and multiply-accumulates; counted once for each version of timm."""
    known = dict(_EMBEDDED)
    if any(_key(entry) not in known for entry in entries):
        known |= _count_all(
            entries, cache_home() / "backbones" / f"counts-{importlib.metadata.version('timm')}.json", advance
        )
    counts = [known[_key(entry)] or (None, None) for entry in entries]
    return [
        replace(entry, parameters=parameters, macs=macs)
        for entry, (parameters, macs) in zip(entries, counts, strict=True)
    ]


def _key(entry: Entry) -> str:
    """What decides the counts: weights of the same network for pictures of the same size share them."""
    return entry.name if entry.embedded else f"{entry.name.partition('.')[0]} {entry.size}"


def _count_all(entries: list[Entry], path: Path, advance: Advance) -> Counts:
    known = _read(path)
    missing = {_key(entry): entry.name for entry in entries if not entry.embedded and _key(entry) not in known}
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


def _read(path: Path) -> Counts:
    try:
        return {
            key: None if pair is None else (int(pair[0]), int(pair[1]))
            for key, pair in json.loads(path.read_bytes()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}


def _notes(shown: int, more: int) -> list[str]:
    notes = [] if shown else [_("None of these is here.")]
    if more:
        notes.append(_("{more:,} more: narrow the search, or say --limit {all}.").format(more=more, all=shown + more))
    if not has_torch():
        notes.append(_("More than a thousand others come with the extra 'torch': pip install 'kilat[torch]'"))
    return notes


def _row(entry: Entry) -> tuple[str, ...]:
    parameters = "-" if entry.parameters is None else f"{entry.parameters / 1e6:,.1f} M"
    macs = "-" if entry.macs is None else f"{entry.macs / 1e9:,.2f} G"
    accuracy = "-" if entry.accuracy is None else f"{entry.accuracy:.1f}"
    if entry.accuracy is not None and entry.accuracy_size != entry.size:
        accuracy += _(" at {size}").format(size=entry.accuracy_size)
    return (entry.name, parameters, macs, str(entry.size), accuracy, entry.licence, _weights(entry))


def _weights(entry: Entry) -> str:
    if entry.here:
        return _("here")
    return _("extra 'weights'") if entry.embedded else _("to download")


def _cells(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Numbers to the right, words to the left."""
    return [
        cell.rjust(width) if place in (1, 2, 3) else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
