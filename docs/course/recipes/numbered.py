"""Lesson 11: the digits as a folder of pictures whose classes have numbers for names, as people often call them."""

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
for number, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
    folder = Path("numbered") / f"class{digit + 1}"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 15).astype("uint8")).save(folder / f"{number}.png")
