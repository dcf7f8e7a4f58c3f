"""What the documents point at exists: paths in backticks, links, and the headings that links name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "functions"
MAPS = (
    [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")]
    + sorted(ROOT.glob("*/README.md"))
    + sorted(ROOT.glob("services/*/README.md"))
)
"""Documents whose paths are those of this repository."""
PAGES = [*MAPS, *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ENDINGS = (".py", ".mjs", ".md", ".json", ".conf", ".toml", ".yaml", ".env", "/")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def looks_like_a_path(text: str) -> bool:
    """Whether it is a file, or lies in one of the repository's folders; what users name is theirs (`fn.config.json`, `/x`)."""
    if re.search(r"[\s<>*…{]", text) or text.startswith(("/", "fn.", ".fnbus")):
        return False
    return text.endswith(ENDINGS) or (ROOT / text.partition("/")[0]).is_dir()


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", MAPS, ids=lambda page: str(page.relative_to(ROOT)))
def test_path_in_backticks_exists(page: Path) -> None:
    named = [text for text in CODE.findall(prose(page)) if looks_like_a_path(text)]
    places = (ROOT, page.parent, EXAMPLES, EXAMPLES / "python" / "greet")
    assert [text for text in named if not any((place / text).exists() for place in places)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_link_leads_somewhere(page: Path) -> None:
    broken: list[str] = []
    for link in LINK.findall(prose(page)):
        path, _, anchor = str(link).partition("#")
        target = (page.parent / path) if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            broken.append(link)
    assert broken == []
