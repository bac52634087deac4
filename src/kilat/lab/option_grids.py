"""Options in a full grid: what each value does on average, and what two values do together beyond that."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kilat.lab.answers import LabAnswers
from kilat.lab.contrasts import FinishedTrials
from kilat.lab.effects import Effects, measure_effects
from kilat.report.lab_results import GridCell, OptionEffect, OptionGrid


@dataclass(frozen=True)
class _Grid:
    """A full grid of options.

    Args:
        values: of every option, by its path; the first is what others are compared with.
        names: of the variants, by the value of every option.
    """

    values: Mapping[str, Sequence[str]]
    names: Mapping[tuple[str, ...], str]

    def where(self, chosen: Mapping[str, str]) -> list[str]:
        """Return the variants with these values of some options, whatever the others are."""
        wanted = [chosen.get(option) for option in self.values]
        return [
            name
            for values, name in self.names.items()
            if all(want in (None, value) for want, value in zip(wanted, values, strict=True))
        ]

    def weights(self, terms: Sequence[tuple[float, Mapping[str, str]]]) -> dict[str, float]:
        """Return the weights of variants in a sum of means, each over the variants with some values."""
        found: dict[str, float] = {}
        for weight, chosen in terms:
            names = self.where(chosen)
            for name in names:
                found[name] = found.get(name, 0.0) + weight / len(names)
        return found


def option_effects(answers: LabAnswers, finished: FinishedTrials) -> list[OptionEffect]:
    """Return what each value of an option does against its first one; nothing without a full grid of two options."""
    grid = _full_grid(answers)
    if grid is None:
        return []
    tried = [(option, value) for option, values in grid.values.items() for value in values[1:]]
    contrasts = {}
    for option, value in tried:
        weights = grid.weights([(1.0, {option: value}), (-1.0, {option: grid.values[option][0]})])
        if (contrast := finished.contrast(weights)) is not None:
            contrasts[option, value] = contrast
    effects = measure_effects(list(contrasts.values()))
    return [
        OptionEffect(
            option=option,
            value=value,
            against=grid.values[option][0],
            accuracy=effect.accuracy,
            log_loss=effect.log_loss,
        )
        for (option, value), effect in zip(contrasts, effects, strict=True)
    ]


def option_grids(answers: LabAnswers, finished: FinishedTrials) -> list[OptionGrid]:
    """Return a grid for every two options; nothing without a full grid of two options."""
    grid = _full_grid(answers)
    if grid is None:
        return []
    contrasts = {}
    pairs = list(itertools.combinations(grid.values, 2))
    for one, other in pairs:
        for row, column in itertools.product(grid.values[one][1:], grid.values[other][1:]):
            first = {one: grid.values[one][0], other: grid.values[other][0]}
            together = {one: row, other: column}
            alone = [{**first, one: row}, {**first, other: column}]
            weights = grid.weights([(1.0, together), (1.0, first), *((-1.0, chosen) for chosen in alone)])
            if (contrast := finished.contrast(weights)) is not None:
                contrasts[one, other, row, column] = contrast
    effects = dict(zip(contrasts, measure_effects(list(contrasts.values())), strict=True))
    return [_option_grid(grid, one, other, effects, finished) for one, other in pairs]


def _option_grid(
    grid: _Grid,
    one: str,
    other: str,
    effects: Mapping[tuple[str, str, str, str], Effects],
    finished: FinishedTrials,
) -> OptionGrid:
    rows, columns = grid.values[one], grid.values[other]
    cells = [
        [
            _cell(row, column, grid.where({one: row, other: column}), effects.get((one, other, row, column)), finished)
            for column in columns
        ]
        for row in rows
    ]
    return OptionGrid(row_option=one, column_option=other, rows=list(rows), columns=list(columns), cells=cells)


def _cell(
    row: str, column: str, names: Sequence[str], interaction: Effects | None, finished: FinishedTrials
) -> GridCell:
    trials = [finished.fullest(name) for name in names]
    is_whole = all(trials)
    return GridCell(
        row=row,
        column=column,
        accuracy=float(np.mean([finished.accuracy(some) for some in trials])) if is_whole else None,
        log_loss=float(np.mean([finished.log_loss(some) for some in trials])) if is_whole else None,
        interaction=interaction.accuracy if interaction else None,
        log_loss_interaction=interaction.log_loss if interaction else None,
    )


def _full_grid(answers: LabAnswers) -> _Grid | None:
    """Return the grid that the variants are; None where they are no full one, or one of a single option."""
    options = list(dict.fromkeys(itertools.chain(*(variant.options for variant in answers.variants))))
    if not all(set(variant.options) == set(options) for variant in answers.variants):
        return None
    names = {tuple(variant.options[option] for option in options): variant.name for variant in answers.variants}
    values = {
        option: list(dict.fromkeys(variant.options[option] for variant in answers.variants)) for option in options
    }
    varied = [option for option in options if len(values[option]) > 1]
    size = int(np.prod([len(values[option]) for option in options]))
    if len(varied) < 2 or len(names) != len(answers.variants) or size != len(names):
        return None
    return _Grid(values, names)
