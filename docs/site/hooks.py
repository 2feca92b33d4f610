"""Hooks of the documentation site, called by MkDocs.

docs/decisions/*.md            ─▶ the navigation's last section, in their order
<!-- reference: metrics -->    ─▶ a reference that `reference.py` generates from the code
[text](../examples/travel)     ─▶ a page with the files that stand there: links are as on GitHub
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site import reference

log = logging.getLogger("mkdocs.hooks.segue")

ROOT = Path(__file__).parents[2]

LINK = re.compile(r"\]\((?P<path>(?:\.\./)+[^)#\s]+)(?P<anchor>#[^)]*)?\)")
MARK = re.compile(r"^<!-- reference: (?P<kind>\w+)(?P<names>[^>]*) -->$", re.MULTILINE)
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> None:
    """List the decisions; a new one needs no change of the navigation."""
    decisions = sorted(path.name for path in Path(config.docs_dir, "decisions").glob("0*.md"))
    settings: Any = config
    settings.nav[-1]["Decisions"] += [f"decisions/{name}" for name in decisions]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add a page for each file or folder outside of docs/ that a page links."""
    marks = [mark for page in files.documentation_pages() for mark in MARK.finditer(page.content_string)]
    documented = [name for mark in marks if mark["kind"] == "api" for name in mark["names"].split()]
    if missing := reference.undocumented(documented):
        log.warning("no page of docs/reference/api has the public names %s", ", ".join(missing))
    linked = {
        target for page in files.documentation_pages() for target in _outside(page, page.content_string)
    }
    for target in sorted(linked):
        if target.exists():
            files.append(File.generated(config, _page_of(target), content=_shown(target)))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    generated = MARK.sub(lambda mark: reference.generate(mark["kind"], mark["names"].split()), markdown)
    return LINK.sub(lambda link: _inside(link, page.file), generated)


def _outside(page: File, markdown: str) -> list[Path]:
    """Return what the page links outside of docs/."""
    targets = [_target(page, link["path"]) for link in LINK.finditer(markdown)]
    return [target for target in targets if not target.is_relative_to(ROOT / "docs")]


def _target(page: File, link: str) -> Path:
    return Path(os.path.normpath(ROOT / "docs" / Path(page.src_uri).parent / link))


def _inside(link: re.Match[str], page: File) -> str:
    """Return the link, to the generated page if it leads outside of docs/."""
    target = _target(page, link["path"])
    if target.is_relative_to(ROOT / "docs"):
        return link[0]
    if not target.exists():
        log.warning("%s links %s, which does not exist", page.src_uri, link["path"])
        return link[0]
    return f"]({os.path.relpath(_page_of(target), Path(page.src_uri).parent)}{link['anchor'] or ''})"


def _page_of(target: Path) -> str:
    return f"source/{target.relative_to(ROOT)}.md"


def _shown(target: Path) -> str:
    """Return a page with the file, or with the code files of the folder."""
    files = sorted(target.glob("*.py")) if target.is_dir() else [target]
    name = target.relative_to(ROOT)
    return f"{UNSEARCHED}# {name}\n\n" + "\n\n".join(_code(file) for file in files)


def _code(file: Path) -> str:
    heading = f"## `{file.name}`\n\n"
    return f"{heading}`````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text()}\n`````\n"
