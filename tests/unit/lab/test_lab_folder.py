"""The folder of a lab of other hands: its plan is checked, and nothing in it leads out of the folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from kilat.errors import KilatError
from kilat.lab.lab_folder import LabFolder

VARIANT = {"name": "a", "slug": "a", "options": {}, "command": "kilat train flowers"}
START = {"data": "flowers", "root": None, "network": "lab"}
PLAN: dict[str, Any] = {
    "schema": 1, "kind": "frozen", "start": START, "variants": [VARIANT], "seed": 0, "seeds": 3, "threads": 1,
}  # fmt: skip


def lab(folder: Path, **changed: Any) -> LabFolder:
    (folder / "plan.json").write_text(json.dumps({**PLAN, **changed}))
    return LabFolder.open(folder)


def test_a_sound_plan(tmp_path: Path) -> None:
    found = lab(tmp_path)
    assert list(found.plan.trial_seeds) == [1, 2, 3]
    assert found.start.data == "flowers"


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"variants": [{**VARIANT, "slug": "../../outside"}]}, "variants.0.slug"),
        ({"variants": [{**VARIANT, "slug": "a\\b"}]}, "variants.0.slug"),
        ({"variants": [{**VARIANT, "slug": ""}]}, "variants.0.slug"),
        ({"variants": []}, "variants"),
        ({"variants": [VARIANT] * 300, "seeds": 1_000}, ""),
        ({"seeds": 10**9}, "seeds"),
        ({"seeds": 10**18}, "seeds"),
        ({"seed": -1}, "seed"),
        ({"threads": 10**9}, "threads"),
        ({"folds": 0}, "folds"),
        ({"time_limit": 0}, "time_limit"),
        ({"search": {"ranges": {}, "count": 10**9}}, "search.count"),
        ({"start": []}, "start"),
    ],
)
def test_what_no_lab_plans_is_refused_with_its_key(tmp_path: Path, changed: dict[str, Any], where: str) -> None:
    with pytest.raises(KilatError) as caught:
        lab(tmp_path, **changed).plan  # noqa: B018 - reading it is what is tested
    assert "plan.json was not written by this version of kilat" in caught.value.message
    assert where in caught.value.message


@pytest.mark.parametrize("start", [{}, {**START, "data": 5}, {**START, "network": None}, {**START, "track": "yes"},
                                   {**START, "reading": []}, {**START, "reading": {"images": 3}}])  # fmt: skip
def test_a_start_that_says_nothing(tmp_path: Path, start: dict[str, Any]) -> None:
    with pytest.raises(KilatError, match="its start is missing or not valid"):
        lab(tmp_path, start=start).start  # noqa: B018
