"""Bring the pages at the root of the repository into the site, adapt links, put the course's figures into its pages.

It also checks that the API page is complete.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import kilat
from kilat.report.palette import DAY, LAYER_COLOURS, NIGHT

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
_API = "reference/api.md"
_LINK = re.compile(r"\[([^\[\]]+)\]\(([^()\s#]+)(#[^()\s]*)?\)")
_FIGURE = re.compile(r'<img alt="([^"]*)" src="([^":]+\.svg)"\s*/?>')
_OWN_STYLE = re.compile(r"<style>:root.*?</style><rect[^>]*/>", re.DOTALL)
_LOG = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are kept outside docs/, and the colours of figures."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    files.append(File.generated(config, "assets/figure-colours.css", content=_figure_colours()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Adapt the links of a page to the site; a link to a file that has no page there becomes text."""
    here = page.file.src_uri
    source = next((name for name, there in PAGES.items() if there == here), f"docs/{here}")
    if here == _API:
        _require_every_name(markdown)

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / path).exists():
            return found[0]  # an address, code that looks like a link, or a mistake that the strict build reports
        if path in PAGES or path.startswith("docs/"):
            there = PAGES.get(path, path.removeprefix("docs/"))
            return f"[{text}]({posixpath.relpath(there, posixpath.dirname(here) or '.')}{anchor})"
        return text

    return _LINK.sub(link, markdown)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Put figures that have the colours of the page (docs/figures) into it, so that they follow its switch to dark."""

    def inline(found: re.Match[str]) -> str:
        path = ROOT / "docs" / posixpath.normpath(posixpath.join(posixpath.dirname(page.url), found[2]))
        figure = path.read_text("utf-8") if path.exists() else ""
        if not _OWN_STYLE.search(figure):
            return found[0]
        svg = _OWN_STYLE.sub("", figure).strip()
        return f'<span class="figure" role="img" aria-label="{found[1]}">{svg}</span>'

    return _FIGURE.sub(inline, html)


def _figure_colours() -> str:
    """Return the colours of figures by the switch of the site."""
    schemes = {"default": DAY | LAYER_COLOURS, "slate": NIGHT | LAYER_COLOURS}
    return "\n".join(
        f'[data-md-color-scheme="{scheme}"] {{ {"; ".join(f"--{name}: {value}" for name, value in colours.items())} }}'
        for scheme, colours in schemes.items()
    )


def _require_every_name(markdown: str) -> None:
    """Warn, which fails the strict build, about public names that the API page does not list."""
    listed = re.findall(r"^::: kilat\.(\w+)$", markdown, re.MULTILINE)
    if missing := ", ".join(sorted(set(kilat.__all__) - set(listed))):
        _LOG.warning("docs/%s does not list: %s", _API, missing)
