"""The pages that people read, taken apart: what they tell to type, and what is marked as not run.

A block that a test can't run has a comment before it, ``<!-- not run: why -->``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "export/*.md", "serving/*.md", "notebooks/**/*.md")
    for path in ROOT.glob(pattern)
)
_PROGRAMS = (
    r"keras-inception |inception-serving |python3? |docker |kubectl |make |sh |curl |export |echo |"
    r"pip |jupyter |\. |"
    r"\.venv\S*|([A-Z_]+=\S* ?)+"
)
_MARK = re.compile(r"<!-- not run: (.+?) -->\s*$")


@dataclass(frozen=True)
class Block:
    """What a page tells to type.

    Attributes:
        page: from the root.
        line: its first line's number.
        language: ``"shell"`` or ``"python"``.
        text: as it stands, without its indent.
        not_run: why a test can't run it; empty where one does.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str

    @property
    def commands(self) -> list[str]:
        """Of a shell block, lines that end in a backslash joined."""
        lines = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The shell and Python blocks of a page, fenced or indented."""
    text = (ROOT / page).read_text("utf-8")
    fenced = re.compile(r"^```(\w*|\{[\w-]+\})[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    found = [(match.start(), match[1], match[2]) for match in fenced.finditer(text)]
    bare = fenced.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    indented = re.compile(r"(?:(?<=\n\n)|\A)((?:    .*\n|\n(?=    ))+)")
    found += [(match.start(), "", match[1]) for match in indented.finditer(bare)]
    for start, language, content in sorted(found):
        content = re.sub(r"(?m)^    ", "", content).strip("\n") if not language else content
        kind = _kind(language, content)
        if kind:
            mark = _MARK.search(text[:start])
            yield Block(page, text[:start].count("\n") + 1, kind, content, mark[1] if mark else "")


def _kind(language: str, content: str) -> str:
    if language in ("python", "sh", "bash"):
        return "python" if language == "python" else "shell"
    if language or not content.strip():
        return ""
    first = content.lstrip().splitlines()[0]
    if re.match(r"(from|import|with|async with|client\.) ?", first):
        return "python"
    return "shell" if re.match(_PROGRAMS, first) else ""
