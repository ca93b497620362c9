"""How the documentation is built. Strict: ``make docs`` treats every warning as an error."""

import re
from typing import Any

import spikeloom

project = "Spikeloom"
author = "the Spikeloom authors"
version = release = spikeloom.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Spikeloom {release}"
default_role = "code"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"  # types stand in the signature only
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # torch.nn.Module's own text is not ours to format
# A class listed by another room than its own has two names, and a bare one means either.
suppress_warnings = ["ref.python"]
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape", "Source"]

MARKUP = re.compile(r"(``.+?``|:\w+:`[^`]+`|`[^`]+`)|([*|]|(?<=\w)_(?!\w))")


def keep_plain(
    _app: Any, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Escape what reStructuredText would read as markup in shapes and equations.

    Docstrings are written to be read in the source: ``[T, N, *]``, ``|u|`` and ``if_`` mean
    themselves there, and must here. Quoted code and examples stay as they are.
    """
    in_example = False
    for i, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example:
            lines[i] = MARKUP.sub(lambda found: found[1] or "\\" + found[2], line)
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()  # what Python writes for the fields of a named tuple
    if what in {"property", "attribute"}:
        lines.insert(0, "\\ ")  # else napoleon takes the words before a colon for a type


def setup(app: Any) -> None:
    """Called by Sphinx; runs before napoleon (500), whose output is real markup."""
    app.connect("autodoc-process-docstring", keep_plain, priority=400)
