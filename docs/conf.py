"""The site: ``make docs`` builds it from the pages, the docstrings and the notebooks' outputs.

Sphinx with MyST-NB, since it alone reads Markdown, docstrings and notebooks and holds every inner
link, and furo, since it is kept well, has dark mode and a phone's layout, and loads nothing from
elsewhere. The sources' root is the repository's, so that a link is right on the site where it is
right in the repository. Nothing of ours is imported but the command line's parser, which needs
neither TensorFlow nor a GPU; notebooks are shown as they were committed, not run.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / part) for part in ("docs/_ext", "", "export", "serving")]

from keras_inception.version import __version__  # noqa: E402

project = "keras_inception"
version = release = __version__
language = "en"
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "notebooks/*.ipynb",
    "notebooks/*.md",
    "notebooks/zh/*.ipynb",
    "notebooks/zh/*.md",
    "export/README.md",
    "serving/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["**/_*", "**/.*"]
extensions = ["myst_nb", "sphinx.ext.napoleon", "sphinx_copybutton"]
extensions += ["places", "names", "mathml", "two_languages"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"keras_inception {release}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "redirect.html"}
templates_path = ["_templates"]
pygments_style = "friendly"
pygments_dark_style = "monokai"
