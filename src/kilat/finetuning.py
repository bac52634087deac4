"""Fine-tuning: from the frozen result to a network trained further, which replaces it only if it is better."""

from dataclasses import replace

from kilat import record
from kilat.bundle.export import export_network
from kilat.clock import Clock
from kilat.data.catalog import Catalog, Source
from kilat.evaluate.comparison import compare
from kilat.features.pixels import Seen, fits_in_memory, look_at_pixels
from kilat.learning import (
    Learnt,
    Looked,
    Stage,
    Training,
    fitted_head,
    head_on,
    held_out,
    look_at,
    require_torch,
    spread,
)  # fmt: skip
from kilat.recipe import Recipe
from kilat.report import meaning


def fine_tune(source: Source, recipe: Recipe, clock: Clock, stage: Stage, told: Training) -> Learnt:
    """A head is fitted on a frozen backbone, both are trained further, and the better of the two results is kept.

    Two heads are fitted: one on all pictures to learn from, which is the frozen result, and one without the validation
    pictures, which is where training begins, and whose answers to these pictures it has to beat.
    """
    require_torch("Fine-tuning a backbone")
    from kilat.fit import job

    looked = look_at(source, recipe, clock, stage)
    recipe = recipe.model_copy(update={"features": looked.wanted})  # a time limit may have made it less
    training, validation = held_out(looked.learnt, looked.classes, recipe)
    with clock.measure("head_s"):
        start = fitted_head(replace(looked, features=looked.features.copy()), training, recipe)
    before = start.answer(validation.rows)
    frozen = head_on(looked, recipe, clock)
    with clock.measure("pictures_s"):
        seen = _see(source, looked, recipe, stage)
    seen = replace(seen, training=training, validation=validation)
    deadline = None if recipe.runtime.time_limit is None else clock.started + recipe.runtime.time_limit
    progress = stage("Training")
    with clock.measure("fit_s"):
        begun = job.open_backbone(source, seen, recipe, start.head, device=looked.device)
        trained = begun.train(told.folder, deadline=deadline, on_epoch=told.on_epoch, progress=progress)
        after = trained.answer(validation.rows)
    graph = trained.graph()
    tuned = Learnt(
        looked.catalog, looked.classes, training, validation, after, looked.asked,
        trained.answer,
        bundle=lambda temperature, manifest: export_network(
            graph, size=seen.size, resize=recipe.features.resize, temperature=temperature, manifest=manifest
        ),
        network=record.trained(looked.backbone.name, graph, seen.size, trained.facts),
        facts={**frozen.facts, "fit": trained.facts},
        notes=[*looked.notes, *trained.notes, *meaning.altered_meanings(recipe.augment, looked.classes)],
    )  # fmt: skip
    shown = {"history": trained.history, "augmented": begun.preview(spread(training))}
    comparison = compare(validation.truth, before, after)
    if not comparison.is_better:
        facts = {"fit": trained.facts, **frozen.facts}
        return replace(frozen, rival=tuned, comparison=comparison, facts=facts, shown=shown, notes=tuned.notes)
    looked.catalog.table.loc[validation.rows, "split"] = "validation"
    return replace(tuned, rival=frozen, comparison=comparison, shown=shown)


def _see(source: Source, looked: Looked, recipe: Recipe, stage: Stage) -> Seen:
    """The pixels that the backbone looks at, in memory where they fit."""
    size = looked.backbone.size
    pixels = None
    if fits_in_memory(len(source.entries), size):
        progress = stage("Reading pictures")
        again = Catalog.of(source.entries)  # every picture has its row in the catalog already
        pixels = look_at_pixels(source, again, size=size, resize=recipe.features.resize, keep=True, progress=progress)
    return Seen(looked.catalog, size, pixels, looked.classes, looked.learnt, looked.learnt, looked.asked, looked.notes)
