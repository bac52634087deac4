"""Copies the first hundred pictures of every class: python some_flowers.py FLOWERS writes the folder some-flowers/."""

import shutil
import sys
from pathlib import Path

for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
    there = Path("some-flowers", folder.name)
    there.mkdir(parents=True, exist_ok=True)
    for picture in sorted(folder.glob("*.jpg"))[:100]:
        shutil.copy(picture, there)
