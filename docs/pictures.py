"""Makes the pictures of README and the guides: a report's first screen and map, curves, augmentation; of digits alone.

    python docs/pictures.py             in every language; needs Chromium for the two that show a page

They lie in docs/images/, those with words of other languages in docs/LANGUAGE/images/. Seconds stand in the report, so
the files differ from run to run; they are made when the pages have changed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import kilat
from kilat.locale import languages
from kilat.report import curves
from kilat.report.svg_canvas import standalone

DOCS = Path(__file__).resolve().parent
_COLOURS = 128


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        frozen = kilat.train("digits", seed=0, runs=folder)
        trained = kilat.train("digits", "small-cnn", seed=0, runs=folder)
        for language in languages():
            os.environ["KILAT_LANG"] = language
            images = (DOCS if language == "en" else DOCS / language) / "images"
            images.mkdir(parents=True, exist_ok=True)
            kilat.Run.open(frozen.folder).write_report()
            photograph(frozen.report, images / "report.png", 1200, 800)
            photograph(section_of(frozen.report, "map"), images / "map.png", 1000, 900)
            drawn = curves.history(trained.history.to_dict("records"))["accuracy"]
            (images / "accuracy.svg").write_text(standalone(drawn), "utf-8")
    preview = [
        Path(sys.executable).with_name("kilat"),
        "preview",
        "digits",
        "--recipe",
        "small-cnn",
        "--size",
        "32",
        "--out",
        DOCS / "images" / "preview.png",
    ]
    subprocess.run(preview, check=True, capture_output=True)


def section_of(report: Path, name: str) -> Path:
    """Write a copy of a report that shows one section alone, and return its path."""
    page = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", report.read_text("utf-8"))
    style = f"<style>section:not(#{name}), nav, header, footer {{ display: none !important }}</style></head>"
    copy = report.with_name(f"{name}.html")
    copy.write_text(page.replace("</head>", style, 1), "utf-8")
    return copy


def photograph(page: Path, picture: Path, width: int, height: int) -> None:
    """Take a picture of a page as a window shows it.

    Args:
        page: the HTML file.
        picture: the PNG file to write.
        width: of the window in pixels.
        height: of the window in pixels.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Chromium is needed for pictures of pages; on Debian: apt-get install chromium.")
    options = ["--headless", "--hide-scrollbars", "--no-sandbox", f"--window-size={width},{height}"]
    options += [f"--screenshot={picture}", page.resolve().as_uri()]
    subprocess.run([browser, *options], check=True, capture_output=True)
    with Image.open(picture) as image:
        image.convert("RGB").quantize(_COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    main()
