"""Compares the pages of other languages with the English ones: each has its counterpart, and both are built alike.

Alike are headings and their levels, blocks of code, commands, figures, tables, boxes and effects of experiments,
in their order; and, section by section, where links lead. Words, output of commands and comments in code are each
language's own.

    python docs/page_structure.py              all pages; 1 if a page is missing or differs
    python docs/page_structure.py guide/data.md
"""

import difflib
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LANGUAGES = [path.suffixes[0].removeprefix(".") for path in sorted(ROOT.glob("mkdocs.*.yml"))]
FOLDERS = ("guide", "course")
"""Of docs/, whose pages are in every language."""

_FENCE = re.compile(r"^\s*(`{3,})(.*)$")
_HEADING = re.compile(r"^(#+) ")
_BOX = re.compile(r"^\s*(!!!|\?\?\?\+?) (\w+)")
_EXPERIMENT = re.compile(r"^<!-- (lab: .*?) -->")
_FIGURE = re.compile(r"!\[[^\]]*\]\(([^()\s]+)\)")
_LINK = re.compile(r"(?<!!)\[[^\[\]]+\]\(([^()\s#]*)(#[^()\s]*)?\)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_BESIDE_COMMAND = re.compile(r"\s{2,}# .*$")
_WITH_COMMENTS = {"bash", "python", "py", "sh", "yaml"}


def main() -> None:
    """Print what is missing or differs."""
    wanted = sys.argv[1:]
    problems = [
        problem
        for language in LANGUAGES
        for english, other in pages(language)
        if not wanted or any(str(english).endswith(name) or str(other).endswith(name) for name in wanted)
        for problem in differences(english, other)
    ]
    print("\n".join(problems), end="\n" if problems else "")
    sys.exit(1 if problems else 0)


def pages(language: str) -> Iterator[tuple[Path, Path]]:
    """Yield every page that is to be in both languages: the English file, and the other one."""
    yield ROOT / "README.md", ROOT / f"README.{language}.md"
    names = {
        page.relative_to(folder)
        for folder in (DOCS, DOCS / language)
        for part in FOLDERS
        for page in (folder / part).rglob("*.md")
    }
    for name in sorted(names):
        yield DOCS / name, DOCS / language / name


def differences(english: Path, other: Path) -> list[str]:
    """Return in what a page differs from its counterpart, as lines."""
    for page, counterpart in ((english, other), (other, english)):
        if not page.exists():
            return [f"{page.relative_to(ROOT)} is missing; its counterpart is {counterpart.relative_to(ROOT)}"]
    ours, theirs = (list(structure(page)) for page in (english, other))
    changed = [line for line in difflib.ndiff(ours, theirs) if line.startswith(("- ", "+ "))]
    if not changed:
        return []
    title = f"{other.relative_to(ROOT)} is not built like {english.relative_to(ROOT)} (- only there, + only here):"
    return [title, *(f"  {line}" for line in changed)]


def structure(page: Path) -> Iterator[str]:
    """Yield what a page consists of, a line each; links at the end of their section, sorted."""
    links: list[str] = []
    lines = iter(page.read_text("utf-8").splitlines())
    rows = 0
    for line in lines:
        is_row = line.lstrip().startswith("|")
        if rows and not is_row:
            yield f"table of {rows} rows"
        rows = rows + 1 if is_row else 0
        if fence := _FENCE.match(line):
            yield from code(lines, fence[1], fence[2].strip())
            continue
        if heading := _HEADING.match(line):
            yield from sorted(links)
            links.clear()
            yield f"heading {heading[1]}"
        elif box := _BOX.match(line):
            yield f"box {box[1]} {box[2]}"
        elif experiment := _EXPERIMENT.match(line):
            yield experiment[1]
        yield from (f"figure {target(page, found[1])}" for found in _FIGURE.finditer(line))
        links += [f"link {target(page, found[1])}{'#…' if found[2] else ''}" for found in _LINK.finditer(line)]
    yield from [f"table of {rows} rows"] * bool(rows)
    yield from sorted(links)


def code(lines: Iterator[str], fence: str, kind: str) -> Iterator[str]:
    """Yield what of a block of code is the same in every language; the lines are read up to its end."""
    block = []
    for line in lines:
        if line.strip() == fence:
            break
        block.append(line.rstrip())
    if kind == "console":
        yield from (f"command {_BESIDE_COMMAND.sub('', line)}" for line in block if line.startswith("$ "))
    elif kind in _WITH_COMMENTS:
        yield from (f"{kind} {text}" for line in block if (text := _COMMENT.sub("", line)).strip())
    else:
        yield f"block {kind} of {len(block)} lines"


def target(page: Path, link: str) -> str:
    """Return where a link leads, without the language of what it leads to."""
    if not link or ":" in link:
        return link
    path = posixpath.normpath(posixpath.join(page.relative_to(ROOT).parent.as_posix(), link))
    for language in LANGUAGES:
        path = path.replace(f"docs/{language}/", "docs/").replace(f".{language}.md", ".md")
    return path


if __name__ == "__main__":
    main()
