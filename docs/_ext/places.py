"""Links to what is in the repository and not on the site: shown as paths, if they are there.

A link to nothing stays a warning, which ``make docs`` takes for an error.
"""

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class ShowPaths(SphinxTransform):
    """Files, of which MyST makes downloads, and folders, which it does not find."""

    default_priority = 5

    def apply(self) -> None:
        """Replace each such link by its text."""
        for link in [
            *self.document.findall(download_reference),
            *self.document.findall(pending_xref),
        ]:
            path = self._path(link["reftarget"])
            folder = isinstance(link, pending_xref)
            if path is None or (not path.is_dir() if folder else path.suffix == ".svg"):
                continue
            link.replace_self(nodes.inline("", "", *link.children, classes=["path"]))

    def _path(self, target: str) -> Path | None:
        """The file or folder in the repository that a link leads to."""
        root = Path(self.env.srcdir)
        found = (root / self.env.docname).parent.joinpath(target.partition("#")[0]).resolve()
        return found if found.exists() and found.is_relative_to(root) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.add_transform(ShowPaths)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
