"""The folder of a lab: what is written where, and read again. Files appear whole or not at all.

| file | what it holds |
| --- | --- |
| `plan.json` | what was asked for: data, variants, seeds, folds; enough to go on with it |
| `catalog.csv` | every picture that came in, the test set that no trial uses, groups of near-duplicates |
| `variants/NAME.yaml` | the whole recipe of a variant |
| `trials/NAME-SEED/` | a trial: a run folder, or a table of a head's answers; finished once it has its last file |
| `lab.json`, `lab.html` | the results, and the page that shows them |
| `winner.yaml` | the recipe that won |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kilat import recipe as recipes
from kilat.data.catalog import Catalog, Source
from kilat.data.split import Part, hold_out, train_and_test
from kilat.errors import KilatError, SourceError
from kilat.lab.answers import LabPictures, Variant
from kilat.lab.variants import Candidate
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.recipe import Recipe
from kilat.runtime.array_types import Ints
from kilat.runtime.csv_tables import to_csv
from kilat.runtime.files import require_possible, write_file, write_json
from kilat.runtime.json_document import MAX_BYTES_OF_RESULTS, DocumentError, read_typed
from kilat.runtime.progress import Progress, silent
from kilat.verbs import run_folder, run_tables
from kilat.verbs.open_data import Data, Labels, open_data

PLAN, CATALOG, VARIANTS, TRIALS = "plan.json", run_tables.CATALOG, run_folder.VARIANTS, "trials"
RESULTS, PAGE, WINNER = "lab.json", "lab.html", "winner.yaml"

HELD_OUT = 0.2
"""The share of pictures that a trial holds out where the recipe keeps none back for a test set."""


MOST_SEEDS, MOST_TRIED, MOST_PLANNED = 10_000, 10_000, 200_000
"""Of a lab: seeds, variants that a search tries, and trials altogether."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlannedVariant(_Document):
    """A variant, whose recipe lies in ``variants/SLUG.yaml``; ``command`` trains with it."""

    name: str
    slug: str = Field(pattern=r"^[^/\\:\x00-\x1f]{1,200}$")  # part of the names of files: it leads to no other folder
    options: dict[str, str]
    command: str


class SearchPlan(_Document):
    """What a search chooses variants from.

    Args:
        ranges: texts such as ``1e-4..1e-1(log)``, by option.
        count: how many variants it tries.
        arguments: of ``kilat train``, that say the reference; none where only the whole recipe does.
    """

    ranges: dict[str, str]
    count: int = Field(ge=1, le=MOST_TRIED)
    arguments: tuple[str, ...] = ()


PlannedTrial = tuple[PlannedVariant, int]
"""A variant and a seed."""


class Plan(_Document):
    """What was asked for.

    Args:
        schema: the version of these keys.
        kind: ``frozen`` for heads on cached features, ``trained`` for networks trained by gradient.
        start: where the data is and how it is read (``run_folder.Start``).
        variants: the reference first.
        seed: that draws the test set; trials have the seeds after it.
        seeds: how many trials a variant gets; of a head, how often the folds are drawn.
        folds: of a head's cross-validation; 1 where pictures are held out once a seed.
        threads: that each trial computes with; other numbers give other last digits.
        time_limit: seconds for everything; None for as long as it takes.
        question: that the variants answer, where there is one.
        search: what variants are chosen from one after another, where they are.
        command: that asked for it.
        begun: when, in local time.
        notes: on the data, and on what was decided.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    kind: Literal["frozen", "trained"]
    start: dict[str, Any]
    variants: list[PlannedVariant] = Field(min_length=1)
    seed: int = Field(ge=0, lt=2**32)
    seeds: int = Field(ge=1, le=MOST_SEEDS)
    folds: int = Field(1, ge=1, le=MOST_SEEDS)
    threads: int = Field(ge=1, le=4096)
    time_limit: float | None = Field(None, gt=0)
    question: str | None = None
    search: SearchPlan | None = None
    command: str = ""
    begun: str = ""
    notes: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _not_too_many(self) -> "Plan":
        if len(self.variants) * self.seeds > MOST_PLANNED:
            raise ValueError("more trials than a lab can have")
        return self

    @property
    def trial_seeds(self) -> range:
        """The seeds of trials; none of them draws the test set."""
        return range(self.seed + 1, self.seed + 1 + self.seeds)


@dataclass(frozen=True)
class LabFolder:
    """The folder of a lab that was begun."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> "LabFolder":
        """Return the folder of a lab.

        Raises:
            KilatError: it is none.
        """
        require_possible(path)
        if not (path / PLAN).is_file():
            is_run = (path / run_folder.START).is_file()
            raise KilatError(
                _("{folder} is not the folder of a lab: it has no {file}.").format(folder=path, file=PLAN),
                hint=_("It is that of a run: kilat report {folder}").format(folder=path)
                if is_run
                else _("Give a folder such as labs/flowers."),
            )
        return cls(path)

    @classmethod
    def begin(cls, path: Path, plan: Plan, candidates: Sequence[Candidate], catalog: Catalog) -> "LabFolder":
        """Write what trials follow from; the plan comes last, since with it the lab can be gone on with."""
        (path / VARIANTS).mkdir(exist_ok=True)
        for one in candidates:
            write_file(path / VARIANTS / f"{one.slug}.yaml", one.recipe.to_yaml())
        write_file(path / CATALOG, to_csv(catalog.table))
        write_json(path / PLAN, plan.model_dump(mode="json", by_alias=True))
        return cls(path)

    def add(self, candidate: Candidate, variant: PlannedVariant) -> "LabFolder":
        """Return the lab with one more variant, which is written."""
        write_file(self.path / VARIANTS / f"{candidate.slug}.yaml", candidate.recipe.to_yaml())
        plan = self.plan.model_copy(update={"variants": [*self.plan.variants, variant]})
        write_json(self.path / PLAN, plan.model_dump(mode="json", by_alias=True))
        return LabFolder(self.path)

    @cached_property
    def plan(self) -> Plan:
        """What was asked for.

        Raises:
            KilatError: this version of kilat did not write it.
        """
        try:
            return read_typed(Plan, self.path / PLAN, MAX_BYTES_OF_RESULTS)
        except DocumentError as error:
            raise KilatError(str(error)) from None

    @cached_property
    def start(self) -> run_folder.Start:
        """Where the data is, and how it is read.

        Raises:
            KilatError: the plan does not say it.
        """
        try:
            return run_folder.Start.of_document(self.plan.start)
        except (KeyError, TypeError):
            sentence = _("{path} was not written by this version of kilat: its {where} is missing or not valid.")
            raise KilatError(sentence.format(path=self.path / PLAN, where="start")) from None

    def recipe(self, variant: PlannedVariant) -> Recipe:
        """Return the recipe of a variant."""
        return recipes.load(self.recipe_path(variant))

    def recipe_path(self, variant: PlannedVariant) -> Path:
        """Return where the recipe of a variant lies."""
        return self.path / VARIANTS / f"{variant.slug}.yaml"

    def trial_path(self, variant: PlannedVariant, seed: int) -> Path:
        """Return the folder of a trial."""
        return self.path / TRIALS / f"{variant.slug}-{seed}"

    @cached_property
    def catalog(self) -> Catalog:
        """Every picture that came in."""
        return Catalog(run_tables.read_table(self.path / CATALOG))

    @cached_property
    def _classes_and_pictures(self) -> tuple[list[str], Part]:
        classes, pictures, _test = train_and_test(self.catalog)
        return classes, pictures

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self._classes_and_pictures[0]

    @property
    def pictures(self) -> Part:
        """The pictures that trials may use: all but the test set."""
        return self._classes_and_pictures[1]

    def held_out(self, seed: int, share: float) -> Ints:
        """Return which pictures a trial holds out, as positions in ``pictures``: whole groups, drawn by the seed."""
        return hold_out(self.pictures, share or HELD_OUT, seed, "trial")[1]

    def require_same(self, source: Source) -> None:
        """Raise unless a source has the pictures that the lab was begun with.

        Raises:
            KilatError: it has others.
        """
        if [entry.path for entry in source.entries] != self.catalog.table["path"].tolist():
            raise SourceError(
                _("{data} has other pictures than when the lab {folder} was begun.").format(
                    data=source.name, folder=self.path
                ),
                hint=_("Begin a new lab, or bring the pictures back."),
            )

    def open_source(
        self,
        data: Data | None = None,
        labels: Labels | None = None,
        root: str | Path | None = None,
        progress: Progress = silent,
    ) -> Source:
        """Return the pictures that the lab was begun with.

        Args:
            data: where they come from Python, or lie elsewhere by now.
            labels: as for ``kilat.lab``.
            root: a folder that already holds copies of a known set.
            progress: that shows the reading.

        Raises:
            KilatError: they cannot be read, or are others.
        """
        start = self.start
        if data is None and start.data is None:
            raise SourceError(
                _("The data of the lab {folder} was given from Python.").format(folder=self.path),
                hint=_("Go on with it there: {command}").format(command=self.resume_command),
            )
        given = start.data if data is None else data, start.labels if labels is None else labels
        source = open_data(*given, root or start.root, progress, reading=start.reading)
        self.require_same(source)
        return source

    @property
    def resume_command(self) -> str:
        """What goes on with it."""
        return replace(self.start, lab=str(self.path)).resume_command(self.path)

    def lab_pictures(self) -> LabPictures:
        """Return the pictures as the statistics of a lab need them."""
        part = self.pictures
        paths = self.catalog.table["path"].to_numpy(object)[part.rows].tolist()
        groups = np.unique(part.groups.astype(str), return_inverse=True)[1].astype(np.int64)
        return LabPictures(part.rows, paths, part.truth, groups, self.classes)

    def variants(self) -> list[Variant]:
        """Return the variants with their recipes."""
        return [
            Variant(one.name, one.options, self.recipe_path(one).read_text("utf-8"), one.command)
            for one in self.plan.variants
        ]

    @property
    def notes(self) -> list[Note]:
        """What was noted when it was begun."""
        return [Note(**note) for note in self.plan.notes]
