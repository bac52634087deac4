"""What the trials of a lab answered, as data: the only thing that its results are computed from.

``kilat.lab.analysis.analyse`` turns answers into results (``kilat.report.lab_results.LabResults``, ``lab.json``), and
``kilat.report.lab_page.render`` results into a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kilat.locale.notes import Note
from kilat.runtime.array_types import Doubles, Ints


@dataclass(frozen=True, eq=False)
class LabPictures:
    """The pictures that trials may use: all but the test set, which a lab never looks at.

    Args:
        rows: of the catalog, ``[n]``.
        paths: where they are, as the user knows it, ``[n]``.
        truth: their classes, ``[n]``.
        groups: of near-duplicates; pictures of one group have one number, ``[n]``.
        classes: the names of the classes.
    """

    rows: Ints
    paths: Sequence[str]
    truth: Ints
    groups: Ints
    classes: Sequence[str]


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Args:
        name: by which it is called here.
        options: what was chosen for it: values as YAML, by the path of the option; in a grid every varied option.
        recipe: the whole recipe, as YAML.
        command: that trains with it, ready to copy.
    """

    name: str
    options: Mapping[str, str]
    recipe: str
    command: str = ""


@dataclass(frozen=True, eq=False)
class Trial:
    """One fit of one variant, and its answers to the pictures that were held out.

    Trials of the same ``seed`` and ``fold`` have the same training and held-out pictures, the same order and, where
    their networks allow it, the same first weights, whatever their variant.

    Args:
        variant: its name.
        seed: of the split, the order and the first weights; of a head on a frozen backbone, the number of the repeat.
        fold: of a head's cross-validation; 0 where pictures are held out once a seed.
        train_pictures: how many were trained on.
        pictures: the held-out ones as positions in `LabPictures`, ``[m]``.
        predicted: the answered classes, ``[m]``.
        probability: of these, ``[m]``.
        label_probability: of the true classes, ``[m]``.
        effort: the share of the full training that it was given; below 1 where a budget cut it short.
        seconds: that it took.
        peak_bytes: the most memory that it held; None where that was not measured.
        epochs: a row for each, with ``epoch``, ``validation_loss``, ``validation_accuracy`` and others.
        folder: of its run, relative to the lab; empty where it has none.
        notes: what changes how far to believe it.
    """

    variant: str
    seed: int
    fold: int
    train_pictures: int
    pictures: Ints
    predicted: Ints
    probability: Doubles
    label_probability: Doubles
    effort: float = 1.0
    seconds: float = 0.0
    peak_bytes: int | None = None
    epochs: Sequence[Mapping[str, float]] = ()
    folder: str = ""
    notes: Sequence[Note] = ()


@dataclass(frozen=True)
class Failure:
    """A trial that has no answers.

    Args:
        variant: its name.
        seed: as of `Trial`.
        fold: as of `Trial`.
        reason: what went wrong, as it was said.
    """

    variant: str
    seed: int
    fold: int
    reason: str


@dataclass(frozen=True)
class Dropped:
    """A variant that a budget gave no more trials, since others did better.

    Args:
        variant: its name.
        seeds: how many it had been given.
        effort: the share of the full training of its last trials.
    """

    variant: str
    seeds: int
    effort: float = 1.0


@dataclass(frozen=True, eq=False)
class LabAnswers:
    """Everything that a lab's results follow from.

    Args:
        kind: ``frozen`` for heads on cached features, ``trained`` for networks trained by gradient.
        data: what was trained on, as the user gave it.
        variants: the reference first.
        pictures: that trials may use.
        trials: in any order.
        failures: trials without answers.
        dropped: variants that a budget gave up.
        is_search: whether the variants were chosen one after another (``kilat search``), in the order of ``variants``.
        planned_seeds: how many seeds, or repeats of the folds, were asked for.
        command: that asked for it.
        notes: what changes how far to believe it.
        machine: processor, cores and versions, by name.
    """

    kind: Literal["frozen", "trained"]
    data: str
    variants: Sequence[Variant]
    pictures: LabPictures
    trials: Sequence[Trial]
    planned_seeds: int
    failures: Sequence[Failure] = ()
    dropped: Sequence[Dropped] = ()
    is_search: bool = False
    command: str = ""
    notes: Sequence[Note] = ()
    machine: Mapping[str, str] = field(default_factory=dict)
