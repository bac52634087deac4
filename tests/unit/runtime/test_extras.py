"""Whether an extra is there is found out without importing it, and its absence says what to install."""

import importlib.util
import subprocess
import sys

import pytest

from kilat.errors import MissingExtra
from kilat.runtime.extras import has_torch, require_torch


def test_nothing_is_imported_to_find_out() -> None:
    code = (
        "import sys; from kilat.runtime.extras import has_torch; has_torch(); print({'torch', 'timm'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("missing", ["torch", "timm"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    assert not has_torch()
    with pytest.raises(MissingExtra, match=r"Fine-tuning needs the extra 'torch'\.\npip install 'kilat\[torch\]'"):
        require_torch("Fine-tuning")


def test_what_is_installed_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    assert has_torch()
    require_torch("Fine-tuning")
