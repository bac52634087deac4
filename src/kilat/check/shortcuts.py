"""Can a label be told from something that is not the subject: size, compression, frame, camera, colour, brightness?

One rule is learnt for each class and each trait of the pictures: the range of values (for names: the set) that holds
most of the class and least of the others. It is a decision tree of one trait and two cuts, it says itself in a
sentence, and it is measured on pictures that it was not learnt from (5 folds). A rule that nearly separates a class
will be learnt by any classifier, which then need not look at the subject. See Geirhos et al., *Shortcut learning in
deep neural networks*, Nature Machine Intelligence 2020.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.check.finding import Finding, Severity
from kilat.evaluate.metrics import mean_share_interval
from kilat.locale import _

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

FOLDS = 5
PLAINER = 0.01
"""A later trait must tell this much better than one before it, which says it more plainly."""

LEAST = 8
"""A class (and the rest) with fewer pictures is not asked about."""

SERIOUS = 0.9
"""Balanced accuracy, at the lower end of its interval, from which a shortcut is serious."""

LOOK = 0.75
"""The same, from which it deserves a look."""

LIGHT = 0.95
"""The same for brightness and its like, which may be the subject itself: only ever a look."""

GREY = 2.0
"""Less colourfulness than this is a grey picture."""

_BINS = 128
_SHOWN = 12
_FRAMED, _BARRED, _SAME = 0.25, 0.9, 12


@dataclass(frozen=True)
class Trait:
    """Something about a picture that is not its subject.

    Args:
        group: what it belongs to: ``size``, ``compression``, ``frame``, ``camera``, ``colour`` or ``light``.
        says: what a picture has, as the end of "They have …"; ``{values}`` stands for the values.
        values: one a picture; ordered numbers, or names.
        form: how a value is written.
    """

    group: str
    says: str
    values: NDArray[Any]
    form: str = "{:g}"

    @property
    def ordered(self) -> bool:
        """Whether values are numbers, so that a rule is a range of them."""
        return bool(np.issubdtype(self.values.dtype, np.number))


@dataclass(frozen=True)
class Rule:
    """What tells a class from the rest, and how well on pictures that it was not learnt from.

    Args:
        trait: what the rule looks at.
        label: the class.
        values: which values the class has, in words.
        inside: which pictures have such a value, as a mask.
        hits: how many held-out pictures of the class were told right.
        n: how many pictures the class has.
        clear: how many held-out others were told right.
        others: how many others there are.
    """

    trait: Trait
    label: str
    values: str
    inside: NDArray[np.bool_]
    hits: int
    n: int
    clear: int
    others: int

    @property
    def accuracy(self) -> float:
        """Balanced accuracy on held-out pictures; 0.5 is chance."""
        return (self.hits / self.n + self.clear / self.others) / 2

    @property
    def interval(self) -> list[float]:
        """Of the balanced accuracy, 95%."""
        interval = mean_share_interval(np.array([self.hits, self.clear]), np.array([self.n, self.others]))
        assert interval is not None, "both sides have pictures"
        return interval


def find(table: pd.DataFrame, facts: NDArray[np.void]) -> list[Finding]:
    """Warnings of labels that can be told from something that is not the subject.

    Args:
        table: the catalog's; only used rows with a label take part.
        facts: ``kilat.data.image_stats.IMAGE_STATS``, one record a row.

    Returns:
        One finding for each group of traits, the best told first; nothing where nothing is nearly told.
    """
    rows = np.flatnonzero((table["status"] == "used") & (table["label"] != ""))
    labels = np.asarray(table["label"])[rows].astype(str)
    classes, truth = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        return []
    best: dict[tuple[str, str], Rule] = {}
    for trait in traits(facts[rows]):
        for rule in _rules(trait, truth, classes):
            key = trait.group, rule.label
            if key not in best or rule.accuracy > best[key].accuracy + PLAINER:
                best[key] = rule
    found: list[Finding] = []
    explained: set[str] = set()
    for group in dict.fromkeys(group for group, _label in best):  # light comes last: a white frame is bright, too
        rules = sorted((r for (g, _l), r in best.items() if g == group), key=lambda r: (-r.accuracy, r.label))
        if len(classes) == 2:  # what tells one of two tells the other
            rules = rules[:1]
        if group == "light":
            rules = [rule for rule in rules if rule.label not in explained]
        for severity, told in _by_severity(rules):
            explained.update(rule.label for rule in told)
            found.append(_finding(told, severity, rows, truth, classes))
    return sorted(found, key=lambda f: (f.severity != "serious", -f.facts["rules"][0]["balanced_accuracy"]))


def traits(facts: NDArray[np.void]) -> list[Trait]:
    """What is known of pictures beside their subject."""
    width, height = facts["width"].astype(int), facts["height"].astype(int)
    frame, bars = _frame(facts), _bars(facts)
    tone = np.where(frame[:, None] > 0, facts["border_mean"], np.nan).mean(axis=1)
    area = np.maximum(width * height, 1)
    return [
        Trait("size", _("a size of {values} pixels"), _sizes(width, height)),
        Trait("size", _("a width of {values} pixels"), width),
        Trait("size", _("a height of {values} pixels"), height),
        Trait("size", _("a width that is {values} times the height"), width / np.maximum(height, 1), "{:.2f}"),
        Trait("size", _("{values} megapixels"), area / 1e6, "{:.3g}"),
        Trait("compression", _("the file format {values}"), _names(facts["format"])),
        Trait("compression", _("a JPEG quality of {values}"), facts["quality"].astype(int)),
        Trait("compression", _("chroma subsampling {values}"), _subsampling(facts["subsampling"])),
        Trait("compression", "{values}", np.where(facts["progressive"], _("a progressive file"), _("a plain file"))),
        Trait("compression", _("the quantisation tables {values}"), facts["quantization"].astype(str)),
        Trait("frame", _("a frame of one tone, {values} pixels wide"), frame),
        Trait("frame", _("bars of one tone on two sides, {values} pixels wide"), bars),
        Trait("frame", _("a frame of brightness {values} of 255"), np.nan_to_num(tone, nan=-1).round()),
        Trait("camera", _("the camera {values}"), _names(facts["camera"])),
        Trait("camera", _("the EXIF orientation {values}"), facts["orientation"].astype(str)),
        Trait("colour", _("the colour mode {values}"), _names(facts["mode"])),
        Trait("colour", "{values}", np.where(facts["colourfulness"] < GREY, _("no colour"), _("colour"))),
        Trait("light", _("a mean brightness of {values}"), facts["brightness"], "{:.0%}"),
        Trait("light", _("a contrast of {values}"), facts["contrast"], "{:.0%}"),
        Trait("light", _("{values} of pixels nearly black"), facts["dark_share"], "{:.0%}"),
        Trait("light", _("{values} of pixels nearly white"), facts["light_share"], "{:.0%}"),
        Trait("light", _("edges of brightness {values} of 255"), facts["border_mean"].mean(axis=1), "{:.0f}"),
        Trait("light", _("a colourfulness of {values}"), facts["colourfulness"], "{:.0f}"),
        Trait("light", _("a sharpness of {values}"), facts["sharpness"], "{:.2g}"),
        Trait("light", _("{values} bytes a pixel"), facts["bytes"] / area, "{:.2f}"),
    ]


def _names(values: NDArray[np.bytes_]) -> NDArray[np.str_]:
    return np.char.decode(values, "utf-8", "replace")


def _frame(facts: NDArray[np.void]) -> NDArray[np.uint16]:
    """How wide a frame of one tone is; a dark picture's own edges may hide where a black frame ends on some sides."""
    width, tones = facts["border_width"].min(axis=1), facts["border_mean"]
    framed = (facts["border_edge"].mean(axis=1) >= _FRAMED) & (np.ptp(tones, axis=1) < _SAME) & (width > 1)
    return np.where(framed, width, np.uint16(0))


def _bars(facts: NDArray[np.void]) -> NDArray[np.uint16]:
    """How wide bars above and below, or left and right are: they end along the whole side, as no subject does."""
    reach = np.where(facts["border_edge"] >= _BARRED, facts["border_width"], 0)
    bars = np.maximum(reach[:, :2].min(axis=1), reach[:, 2:].min(axis=1))
    return np.where(bars > 1, bars, np.uint16(0)).astype(np.uint16)


def _sizes(width: Integers, height: Integers) -> NDArray[np.str_]:
    sizes, at = np.unique(width * (1 << 32) + height, return_inverse=True)
    return np.array([f"{size >> 32}×{size & 0xFFFFFFFF}" for size in sizes.tolist()])[at]


def _subsampling(kinds: NDArray[np.int8]) -> NDArray[np.str_]:
    return np.array([_("of another kind"), "4:4:4", "4:2:2", "4:2:0", _("(no JPEG)")])[
        np.where(kinds == -2, 4, kinds + 1)
    ]


def _rules(trait: Trait, truth: Integers, classes: NDArray[np.str_]) -> Iterator[Rule]:
    """The rule of every class with enough pictures; nothing where all pictures are alike."""
    codes, low, high = _binned(trait)
    if len(low) < 2:
        return
    counts = _counts(codes, truth, len(classes), len(low))
    totals = counts.sum(axis=0)
    n = totals.sum(axis=1)
    hits, clear = np.zeros(len(classes), int), np.zeros(len(classes), int)
    for held in counts:
        mask = _best(totals - held, trait.ordered)
        hits += (held * mask).sum(axis=1)
        clear += ((held.sum(axis=0) - held) * ~mask).sum(axis=1)
    masks = _best(totals, trait.ordered)
    for k, label in enumerate(classes):
        if min(n[k], n.sum() - n[k]) >= LEAST:
            words = _words(trait, masks[k], low, high)
            told = (int(number) for number in (hits[k], n[k], clear[k], n.sum() - n[k]))
            yield Rule(trait, str(label), words, masks[k][codes], *told)


def _binned(trait: Trait) -> tuple[Integers, NDArray[Any], NDArray[Any]]:
    """The bin of every picture, and the lowest and highest value in every bin."""
    values, codes, counts = np.unique(trait.values, return_inverse=True, return_counts=True)
    if len(values) > _BINS:
        if trait.ordered:
            bins = (counts.cumsum() - counts) * _BINS // len(codes)
            bins = np.unique(bins, return_inverse=True)[1]
        else:
            rank = np.argsort(np.argsort(-counts, kind="stable"))
            bins = np.minimum(rank, _BINS)
        codes = bins[codes]
        order = np.argsort(bins, kind="stable")
        first = np.searchsorted(bins[order], np.arange(bins.max() + 1))
        last = np.append(first[1:], len(bins)) - 1
        return codes, values[order][first], values[order][last]
    return codes, values, values


def _counts(codes: Integers, truth: Integers, k: int, bins: int) -> Integers:
    """How many pictures of each class lie in each bin, ``[FOLDS, k, bins]``; every class is spread over the folds."""
    order = np.argsort(truth, kind="stable")
    within = np.empty(len(truth), int)
    starts = np.searchsorted(truth[order], np.arange(k))
    within[order] = np.arange(len(truth)) - starts[truth[order]]
    cells = ((within % FOLDS) * k + truth) * bins + codes
    return np.bincount(cells, minlength=FOLDS * k * bins).reshape(FOLDS, k, bins)


def _best(counts: Integers, ordered: bool) -> NDArray[np.bool_]:
    """For every class the bins that hold most of it and least of the others: a run of them, or any set of names."""
    rest = counts.sum(axis=0) - counts
    gain = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) - rest / np.maximum(
        rest.sum(axis=1, keepdims=True), 1
    )
    if not ordered:
        return np.asarray(gain > 0)
    reach = np.pad(gain.cumsum(axis=1), ((0, 0), (1, 0)))  # the best run lies between a low and a later high of the sum
    lowest = np.minimum.accumulate(reach, axis=1)
    stop = (reach - lowest).argmax(axis=1)
    at = np.arange(reach.shape[1])
    start = np.where(at <= stop[:, None], reach, np.inf).argmin(axis=1)
    return np.asarray((at[:-1] >= start[:, None]) & (at[:-1] < stop[:, None]))


def _words(trait: Trait, mask: NDArray[np.bool_], low: NDArray[Any], high: NDArray[Any]) -> str:
    """The values of a rule."""
    at = np.flatnonzero(mask)
    if not len(at):
        return ""
    if not trait.ordered:
        names = [str(low[i]) or _("(none)") for i in at[:3]]
        return ", ".join(names) + (", …" if len(at) > 3 else "")
    first, last = trait.form.format(low[at[0]]), trait.form.format(high[at[-1]])
    if first == last:
        return first
    if at[0] == 0:
        return _("at most {value}").format(value=last)
    if at[-1] == len(low) - 1:
        return _("at least {value}").format(value=first)
    return _("{low} to {high}").format(low=first, high=last)


def _by_severity(rules: list[Rule]) -> Iterator[tuple[Severity, list[Rule]]]:
    """What is worth saying of one group of traits, the gravest first."""
    bars: list[tuple[Severity, float]] = [("serious", SERIOUS), ("look", LOOK)]
    if rules and rules[0].trait.group == "light":  # may be the subject itself: a higher bar, a weaker word
        bars = [("look", LIGHT)]
    for severity, bar in bars:
        told = [rule for rule in rules if rule.accuracy >= bar and rule.interval[0] >= bar]
        rules = [rule for rule in rules if rule not in told]
        if told:
            yield severity, told


def _finding(
    rules: list[Rule], severity: Severity, rows: Integers, truth: Integers, classes: NDArray[np.str_]
) -> Finding:
    """One warning: the class that is told best in its title, every class in its captions and facts."""
    first = rules[0]
    groups, captions = [], []
    for rule in rules:
        own = classes[truth] == rule.label
        for side, caption in ((own & rule.inside, rule.label), (~own & ~rule.inside, _("the others"))):
            groups.append(tuple(int(row) for row in rows[_spread(np.flatnonzero(side))]))
            captions.append(caption)
    title = _("“{label}” can be told without looking at the subject: {sentence}").format(
        label=first.label, sentence=_sentence(first, truth, classes)
    )
    if len(rules) > 1:
        title += " " + _("In the same way told: {labels}.").format(labels=_listed([r.label for r in rules[1:]]))
    return Finding(
        kind="shortcut",
        severity=severity,
        title=title,
        advice=_advice(first.trait.group),
        groups=tuple(groups),
        captions=tuple(captions),
        facts={"group": first.trait.group, "rules": [_as_facts(rule, truth, classes) for rule in rules]},
    )


def _sentence(rule: Rule, truth: Integers, classes: NDArray[np.str_]) -> str:
    own = classes[truth] == rule.label
    low, high = rule.interval
    return _(
        "{hits} of its {n} pictures have {values}, {share} of the others. That alone tells it with a balanced accuracy "
        "of {accuracy:.1%} ({low:.1%} to {high:.1%}, on pictures held out; 50% is chance)."
    ).format(
        hits=int((own & rule.inside).sum()),
        n=rule.n,
        values=rule.trait.says.format(values=rule.values),
        share=_share(int((~own & rule.inside).sum()), rule.others),
        accuracy=rule.accuracy,
        low=low,
        high=high,
    )


def _share(part: int, whole: int) -> str:
    """A share in percent that is 0% and 100% only where none and all are meant."""
    return f"{part / whole:.{0 if part in {0, whole} else 1 if 0.001 <= part / whole <= 0.999 else 3}%}"


def _listed(labels: list[str]) -> str:
    shown = ", ".join(f"“{label}”" for label in labels[:5])
    return shown if len(labels) <= 5 else _("{shown} and {n} more").format(shown=shown, n=len(labels) - 5)


def _advice(group: str) -> str:
    texts = {
        "size": _("Bring all pictures to sizes that occur in every class, or cut them alike, before they are used."),
        "compression": _(
            "Save the pictures of all classes in the same way: from the originals, with one format and quality."
        ),
        "frame": _("Cut the frame off, from the pictures of every class alike."),
        "camera": _("Collect every class with the same cameras, or keep a test set from another camera to find out."),
        "colour": _("Turn all pictures to grey, or take colour pictures of every class."),
        "light": _("That may be the subject itself. If it is not, take pictures of every class in the same light."),
    }
    danger = _(
        "A classifier may learn this instead of the subject: measured figures then look better than they are, and "
        "new pictures without it are answered wrongly."
    )
    return texts[group] if group == "light" else f"{danger} {texts[group]}"


def _as_facts(rule: Rule, truth: Integers, classes: NDArray[np.str_]) -> dict[str, Any]:
    own = classes[truth] == rule.label
    return {
        "class": rule.label,
        "has": rule.trait.says.format(values=rule.values),
        "pictures": rule.n,
        "pictures_with": int((own & rule.inside).sum()),
        "others": rule.others,
        "others_with": int((~own & rule.inside).sum()),
        "balanced_accuracy": rule.accuracy,
        "balanced_accuracy_interval": rule.interval,
    }


def _spread(at: Integers) -> Integers:
    """Some, evenly from all."""
    chosen: Integers = at[np.linspace(0, len(at) - 1, min(len(at), _SHOWN)).astype(int)]
    return chosen
