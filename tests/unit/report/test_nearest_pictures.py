"""The training pictures nearest to mistakes: of either class, by the cosine of embeddings, never the mistake itself."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilat.report.nearest_pictures import nearest_pictures

LABELS = ["cat", "cat", "dog", "dog", "cat", "owl"]
ANGLES = np.array([0.0, 0.5, 1.0, 1.5, 1.2, 3.0])
POINTS = (np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1) * np.arange(1, 7)[:, None]).astype(np.float32)


class Artifact:
    """Embeddings of some rows of the catalog."""

    def __init__(self, rows: list[int]) -> None:
        self.embedded_rows = np.array(rows)

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        assert set(rows.tolist()) <= set(self.embedded_rows.tolist())
        return POINTS[rows]


@pytest.fixture(name="learned")
def _learned() -> Any:
    """Returns what learning gave: which rows have embeddings, and which were trained on."""

    def learned(embedded: list[int], train: list[int]) -> Any:
        table = pd.DataFrame({"path": [f"{i}.jpg" for i in range(6)], "label": LABELS})
        split = SimpleNamespace(train=SimpleNamespace(rows=np.array(train)))
        return SimpleNamespace(artifact=Artifact(embedded), catalog=SimpleNamespace(table=table), split=split)

    return learned


def mistake(row: int, predicted: str, split: str = "test") -> pd.DataFrame:
    columns = {"row": row, "path": f"{row}.jpg", "split": split, "label": LABELS[row], "predicted": predicted}
    return pd.DataFrame([columns | {"probability": 0.9}])


def test_the_nearest_of_either_class_by_angle(learned):
    found = nearest_pictures(learned([0, 1, 2, 3, 4, 5], [0, 1, 2, 3]), mistake(4, "dog"))
    assert found == {"4.jpg": ("1.jpg", "2.jpg")}


def test_a_picture_that_is_trained_on_is_not_nearest_to_itself(learned):
    found = nearest_pictures(learned([0, 1, 2, 3, 4, 5], [0, 1, 2, 3]), mistake(1, "dog", "validation"))
    assert found == {"1.jpg": ("0.jpg", "2.jpg")}


def test_what_has_no_embedding_or_no_picture_of_its_class_is_left_out(learned):
    assert nearest_pictures(learned([0, 4], [0, 1, 2, 3]), mistake(4, "dog")) == {"4.jpg": ("0.jpg", None)}
    assert nearest_pictures(learned([0, 1], [0, 1]), mistake(4, "dog")) == {}
    assert nearest_pictures(learned([4], [0, 1]), mistake(4, "dog")) == {}
