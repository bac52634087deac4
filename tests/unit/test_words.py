"""The words of the house: names are the field's, and the private ones that they replaced do not come back.

`python tests/unit/test_words.py` prints every place where one of them stands.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "tests", "benchmarks", "docs")

# Names in Python (functions, classes, parameters, attributes, variables, modules), and what they are called now.
NAMES = {
    **dict.fromkeys(("learnt", "asked", "held", "told", "seen"), "the part of the split, and what it is"),
    **dict.fromkeys(("mend", "Mend"), "hint"),
    "Learnt": "Learned", "Looked": "Extracted", "Trusted": "Uncertainty", "Sensed": "OodDetection", "Senses": "OodHead",
    "Fitter": "Resizer", "Framer": "Preprocessor", "Seen": "CachedFeatures or PixelDataset", "facts_of": "image_stats",
    "look": "extract_features", "look_at": "extract", "look_at_pixels": "read_pixels", "joined": "concat",
    "study": "decode_with_stats", "strengths": "l2", "Strength": "PenaltyResult", "Frozen": "FeatureExtractor",
    "Way": "SequentialView", "taps": "stage ends", "Sighted": "ImageModel", "eye": "backbone", "eyes": "backbones",
    "see": "logits or features", "see_upper": "forward_upper",
    "listing": "registry", "Listing": "registry", "Learner": "TrainStep", "Task": "TrainSpec", "Place": "TrainState",
    "slower": "lr_scale", "Pace": "deadline", "Solo": "group", "Maps": "CachedActivations",
    "Held": "InMemory", "Streamed": "Streaming", "confess": "report_error", "soften": "apply_temperature",
    "strangers": "ood_images", "false_alarms": "false_positive_rate", "twins": "near_duplicates",
    "Twins": "NearDuplicates", "oddities": "image_quality", "mates": "own rows", "sensing": "out_of_distribution",
    "tapped": "answering_graph", "trusting": "uncertainty", "comparing": "comparison",
}  # fmt: skip

# Words in text: docstrings, messages, templates, recipes, documentation.
TEXT = {
    "learnt": "trained on, or learned",
    "mend": "hint, or fix",
    "twins": "near-duplicates",
    "oddities": "image quality",
    "strangers": "pictures of none of the classes",
    "false_alarms": "false_positive_rate",
    "false alarms": "false positives",
    "cut_away": "cropped_share",
    "per_class_promise": "per_class",
    "max_unknown_difference": "max_ood_difference",
    "thresholds cannot be meant": "invalid value",
    "is no number": "is not finite",
    "say them apart": "give them one by one",
    "unknown choice": "unknown option",
}

OLD_MODULES = (
    "alignment", "boxes", "budget", "choice", "clock", "comparing", "corrections", "draws", "facts", "finder",
    "fitting", "frozen/frozen", "fused", "job", "joined", "learner", "learning", "listing", "maps", "meaning", "named",
    "neighbours", "oddities", "pace", "parallel", "picturefile", "pictures/pictures", "pipeline", "place", "prints",
    "senses", "sensing", "sheet", "steps", "story", "tap", "together", "trusting", "turned", "twins", "wire",
)  # fmt: skip
HERE = Path(__file__).resolve()
OLD_TEXT = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, TEXT))})(?!\w)", re.IGNORECASE)
RENAMED = ROOT / "src/kilat/recipe/renamed.py"  # the one table that has to know old names


def python_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if path not in (HERE, RENAMED))


def text_files() -> Iterator[Path]:
    yield from python_files()
    for folder in FOLDERS:
        for ending in ("*.md", "*.yaml", "*.j2", "*.json", "*.svg"):
            yield from sorted((ROOT / folder).rglob(ending))
    yield ROOT / "README.md"
    yield ROOT / "CONTRIBUTING.md"


def old_names(path: Path) -> Iterator[str]:
    """Names in a module that are no longer used, each with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.arg(arg=name) | ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=name):
                pass
            case ast.alias(name=full):
                name = full.rpartition(".")[2]
            case _:
                continue
        bare = (name or "").strip("_")
        # str.lower and np.eye are other people's names
        if bare in NAMES and not (bare in ("lower", "eye") and isinstance(node, ast.Attribute)):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {name} → {NAMES[bare]}"


def old_words(path: Path) -> Iterator[str]:
    """Words in the text of a file that are no longer used; of Python, in its strings and comments."""
    text = path.read_text("utf-8")
    lines = list(enumerate(text.splitlines(), 1))
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        lines = [(t.start[0], t.string) for t in tokens if t.type in (tokenize.STRING, tokenize.COMMENT)]
    for number, line in lines:
        for found in OLD_TEXT.finditer(line):
            word = found[0].lower()
            yield f"{path.relative_to(ROOT)}:{number}: “{word}” → {TEXT[word]}"


def test_no_old_name_is_left_in_the_code():
    assert not [place for path in python_files() for place in old_names(path)]


def test_no_old_word_is_left_in_any_text():
    assert not [place for path in text_files() for place in old_words(path)]


def test_no_old_module_is_left():
    names = {path.stem for path in python_files()} | {path.stem.removeprefix("test_") for path in python_files()}
    assert not names & set(OLD_MODULES)


if __name__ == "__main__":
    found = [place for path in python_files() for place in old_names(path)]
    found += [place for path in text_files() for place in old_words(path)]
    sys.stdout.write("".join(f"{place}\n" for place in found))
    sys.exit(bool(found))
