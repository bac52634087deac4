"""Writes scikit-learn's digits onto a larger black page, each at a place of its own: the folder moved-digits/."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
places = np.random.default_rng(0).integers(0, 17, size=(len(digits.images), 2))

for number, (picture, label, (down, right)) in enumerate(zip(digits.images, digits.target, places, strict=True)):
    page = np.zeros((24, 24), dtype=np.uint8)
    page[down : down + 8, right : right + 8] = picture * 255 / 16
    folder = Path("moved-digits", str(label))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(page).save(folder / f"{number:04}.png")
