"""Make one site of the pages in all languages, with those at the root of the repository, and figures in their places.

Each language is a build of its own: mkdocs.yml for English, mkdocs.LANGUAGE.yml for what stands in docs/LANGUAGE/. The
build of another language has every page of the English one, those in English (which is said on them) that are not
translated, so that the switch in the header stays on the page. Links that are right in the repository are adapted.
It is also checked that the API page is complete.
"""

import logging
import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import kilat
from kilat.report.palette import DAY, LAYER_COLOURS, NIGHT

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LANGUAGES = [path.suffixes[0].removeprefix(".") for path in sorted(ROOT.glob("mkdocs.*.yml"))]
"""All but English."""

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Pages at the root of the repository; README.LANGUAGE.md is that of another language."""

_API = "reference/api.md"
_FOR_SCRIPTS = {".py", ".pyc", ".yaml"}
_LINK = re.compile(r"\[([^\[\]]+)\]\(([^()\s#]+)(#[^()\s]*)?\)")
_FIGURE = re.compile(r'<img alt="([^"]*)" src="([^":]+\.svg)"\s*/?>')
_OWN_STYLE = re.compile(r"<style>:root.*?</style><rect[^>]*/>", re.DOTALL)
_LOG = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are kept outside the language's folder, and the colours of figures."""
    language = _language(config)
    for source, page in PAGES.items():
        files.append(_english_page(config, page, ROOT / source))
    if language == "en":
        for file in [file for file in files if file.src_uri.partition("/")[0] in LANGUAGES]:
            files.remove(file)
    else:
        if (readme := ROOT / f"README.{language}.md").exists():
            files.append(File.generated(config, PAGES["README.md"], content=readme.read_text("utf-8")))
        for path in sorted(path for path in DOCS.rglob("*") if path.is_file() and path.suffix not in _FOR_SCRIPTS):
            name = path.relative_to(DOCS).as_posix()
            if name.partition("/")[0] not in LANGUAGES and files.get_file_from_path(name) is None:
                is_page = path.suffix == ".md"
                files.append(
                    _english_page(config, name, path)
                    if is_page
                    else File.generated(config, name, abs_src_path=str(path))
                )
    files.append(File.generated(config, "assets/figure-colours.css", content=_figure_colours()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Adapt the links of a page to the site; a link to a file that has no page there becomes text."""
    language, here = _language(config), page.file.src_uri
    source, source_language = _source(here, language)
    if here == _API:
        _require_every_name(markdown)

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / path).exists():
            return found[0]  # an address, code that looks like a link, or a mistake that the strict build reports
        there, its_language = _page(path)
        if there is None:
            return text
        if its_language != language and language == "en":
            return f'<a href="{_url(there, its_language, here, language)}">{text}</a>'
        if source_language != _source(there, language)[1]:
            anchor = ""  # headings of a translated page have other anchors
        return f"[{text}]({posixpath.relpath(there, posixpath.dirname(here) or '.')}{anchor})"

    return _LINK.sub(link, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Put figures that have the colours of the page (docs/figures) into it, so that they follow its switch to dark."""

    def inline(found: re.Match[str]) -> str:
        name = posixpath.normpath(posixpath.join(posixpath.dirname(page.url), found[2]))
        path = next((one for folder in (config.docs_dir, DOCS) if (one := Path(folder) / name).exists()), None)
        figure = path.read_text("utf-8") if path else ""
        if not _OWN_STYLE.search(figure):
            return found[0]
        svg = _OWN_STYLE.sub("", figure).strip()
        return f'<span class="figure" role="img" aria-label="{found[1]}">{svg}</span>'

    return _FIGURE.sub(inline, html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Let the switch of languages lead to the same page; mkdocs.yml has ``#en`` and the like in its place."""
    language, here = _language(config), page.file.src_uri
    for other in ("en", *LANGUAGES):
        output = output.replace(f'href="#{other}"', f'href="{_url(here, other, here, language)}"')
    return output


def _language(config: MkDocsConfig) -> str:
    return str(config.theme["language"])


def _english_page(config: MkDocsConfig, name: str, path: Path) -> File:
    """Return a page in English, which says so below its heading in the build of another language."""
    text = path.read_text("utf-8")
    if sentence := config.extra.get("english_only"):
        text = re.sub(r"^(# .*)$", rf'\1\n\n!!! note ""\n    {sentence}', text, count=1, flags=re.MULTILINE)
    return File.generated(config, name, content=text)


def _source(page: str, language: str) -> tuple[str, str]:
    """Return the file in the repository that a page of a build comes from, and its language."""
    at_root = next((name for name, there in PAGES.items() if there == page), "")
    english = at_root or f"docs/{page}"
    translated = f"{PurePosixPath(at_root).stem}.{language}.md" if at_root else f"docs/{language}/{page}"
    return (translated, language) if (ROOT / translated).exists() else (english, "en")


def _page(path: str) -> tuple[str | None, str]:
    """Return the page that a file of the repository is in the build of its language, if any, and that language."""
    for language in LANGUAGES:
        if path.startswith(f"docs/{language}/"):
            return path.removeprefix(f"docs/{language}/"), language
        if path == f"README.{language}.md":
            return PAGES["README.md"], language
    if path.startswith("docs/"):
        return path.removeprefix("docs/"), "en"
    return PAGES.get(path), "en"


def _url(page: str, language: str, here: str, its_language: str) -> str:
    """Return the address of a page in one language, relative to a page in the same or another one."""
    there, start = (
        posixpath.normpath(posixpath.join("" if code == "en" else code, name))
        for name, code in ((page, language), (posixpath.dirname(here), its_language))
    )
    return re.sub(r"\.md$", ".html", posixpath.relpath(there, start))


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
