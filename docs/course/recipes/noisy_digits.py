"""Write scikit-learn's digits into the folder `noisy`, each with noise of its own over it: easy to learn by heart."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

NOISE = 8  # its standard deviation; the ink goes from 0 to 16

digits, random = load_digits(), np.random.default_rng(0)
noisy = np.clip(digits.images + random.normal(0, NOISE, digits.images.shape), 0, 16)
for number, (pixels, label) in enumerate(zip(noisy, digits.target, strict=True)):
    path = Path("noisy") / str(label) / f"{number:04}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels / 16 * 255).astype(np.uint8)).save(path)
print(f"{len(noisy)} pictures in noisy")
