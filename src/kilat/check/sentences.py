"""The sentences of findings, made from their values when they are shown.

For every kind there is a title (what was found), advice (what to do about it) and a caption for each group of pictures.
The keys of the values stand in the functions below, and nowhere else is a sentence about a finding.
"""

from collections.abc import Mapping
from typing import Any

from kilat.check import shortcut_sentences
from kilat.locale import N_, _, localized, ngettext
from kilat.locale.lists import listed
from kilat.locale.refusals import refusal_sentence

Values = Mapping[str, Any]


def title(kind: str, values: Values) -> str:
    """Return what was found, a sentence with its numbers."""
    if kind in _TITLES:
        return _TITLES[kind](values)
    if kind in _PICTURE_KINDS:
        return _picture_title(kind, values["count"]).format(**values)
    return _dataset_title(kind, values).format(**values)


def advice(kind: str, values: Values) -> str:
    """Return what to do about it, a sentence or two."""
    if kind in _ADVICE:
        return _ADVICE[kind](values)
    if kind in _PICTURE_KINDS:
        return _picture_advice(kind, values["count"])
    return _dataset_advice(kind, values)


def caption(kind: str, values: Values) -> str:
    """Return what there is to say of one group of pictures; empty where there is nothing."""
    if kind == "shortcut":
        return shortcut_sentences.caption(values)
    if kind in _DUPLICATE_KINDS:
        changes = {
            "mirrored": _("mirrored"),
            "cropped": _("cropped"),
            "brightness": _("brighter or darker"),
            "resized": _("resized"),
        }
        return ", ".join(changes[change] for change in values["changes"]) or _("saved again")
    if kind == "refused":
        return refusal_sentence(values["code"], values["detail"])
    if kind == "classes_alike":
        (a, b), (low, high) = values["classes"], values["interval"]
        text = _("{a} ↔ {b}: {share:.1%} ({low:.1%} to {high:.1%}, n={n:,})")
        return text.format(a=a, b=b, low=low, high=high, share=values["share"], n=values["n"])
    templates = {
        "suspected_labels": _("label: {label}, answer: {suggested} ({probability:.0%})"),
        "uniform": _("{share:.0%} of the range of tones"),
        "blurred": _("sharpness {share:.1%} of the median"),
        "tiny": "{width}×{height}",
        "underexposed": _("99% of it is below brightness {brightness:.0%}"),
        "overexposed": _("99% of it is above brightness {brightness:.0%}"),
        "extreme_aspect": "{width}×{height}",
        "rotated": _("rotate by {degrees}° counter-clockwise"),
        "exif_rotated": _("EXIF orientation {orientation}"),
        "outlier": _("{ratio:.1f} times the median distance"),
    }
    return templates.get(kind, "").format(**values)


_DUPLICATE_KINDS = {"leak", "conflicting_duplicates", "validation_leak", "near_duplicates"}
_PICTURE_KINDS = {
    "refused", "uniform", "blurred", "tiny", "underexposed", "overexposed", "extreme_aspect", "rotated", "grey",
    "coloured", "exif_rotated", "outlier",
}  # fmt: skip


_SINGLE_PICTURE = {
    "uniform": N_("{path} is nearly uniform: there is next to nothing to see in it."),
    "blurred": N_("{path} is blurred all over, far more than the rest."),
    "tiny": N_("{path} is tiny compared with the rest."),
    "underexposed": N_("{path} is underexposed: even its bright parts are dark."),
    "overexposed": N_("{path} is overexposed: even its dark parts are light."),
    "extreme_aspect": N_("{path} is very long or very tall compared with the rest."),
    "rotated": N_("{path} seems to lie on its side or upside down."),
    "grey": N_("{path} is grey, the others are in colour."),
    "coloured": N_("{path} is in colour, the others are grey."),
    "exif_rotated": N_("{path} is stored rotated, as its EXIF data say."),
    "outlier": N_("{path} is unlike all other pictures."),
}
"""The titles of findings about one picture. They name it, so that they are no singular of those that count pictures: a
language may have one form for every number."""


def _picture_title(kind: str, count: int) -> str:
    """Return the title of a finding about single pictures: one is named by its path, several are counted."""
    if count == 1:
        return _(_SINGLE_PICTURE[kind])
    return {
        "uniform": ngettext(
            "{count:,} picture is nearly uniform: there is next to nothing to see in it.",
            "{count:,} pictures are nearly uniform: there is next to nothing to see in them.",
            count,
        ),
        "blurred": ngettext(
            "{count:,} picture is blurred all over, far more than the rest.",
            "{count:,} pictures are blurred all over, far more than the rest.",
            count,
        ),
        "tiny": ngettext(
            "{count:,} picture is tiny compared with the rest.",
            "{count:,} pictures are tiny compared with the rest.",
            count,
        ),
        "underexposed": ngettext(
            "{count:,} picture is underexposed: even its bright parts are dark.",
            "{count:,} pictures are underexposed: even their bright parts are dark.",
            count,
        ),
        "overexposed": ngettext(
            "{count:,} picture is overexposed: even its dark parts are light.",
            "{count:,} pictures are overexposed: even their dark parts are light.",
            count,
        ),
        "extreme_aspect": ngettext(
            "{count:,} picture is very long or very tall compared with the rest.",
            "{count:,} pictures are very long or very tall compared with the rest.",
            count,
        ),
        "rotated": ngettext(
            "{count:,} picture seems to lie on its side or upside down.",
            "{count:,} pictures seem to lie on their side or upside down.",
            count,
        ),
        "grey": ngettext(
            "{count:,} picture is grey, the others are in colour.",
            "{count:,} pictures are grey, the others are in colour.",
            count,
        ),
        "coloured": ngettext(
            "{count:,} picture is in colour, the others are grey.",
            "{count:,} pictures are in colour, the others are grey.",
            count,
        ),
        "exif_rotated": ngettext(
            "{count:,} picture is stored rotated, as its EXIF data say.",
            "{count:,} pictures are stored rotated, as their EXIF data say.",
            count,
        ),
        "outlier": ngettext(
            "{count:,} picture is unlike all the others.", "{count:,} pictures are unlike all the others.", count
        ),
    }[kind]


def _picture_advice(kind: str, count: int) -> str:
    return {
        "refused": ngettext(
            "It was left out of everything: replace or delete it.",
            "They were left out of everything: replace or delete them.",
            count,
        ),
        "uniform": ngettext(
            "Remove it, unless that is what its class looks like.",
            "Remove them, unless that is what their class looks like.",
            count,
        ),
        "blurred": ngettext(
            "Replace it if the subject cannot be recognised; keep it if the classifier is meant for such pictures.",
            "Replace them if the subject cannot be recognised; keep them if the classifier is meant for such pictures.",
            count,
        ),
        "tiny": ngettext(
            "It may be a preview that got in by mistake: use the original instead.",
            "They may be previews that got in by mistake: use the originals instead.",
            count,
        ),
        "underexposed": ngettext(
            "Brighten or replace it if the subject cannot be recognised.",
            "Brighten or replace them if the subject cannot be recognised.",
            count,
        ),
        "overexposed": ngettext(
            "Replace it if the subject cannot be recognised.",
            "Replace them if the subject cannot be recognised.",
            count,
        ),
        "extreme_aspect": ngettext(
            "Crop it to the subject: little of it is left in the square that the network takes.",
            "Crop them to the subject: little of them is left in the square that the network takes.",
            count,
        ),
        "rotated": ngettext(
            "Rotate it by the angle given if it is wrong.", "Rotate them by the angle given if they are wrong.", count
        ),
        "grey": ngettext(
            "Keep it if the classifier is meant for grey pictures, too; otherwise replace it.",
            "Keep them if the classifier is meant for grey pictures, too; otherwise replace them.",
            count,
        ),
        "coloured": ngettext(
            "Keep it if the classifier is meant for coloured pictures, too; otherwise convert it to grey.",
            "Keep them if the classifier is meant for coloured pictures, too; otherwise convert them to grey.",
            count,
        ),
        "exif_rotated": ngettext(
            "kilat rotates it upright; make sure that other programs that read it do the same.",
            "kilat rotates them upright; make sure that other programs that read them do the same.",
            count,
        ),
        "outlier": ngettext(
            "Check whether it belongs to the data at all.", "Check whether they belong to the data at all.", count
        ),
    }[kind]


def _refused(values: Values) -> str:
    if values["count"] == 1:
        text = _("1 of {n:,} pictures cannot be used: {path} ({reason}).")
        return text.format(**values, reason=refusal_sentence(values["code"], values["detail"]))
    text = ngettext(
        "{count:,} of {n:,} pictures cannot be used.", "{count:,} of {n:,} pictures cannot be used.", values["count"]
    )
    return text.format(**values)


_SINGLE_GROUP = {
    "leak": N_(
        "1 of {n:,} test pictures has a near-duplicate in the training data: {path} is nearly the same as {other}."
    ),
    "validation_leak": N_(
        "1 of {n:,} validation pictures has a near-duplicate in the training set: {path} is nearly the same as {other}."
    ),
    "conflicting_duplicates": N_(
        "Near-duplicates have different labels: {path} is labelled “{label}”, {other} “{other_label}”."
    ),
}


def _dataset_title(kind: str, values: Values) -> str:
    """Return the title of a finding about groups of pictures or about labels: a single one is named."""
    number = values.get("groups" if kind == "conflicting_duplicates" else "count", 0)
    if number == 1:
        return _(_SINGLE_GROUP[kind])
    return {
        "leak": ngettext(
            "{count:,} of {n:,} test pictures has a near-duplicate in the training data.",
            "{count:,} of {n:,} test pictures have a near-duplicate in the training data.",
            number,
        ),
        "validation_leak": ngettext(
            "{count:,} of {n:,} validation pictures has a near-duplicate in the training set.",
            "{count:,} of {n:,} validation pictures have a near-duplicate in the training set.",
            number,
        ),
        "conflicting_duplicates": ngettext(
            "{groups:,} group of near-duplicates has different labels within it.",
            "{groups:,} groups of near-duplicates have different labels within them.",
            number,
        ),
    }[kind]


def _near_duplicates(values: Values) -> str:
    if values["groups"] == 1:
        others = values["pictures"] - 1
        one_group = ngettext(
            "{path} has {count:,} near-duplicate, such as {other}.",
            "{path} has {count:,} near-duplicates, such as {other}.",
            others,
        )
        if others == 1:
            one_group = _("{path} has a near-duplicate: {other}.")
        return one_group.format(count=others, path=values["path"], other=values["other"])
    text = _("{pictures:,} pictures are near-duplicates, in {groups:,} groups.")
    return text.format(pictures=values["pictures"], groups=values["groups"])


def _suspected_labels(values: Values) -> str:
    if values["count"] == 1:
        text = _("1 of {n:,} pictures looks mislabelled: {path} is labelled “{label}”, the answer is “{suggested}”.")
        return text.format(**values)
    sentences = [_("{count:,} of {n:,} pictures look mislabelled ({share:.1%}).").format(**values)]
    for pair in values["one_way"]:
        text = _("{count:,} labelled “{label}” look like “{suggested}”, hardly any the other way round: {paths}.")
        sentences.append(text.format(**{**pair, "paths": listed(pair["paths"], of=pair["count"])}))
    return " ".join(sentences)


def _one_way_confusion(values: Values) -> str:
    label, answer = values["classes"]
    text = _(
        "{count:,} of {n:,} pictures of “{label}” are taken for “{answer}”, but only {reverse:,} of {reverse_n:,} the "
        "other way round."
    )
    return text.format(**{**values, "label": label, "answer": answer})


def _classes_alike(values: Values) -> str:
    first = values["pairs"][0]
    text = _("“{a}” and “{b}” look alike: {share:.1%} of their {n:,} pictures are taken for the other class.")
    return text.format(a=first["classes"][0], b=first["classes"][1], share=first["share"], n=first["n"])


def _similar_labels(values: Values) -> str:
    names = listed([f"“{label}” ({localized(count, ',')})" for label, count in values["labels"].items()])
    return _("Labels differ only in case, blanks, hyphens or Unicode form: {labels}.").format(labels=names)


def _imbalance(values: Values) -> str:
    largest, smallest = values["largest"], values["smallest"]
    most, least = values["counts"][largest], values["counts"][smallest]
    text = _("“{largest}” has {most:,} pictures, “{smallest}” only {least:,}: {ratio:.0f} times as many.")
    return text.format(largest=largest, most=most, smallest=smallest, least=least, ratio=most / least)


def _few_pictures(values: Values) -> str:
    counts = values["counts"]
    if len(counts) == 1:
        ((label, count),) = counts.items()
        text = ngettext("“{label}” has only {count:,} picture.", "“{label}” has only {count:,} pictures.", count)
        return text.format(label=label, count=count)
    names = listed([f"“{label}” ({localized(count, ',')})" for label, count in counts.items()])
    text = _("{classes:,} classes have fewer than {limit:,} pictures: {names}.")
    return text.format(classes=len(counts), limit=values["limit"], names=names)


_TITLES = {
    "refused": _refused,
    "near_duplicates": _near_duplicates,
    "suspected_labels": _suspected_labels,
    "one_way_confusion": _one_way_confusion,
    "classes_alike": _classes_alike,
    "shortcut": shortcut_sentences.title,
    "similar_labels": _similar_labels,
    "imbalance": _imbalance,
    "few_pictures": _few_pictures,
}


def _check_one_way(values: Values) -> str:
    label, answer = values["classes"]
    text = _(
        "Pictures of “{answer}” may be labelled “{label}”, such as {paths}. Look through suspects.csv, fill in its "
        "last column, “correct_label”, and train again with --labels suspects.csv; leave the classes as they are "
        "until then."
    )
    return text.format(label=label, answer=answer, paths=listed(values["paths"]))


def _tell_apart(values: Values) -> str:
    if suspected := sum(pair["suspected"] for pair in values["pairs"]):
        text = ngettext(
            "Correct the suspected labels first: {count:,} is between such classes, and may be why they are confused.",
            "Correct the suspected labels first: {count:,} are between such classes, and may be why they are confused.",
            suspected,
        )
        return text.format(count=suspected)
    return _(
        "Check whether a person could tell them apart by these pictures; if not, merge the classes or draw the line "
        "between them more clearly."
    )


_ADVICE = {"shortcut": shortcut_sentences.advice, "one_way_confusion": _check_one_way, "classes_alike": _tell_apart}


def _dataset_advice(kind: str, values: Values) -> str:
    return {
        "leak": _("Go by the accuracy without these pictures, or move each group to one side of the split."),
        "validation_leak": _("Move each group to one side of the split, so that the validation accuracy is honest."),
        "conflicting_duplicates": ngettext(
            "Check which label is right: the other one teaches the classifier a mistake.",
            "Check which labels are right: the others teach the classifier mistakes.",
            values.get("groups", 0),
        ),
        "near_duplicates": _(
            "They stay together on one side of every split that kilat makes; check whether more than one of each is "
            "of use."
        ),
        "suspected_labels": _(
            "Open suspects.csv, fill in its last column, “correct_label”, then train again with --labels suspects.csv."
        ),
        "similar_labels": _(
            "kilat keeps them apart. If they are one class, give them one name: rename the folder, correct the table, "
            "or put that name into the column “correct_label” of a suspects.csv."
        ),
        "imbalance": _(
            "Collect more pictures of the small classes, and go by the balanced accuracy, in which every class counts "
            "the same."
        ),
        "few_pictures": _("Collect more: that is little to train on, and what is measured on it means little."),
    }[kind]
