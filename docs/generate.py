"""Writes docs/cli.md, the command reference, from the command line itself; with --check only compares it."""

import difflib
import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")


def reference() -> str:
    """The reference as Markdown: Typer's own description of the app, in English whatever the user's language is."""
    environment = os.environ | {"LANGUAGE": "en", "COLUMNS": "120", "NO_COLOR": "1"}
    arguments = "-m typer kilat.cli utils docs --name kilat --title Commands".split()
    text = subprocess.run(
        [sys.executable, *arguments], env=environment, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    text = text.replace("&#x27;", "'").replace("&quot;", '"')
    notice = "<!-- Written by docs/generate.py from src/kilat/cli.py: change it there, then run `make docs`. -->"
    return f"{notice}\n\n{text.strip()}\n"


def main() -> int:
    """Writes the page, or with --check compares it; 1 if it is stale."""
    new = reference()
    old = PAGE.read_text("utf-8") if PAGE.exists() else ""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, "utf-8")
        return 0
    if new == old:
        return 0
    sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), PAGE.name, "kilat --help"))
    print(f"{PAGE} is stale: run `make docs`.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
