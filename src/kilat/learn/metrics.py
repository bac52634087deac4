"""What was measured, typed: ``metrics.json`` is written from these models, and everything that shows it reads them.

A section or value that does not apply is absent, one that cannot be measured (an accuracy of no pictures) is None.
Intervals are 95% intervals, ``[low, high]``. Keys are added, never renamed.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from kilat.learn.measures import Flagged, Interval, Measures, Section
from kilat.locale.notes import Note


class DataSection(Section):
    """How many pictures took part, and in what.

    Args:
        used: pictures that take part.
        refused: pictures that came in and do not; ``catalog.csv`` says why.
        reasons: how many were refused for each reason, by its code.
        classes: their names, in the order of the model's probabilities.
        train: pictures that the classifier was fitted on.
        validation: of a ready-made split, or held out to compare epochs by.
        calibration: held out for temperature, sets and thresholds.
        test: measured on, and nothing else.
        duplicates: pictures that are byte for byte the same as another.
        near_duplicates: pictures that have a near-duplicate.
        cropped_share: the share of a picture's area that cropping to a square drops, the mean over all.
        digest: SHA-256 of all contents, independent of names and order.
    """

    used: int
    refused: int
    reasons: dict[str, int] = Field(default_factory=dict)
    classes: list[str]
    train: int = 0
    validation: int = 0
    calibration: int = 0
    test: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    cropped_share: float = 0.0
    digest: str = ""


class Corrections(Section):
    """What a table of corrected labels changed.

    Args:
        table: its path.
        relabelled: pictures that got another label.
        left_out: pictures that it takes out.
        unchanged: rows that give the label that there was.
    """

    table: str
    relabelled: int
    left_out: int
    unchanged: int


class TriedL2(Section):
    """One L2 penalty in cross-validation.

    Args:
        l2_penalty: on the mean loss over pictures.
        log_loss: on held-out pictures.
        accuracy: on these.
        towards: what it draws the head to: ``zero``, or the ``discriminant``, which is tried where classes are many.
    """

    l2_penalty: float
    log_loss: float
    accuracy: float
    towards: str = "zero"


class CurvePoint(Section):
    """One point of the learning curve: of ``n`` held-out pictures, ``correct`` after fitting on ``pictures``."""

    pictures: int
    correct: int
    n: int


class HeadSection(Section):
    """The linear head on a frozen backbone.

    Args:
        l2_penalty: the chosen one.
        l2_penalties: what was tried.
        class_weight: ``balanced`` or None.
        curve: the learning curve.
        temperature: what its logits are divided by; absent where a fine-tuned network replaced it.
    """

    l2_penalty: float
    l2_penalties: list[TriedL2]
    class_weight: str | None
    curve: list[CurvePoint]
    temperature: float | None = None


class WatchedLayer(Section):
    """How one layer was in the last epoch; a value that does not apply is None.

    Args:
        layer: its name, as ``kilat summary`` has it.
        kind: as a recipe calls it.
        weight_norm: the Euclidean norm of its weights; as all norms the mean over up to eight updates of the epoch.
        gradient_norm: that of the loss's gradient, before penalties and clipping.
        relative_gradient: beside the norm of the weights.
        relative_update: the norm of what an update changes, beside that of the weights.
        activation_mean: of all values that it gives for the pictures, after its activation function.
        activation_std: their standard deviation.
        zero_share: the share of them that are zero.
        dead_share: the share of its units (channels of a map) that are zero everywhere, for all pictures.
        saturated_share: the share of values within 0.5% of an end of its tanh or sigmoid.
    """

    layer: str
    kind: str
    weight_norm: float | None = None
    gradient_norm: float | None = None
    relative_gradient: float | None = None
    relative_update: float | None = None
    activation_mean: float | None = None
    activation_std: float | None = None
    zero_share: float | None = None
    dead_share: float | None = None
    saturated_share: float | None = None


class Watched(Section):
    """Layers that were watched in training; ``layers.csv`` has them by epoch.

    Args:
        pictures: the validation pictures whose activations were looked at.
        layers: in the last epoch, in the order in which pictures go through them.
    """

    pictures: int
    layers: list[WatchedLayer]


class FitSection(Section):
    """A training by gradient.

    Args:
        epochs: how many were run.
        best_epoch: whose weights are kept, from 1.
        stop_reason: why training ended, as a code.
        batch: pictures an update.
        micro_batch: pictures computed at once.
        rollbacks: how often a loss that was not finite sent it back.
        averaged: over how many epochs weights were averaged.
        horizontal_flip: whether pictures were mirrored in the last epoch.
        precise_batch_norm: on how many training pictures batch norms' running statistics were estimated at last; 0
            where they are those that followed the updates, or where no batch norm is trained.
        watched: its layers, where the recipe says so.
        temperature: what the logits are divided by; absent where the frozen head was kept.
    """

    epochs: int
    best_epoch: int
    stop_reason: str
    optimizer: str
    schedule: str
    batch: int
    micro_batch: int
    precision: str
    device: str
    devices: int
    rollbacks: int
    averaged: int
    horizontal_flip: bool
    precise_batch_norm: int
    parameters: int
    trainable: int
    macs: int
    watched: Watched | None = None
    temperature: float | None = None


class Part(Section):
    """The main measures of one part of the pictures."""

    n: int
    accuracy: float | None
    accuracy_interval: Interval
    log_loss: float | None
    brier: float | None
    ece: float | None


class TestAndValidation(Section):
    """The main measures of one of two classifiers."""

    test: Part
    validation: Part


class PairedDifference(Section):
    """Trained against frozen on the same validation pictures (``kilat.evaluate.comparison.Comparison``)."""

    n: int
    log_loss_gain: float
    standard_error: float
    accuracy_before: float
    accuracy_after: float
    needed: float


class ProspectsSection(Section):
    """What spoke for training a backbone further, and against it, before it was (``kilat.learn.prospects``).

    Args:
        pictures: for validation.
        mistakes: of the frozen result on them.
        domain_shift: how far the pictures are from those that the backbone was pretrained on; 0 for no difference.
        expected_gain: the share of the log loss that might be gained.
        needed_gain: the share that must be gained to be more than noise.
    """

    pictures: int
    mistakes: int
    domain_shift: float | None
    expected_gain: float
    needed_gain: float


class ComparisonSection(Section):
    """A head on a frozen backbone, and what was trained to beat it, on the same split.

    Args:
        kept: which of them answers.
        fine_tuned: the backbone, trained further.
        network: a small network, trained from its first weights.
        frozen: the head on the frozen backbone.
        validation: of which they were compared, picture by picture.
    """

    kept: Literal["fine_tuned", "network", "frozen"]
    fine_tuned: TestAndValidation | None = None
    network: TestAndValidation | None = None
    frozen: TestAndValidation
    validation: PairedDifference

    @property
    def trained(self) -> TestAndValidation:
        """The measures of what was trained."""
        trained = self.fine_tuned or self.network
        assert trained is not None
        return trained


class UnknownSection(Section):
    """How pictures unlike the training pictures are noticed.

    Args:
        methods: the scores that are added up.
        rate: the share of ordinary pictures that may count as unknown.
        auroc: how well each combination told classes that were left out.
        left_out: in how many rounds classes were left out.
        test: how many of the test pictures count as unknown.
    """

    methods: list[str]
    rate: float
    auroc: dict[str, float]
    left_out: int
    test: Flagged


class CheckSection(Section):
    """What was found in the data; a finding is a ``kilat.check.finding.Finding`` as a document."""

    serious: int
    findings: list[dict[str, Any]]


class ParitySection(Section):
    """The model file against the fitted classifier (``kilat.bundle.parity.Parity``)."""

    pictures: int
    max_difference: float
    tolerance: float
    labels_agree: float
    logit_difference: float | None = None
    conclusive: bool = True
    max_ood_difference: float


class ModelSection(Section):
    """The model file. ``backbone`` and ``features`` describe a frozen one, ``network`` one trained by gradient."""

    backbone: str | None = None
    features: int | None = None
    network: str | None = None
    parameters: int | None = None
    macs: int | None = None
    size: int
    precision: str
    resize: str
    bytes: int
    digest: str


class NoteSection(Section):
    """A note as a code with values (``kilat.locale.notes``)."""

    code: str
    values: dict[str, Any]

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """Refuse a note that another version made, or nobody: it could not be shown."""
        try:
            Note(self.code, self.values).sentence()
        except (AttributeError, LookupError, TypeError, ValueError):
            raise ValueError("no note of this version") from None
        return self


class Metrics(Section):
    """The content of a run's ``metrics.json``; two equal runs differ in ``timing`` alone.

    Args:
        schema: the version of these keys.
        notes: what changes how far to believe the result.
        data: how many pictures took part, and in what.
        corrected: what a table of corrected labels changed.
        test: measured on the test pictures.
        validation: measured on the validation pictures, by cross-validation for a head on a frozen backbone.
        head: the head on a frozen backbone.
        fit: a training by gradient.
        prospects: what spoke for fine-tuning, where the recipe leaves open whether it is worth its time.
        comparison: what was trained against the frozen backbone.
        unknown: how unknown pictures are noticed.
        check: what was found in the data.
        parity: the model file against the fitted classifier.
        model: the model file.
        versions: of Python, of packages, and of ONNX's operators.
        timing: seconds of every part, and ``total_s``.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    notes: list[NoteSection]
    data: DataSection
    corrected: Corrections | None = None
    test: Measures
    validation: Measures
    head: HeadSection | None = None
    fit: FitSection | None = None
    prospects: ProspectsSection | None = None
    comparison: ComparisonSection | None = None
    unknown: UnknownSection
    check: CheckSection
    parity: ParitySection
    model: ModelSection
    versions: dict[str, Any]
    timing: dict[str, float] = Field(default_factory=dict)

    @property
    def is_trained(self) -> bool:
        """Whether a network trained by gradient answers, rather than a head on a frozen backbone."""
        return self.fit is not None and (self.comparison is None or self.comparison.kept != "frozen")

    @property
    def measured(self) -> Measures:
        """The measures to go by: of the test set, or of validation where there is no test set."""
        return self.test if self.test.n else self.validation

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        section = self.fit if self.is_trained else self.head
        assert section is not None
        assert section.temperature is not None
        return section.temperature

    @property
    def sentences(self) -> list[str]:
        """The notes in the language of the environment."""
        return [Note(note.code, note.values).sentence() for note in self.notes]

    def document(self) -> dict[str, Any]:
        """Return what JSON holds; ``Metrics.model_validate`` reads it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Evaluation(Section):
    """What ``kilat.evaluate`` returns: a finished model on other labelled pictures.

    Args:
        schema: the version of these keys.
        notes: what was left out, and what changes how far to believe the result.
        data: how many pictures there were; ``train`` of them the model was trained on, ``test`` are others.
        test: measured on pictures that the model was not trained on.
        train: measured on those that it was trained on (the train, validation and calibration set of its run), which is
            no test; absent where there are none.
        robustness: under corruptions, on the test pictures.
        timing: seconds of every part, and ``total_s``.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    notes: list[NoteSection]
    data: DataSection
    test: Measures
    train: Part | None = None
    robustness: dict[str, Any] | None = None
    timing: dict[str, float]

    def document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
