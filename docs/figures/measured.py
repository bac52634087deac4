"""What experiments left, for figures that draw it; nothing where an experiment was never run."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from kilat.report.lab_results import LabResults, VariantResult

RESULTS = Path(__file__).parents[1] / "course" / "results"


def _result(experiment: str) -> dict[str, Any] | None:
    path = RESULTS / f"{experiment}.json"
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else None


def kept(experiment: str, file: str) -> str:
    """Return the text of a file that an experiment kept."""
    found = _result(experiment)
    return str(found["files"].get(file, "")) if found else ""


def rows(experiment: str, file: str) -> list[dict[str, str]]:
    """Return the rows of a table that an experiment kept."""
    return list(csv.DictReader(io.StringIO(kept(experiment, file))))


def variants(experiment: str) -> list[VariantResult]:
    """Return the variants of a lab."""
    found = _result(experiment)
    return LabResults.model_validate(found["lab"]).variants if found and found["lab"] else []


def option(variant: VariantResult, name: str) -> str:
    """Return what a variant has for an option, by the end of its path."""
    return next(value for path, value in variant.options.items() if path.endswith(f".{name}"))
