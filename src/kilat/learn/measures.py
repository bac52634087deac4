"""What is measured on one part of the pictures, typed: the sections ``test`` and ``validation`` of ``metrics.json``."""

from pydantic import BaseModel, ConfigDict, Field

Interval = tuple[float, float] | None


class Section(BaseModel):
    """A part of the document: fixed once it is made, and without keys that nobody declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bin(Section):
    """Answers whose probability lies above ``low`` and up to ``high``.

    Args:
        n: how many there are.
        confidence: their mean probability.
        accuracy: the share that is correct.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float | None
    accuracy_interval: Interval


class ClassCalibration(Section):
    """How well the probability of one class is calibrated, one against the rest.

    Args:
        brier: the mean squared error of the probability.
        ece: the expected calibration error.
        reliability: the bins behind it; absent for more than 100 classes.
    """

    brier: float | None
    ece: float | None
    reliability: list[Bin] = Field(default_factory=list)


class ClassMeasures(ClassCalibration):
    """One class.

    Args:
        precision: the share of the answers with this class that are correct.
        recall: the share of its pictures that are answered with it.
        f1: the harmonic mean of both.
        support: the number of its pictures.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


class Majority(Section):
    """What always giving the commonest label would achieve.

    Args:
        label: the class with the most training pictures.
        accuracy: the share of pictures that are of it.
    """

    label: str | None
    accuracy: float | None


class Calibration(Section):
    """Measures of probabilities.

    Args:
        log_loss: the mean of minus the logarithm of the probability of the true class.
        brier: the mean squared distance to the one-hot truth, 0 to 2.
        ece: the expected calibration error over 15 bins of equal width.
        ece_interval: its 95% interval.
        adaptive_ece: the same over bins of equally many pictures.
        reliability: the bins that hold pictures.
    """

    log_loss: float | None
    brier: float | None
    ece: float | None
    ece_interval: Interval
    adaptive_ece: float | None
    reliability: list[Bin] = Field(default_factory=list)


class Uncalibrated(Calibration):
    """The same before calibration."""

    per_class: dict[str, ClassCalibration] = Field(default_factory=dict)


class Coverage(Section):
    """How often prediction sets contain the true class, for some pictures.

    Args:
        n: how many pictures.
        coverage: the share whose set contains the true class.
        size: the mean number of classes in a set.
    """

    n: int
    coverage: float | None
    coverage_interval: Interval
    size: float | None


class WorstClass(Section):
    """The class whose sets contain the true class least often."""

    label: str
    n: int
    coverage: float | None
    coverage_interval: Interval


class SizeCoverage(Section):
    """The coverage of sets of ``low`` to ``high`` classes."""

    low: int
    high: int
    n: int
    coverage: float | None
    coverage_interval: Interval


class SetMeasures(Coverage):
    """Prediction sets (``kilat.evaluate.conformal.measure_sets``).

    Args:
        method: ``lac`` or ``raps``.
        target_coverage: how often they are made to contain the true class.
        per_class: whether that holds for each class by itself.
        empty: the share of sets without a class.
        single: with one.
        several: with more.
        sizes: how many sets have 0, 1, 2, … classes.
        worst_class: the class with the lowest coverage.
        by_class: measured for the pictures of each class.
        by_size: measured for sets of each size.
    """

    method: str
    target_coverage: float
    per_class: bool
    size_interval: Interval
    empty: float | None
    single: float | None
    several: float | None
    sizes: list[int]
    worst_class: WorstClass | None
    by_class: dict[str, Coverage]
    by_size: list[SizeCoverage]


class Flagged(Section):
    """How many pictures count as unknown.

    Args:
        n: how many pictures.
        flagged: how many of them count as unknown.
        share: the same as a share.
        interval: its 95% interval.
    """

    n: int
    flagged: int
    share: float | None
    interval: Interval


class OtherClasses(Flagged):
    """Pictures of classes that the model does not know: how many it notices, and how well the score tells them."""

    auroc: float


class FlaggedTest(Flagged):
    """Pictures of the model's own classes, and of others where there are any."""

    other_classes: OtherClasses | None = None


class WithoutLeaked(Section):
    """The accuracy on test pictures without a near-duplicate among the training pictures.

    Args:
        n: how many there are.
        leaked: how many have one.
    """

    n: int
    leaked: int
    accuracy: float | None
    accuracy_interval: Interval


class Measures(Calibration):
    """Everything that is measured on one part of the pictures (``kilat.evaluate.metrics.measure``).

    Args:
        n: how many pictures.
        accuracy: the share that is answered correctly.
        balanced_accuracy: the mean recall of the classes that occur.
        top_k: the share with the true class among the k likeliest.
        majority: what always giving the commonest label would achieve.
        confusion: counts, rows true, columns predicted.
        per_class: by the name of the class.
        uncalibrated: the same answers before calibration.
        sets: prediction sets; of the test pictures only.
        unknown: how many count as unknown; of the test pictures only.
        without_leaked: without test pictures that have a near-duplicate among the training pictures.
    """

    n: int
    accuracy: float | None
    accuracy_interval: Interval
    balanced_accuracy: float | None
    balanced_accuracy_interval: Interval
    top_k: dict[str, float | None]
    majority: Majority
    confusion: list[list[int]]
    per_class: dict[str, ClassMeasures]
    uncalibrated: Uncalibrated | None = None
    sets: SetMeasures | None = None
    unknown: FlaggedTest | None = None
    without_leaked: WithoutLeaked | None = None
