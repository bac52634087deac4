"""Writes scikit-learn's digits with their pixels in another order, the same for all: the folder shuffled-digits/."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
order = np.random.default_rng(1).permutation(64)

for number, (picture, label) in enumerate(zip(digits.data, digits.target, strict=True)):
    shuffled = (picture[order] * 255 / 16).astype(np.uint8).reshape(8, 8)
    folder = Path("shuffled-digits", str(label))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(shuffled).save(folder / f"{number:04}.png")
