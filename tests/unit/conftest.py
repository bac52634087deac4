"""Labs as their trials would answer, drawn without training anything."""

from collections.abc import Callable

import numpy as np
import pytest

from kilat.lab.answers import LabAnswers, LabPictures, Trial, Variant

CLASSES = ("daisy", "rose", "tulip")


def draw_lab(
    gains: dict[str, float],
    *,
    kind: str = "trained",
    seeds: int = 5,
    folds: int = 1,
    pictures: int = 150,
    options: dict[str, dict[str, str]] | None = None,
    trial_spread: float = 0.1,
) -> LabAnswers:
    """Return a lab whose variants give the true class a logit that is higher by their gains.

    Args:
        gains: by the name of each variant, the reference first; equal gains give equal answers.
        kind: ``frozen`` or ``trained``.
        seeds: how many.
        folds: of each seed; with one, a fifth is held out.
        pictures: how many there are.
        options: of the variants.
        trial_spread: how much the gains vary from trial to trial.
    """
    generator = np.random.default_rng(0)
    truth = np.arange(pictures) % len(CLASSES)
    difficulty = 1.5 * generator.normal(size=(pictures, len(CLASSES)))
    trials = []
    for seed in range(seeds):
        order = generator.permutation(pictures)
        parts = [order[: pictures // 5]] if folds == 1 else np.array_split(order, folds)
        for fold, part in enumerate(parts):
            for name, gain in gains.items():
                logits = difficulty[part] + 0.0
                own = np.random.default_rng([seed, fold, round(abs(gain) * 1000)])
                logits[np.arange(len(part)), truth[part]] += 1.5 + gain + trial_spread * own.normal()
                logits += trial_spread * own.normal(size=logits.shape)
                probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
                epochs = [
                    {"epoch": epoch, "validation_loss": 1 / epoch, "validation_accuracy": 1 - 0.5 / epoch}
                    for epoch in range(1, 4)
                ]
                trials.append(
                    Trial(
                        name,
                        seed,
                        fold,
                        pictures - len(part),
                        part,
                        probabilities.argmax(1),
                        probabilities.max(1),
                        probabilities[np.arange(len(part)), truth[part]],
                        seconds=2.0,
                        peak_bytes=300_000_000,
                        epochs=epochs if kind == "trained" else [],
                    )
                )
    return LabAnswers(
        kind,
        "flowers",
        [Variant(name, (options or {}).get(name, {}), f"fit:\n  note: {name}\n", f"kilat train flowers --set {name}")
         for name in gains],
        LabPictures(
            np.arange(pictures) + 10,
            [f"flowers/{CLASSES[label]}/{i}.jpg" for i, label in enumerate(truth)],
            truth,
            np.arange(pictures),
            CLASSES,
        ),
        trials,
        seeds,
        command="kilat lab flowers",
        machine={"processor": "a test"},
    )  # fmt: skip


@pytest.fixture(name="draw_lab", scope="session")
def _draw_lab() -> Callable[..., LabAnswers]:
    return draw_lab
