"""What a lab came to, typed: ``lab.json`` is written from these models, and table and page read them.

A value that cannot be measured is None. Intervals are 95% intervals, ``[low, high]``. Keys are added, never renamed.
Two equal labs differ in ``timing`` and ``machine`` alone.
"""

from typing import Any, Literal

from pydantic import Field

from kilat.learn.measures import Interval, Section
from kilat.learn.metrics import NoteSection
from kilat.locale.notes import Note

SIGNIFICANT = 0.05
"""Up to this adjusted p-value an effect counts as more than chance."""

MIN_SEEDS = 5
"""With fewer seeds of trained networks no effect counts as more than chance."""

MOST_MORE = 100
"""So many times the seeds or pictures that there are, at most, are said to be needed: nobody collects more."""

Finding = Literal["better", "worse", "mixed", "undecided", "too_few_seeds"]


class MeasuredEffect(Section):
    """By how much the second of two ways to train differs from the first, in one measure.

    It is the expected difference on new pictures of the same source and with new seeds, at the trials' number of
    training pictures (``kilat.evaluate.paired_trials``).

    Args:
        difference: the second one's value minus the first one's.
        interval: of that.
        p_value: two-sided.
        adjusted_p: adjusted for all effects of its list, both measures (Benjamini and Hochberg 1995).
        better: the probability that the second is better.
        more_seeds: about how many more seeds, or repeats of the folds, would tell; None where no number would, or where
            it is told.
        more_pictures: about how many more pictures would, with as many seeds.
        takes_both: whether it takes both, since neither alone would.
    """

    difference: float
    interval: Interval
    p_value: float | None
    adjusted_p: float | None
    better: float | None
    more_seeds: int | None = None
    more_pictures: int | None = None
    takes_both: bool = False

    @property
    def is_significant(self) -> bool:
        """Whether chance hardly explains it."""
        return self.adjusted_p is not None and self.adjusted_p <= SIGNIFICANT


class VariantComparison(Section):
    """Two variants on the trials that both have finished with the same effort.

    Args:
        first: the one, the reference where it is one of the two.
        second: the other.
        finding: what became of the second: ``better`` or ``worse`` by more than chance explains, in one measure at
            least; ``mixed``, better in one and worse in the other; ``undecided``; ``too_few_seeds`` to say anything.
        seeds: how many seeds, or repeats of the folds, they have in common.
        trials: how many trials that is.
        pictures: on how many held-out pictures.
        effort: the share of the full training that both were given.
        identical: whether all their answers and probabilities are the same.
        accuracy: the effect on it.
        log_loss: the effect on it; less is better.
    """

    first: str
    second: str
    finding: Finding
    seeds: int
    trials: int
    pictures: int
    effort: float
    identical: bool
    accuracy: MeasuredEffect
    log_loss: MeasuredEffect


class CurveBand(Section):
    """A value by epoch, over the seeds that came so far.

    Args:
        epochs: those that half of the seeds reached at least.
        mean: at each.
        low: the lowest at each.
        high: the highest at each.
    """

    epochs: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


class TrialNote(NoteSection):
    """A note on some trials of a variant, as a code with the values of the first of them.

    Args:
        trials: how many have it.
    """

    trials: int


class VariantResult(Section):
    """One way to train.

    Args:
        name: by which it is called here.
        options: what was chosen for it: values as YAML, by the path of the option.
        recipe: the whole recipe, as YAML.
        command: that trains with it.
        seeds: how many seeds, or repeats of the folds, it has finished.
        trials: how many trials that is.
        effort: the share of the full training of these trials.
        accuracy: mean over trials, on held-out pictures; None where it has none.
        accuracy_range: the lowest and the highest of the seeds.
        log_loss: mean over trials.
        log_loss_range: the lowest and the highest of the seeds.
        failed: how many trials failed.
        reasons: why they did, each once.
        dropped: whether a budget gave it up before all seeds.
        folders: of its runs, relative to the lab.
        notes: on its trials, such as a loss that was not finite.
        curves: ``loss`` and ``accuracy`` of validation pictures by epoch, where it was trained by gradient.
    """

    name: str
    options: dict[str, str]
    recipe: str
    command: str
    seeds: int
    trials: int
    effort: float
    accuracy: float | None
    accuracy_range: Interval
    log_loss: float | None
    log_loss_range: Interval
    failed: int = 0
    reasons: list[str] = Field(default_factory=list)
    dropped: bool = False
    folders: list[str] = Field(default_factory=list)
    notes: list[TrialNote] = Field(default_factory=list)
    curves: dict[str, CurveBand] = Field(default_factory=dict)


class OptionEffect(Section):
    """What one value of an option does, averaged over all values of the other options.

    Args:
        option: its path.
        value: as YAML.
        against: the first value, as YAML.
        accuracy: the effect on it.
        log_loss: the effect on it.
    """

    option: str
    value: str
    against: str
    accuracy: MeasuredEffect
    log_loss: MeasuredEffect


class GridCell(Section):
    """Two values together, averaged over the values of any other options.

    Args:
        row: value of the one option, as YAML.
        column: value of the other.
        accuracy: mean over trials; None where a variant of it has none.
        log_loss: mean over trials.
        interaction: how much more accuracy they have together than their effects alone add up to, against the first
            values; None in the first row and the first column.
        log_loss_interaction: the same of the log loss.
    """

    row: str
    column: str
    accuracy: float | None
    log_loss: float | None
    interaction: MeasuredEffect | None = None
    log_loss_interaction: MeasuredEffect | None = None


class OptionGrid(Section):
    """Two options against each other.

    Args:
        row_option: path of the one.
        column_option: path of the other.
        rows: values of the one, as YAML.
        columns: values of the other.
        cells: row by row.
    """

    row_option: str
    column_option: str
    rows: list[str]
    columns: list[str]
    cells: list[list[GridCell]]


class LostPicture(Section):
    """A picture that the best variant answers rightly and another wrongly.

    Args:
        row: of the catalog.
        path: where it is, as the user knows it.
        label: its class.
        predicted: what the other answers most often.
        probability: of that, its mean.
        wrong: in how many trials the other is wrong where the best is right.
        trials: in how many it was held out.
    """

    row: int
    path: str
    label: str
    predicted: str
    probability: float
    wrong: int
    trials: int


class LostPictures(Section):
    """What a variant loses against the best one.

    Args:
        variant: its name.
        count: how many pictures that are.
        won: how many pictures the other way round.
        shown: those that are lost most clearly.
    """

    variant: str
    count: int
    won: int
    shown: list[LostPicture]


class Cost(Section):
    """What a trial of a variant takes on the machine that ran it.

    Args:
        seconds: mean over trials.
        peak_bytes: the most memory that one held; None where that was not measured.
    """

    seconds: float
    peak_bytes: int | None


class LabResults(Section):
    """The content of ``lab.json``.

    Args:
        schema: the version of these keys.
        kind: ``frozen`` for heads on cached features, ``trained`` for networks trained by gradient.
        is_search: whether variants were chosen one after another, in the order of ``variants``.
        data: what was trained on, as the user gave it.
        command: that asked for it.
        planned_seeds: how many seeds, or repeats of the folds, were asked for.
        folds: of each repeat; 1 where pictures are held out once a seed.
        pictures: that trials may use, the test set not among them.
        groups: of them, near-duplicates counted once.
        train_pictures: of a trial, their mean.
        held_out: pictures that a trial is measured on, their mean.
        reference: the variant that all are compared with.
        best: the variant to use: the most accurate of those that are better than the reference by more than chance, or
            else the reference; None where nothing was finished.
        variants: in the order given.
        effects: each variant against the reference.
        pairs: every two others; of many variants only those with the best one.
        options: what each value of an option does, in a full grid of options.
        grids: two options against each other, in a full grid of them.
        lost: what other variants lose against the best one.
        notes: what changes how far to believe it.
        machine: processor, cores and versions, by name.
        timing: what a trial of each variant takes.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    kind: Literal["frozen", "trained"]
    is_search: bool
    data: str
    command: str
    planned_seeds: int
    folds: int
    pictures: int
    groups: int
    train_pictures: float
    held_out: float
    reference: str
    best: str | None
    variants: list[VariantResult]
    effects: list[VariantComparison]
    pairs: list[VariantComparison]
    options: list[OptionEffect] = Field(default_factory=list)
    grids: list[OptionGrid] = Field(default_factory=list)
    lost: list[LostPictures] = Field(default_factory=list)
    notes: list[NoteSection]
    machine: dict[str, str]
    timing: dict[str, Cost]

    @property
    def sentences(self) -> list[str]:
        """The notes in the language of the environment."""
        return [Note(note.code, note.values).sentence() for note in self.notes]

    @property
    def shown_rows(self) -> list[int]:
        """The rows of the catalog whose pictures the page shows, rising."""
        return sorted({picture.row for lost in self.lost for picture in lost.shown})

    def variant(self, name: str) -> VariantResult:
        """Return a variant by its name."""
        return next(variant for variant in self.variants if variant.name == name)

    def against_reference(self, name: str) -> VariantComparison | None:
        """Return how a variant compares with the reference; None for the reference, or without common trials."""
        return next((effect for effect in self.effects if effect.second == name), None)

    def document(self) -> dict[str, Any]:
        """Return what JSON holds; ``LabResults.model_validate`` reads it back."""
        return self.model_dump(mode="json", by_alias=True)
