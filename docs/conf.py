"""The documentation site: `sphinx-build -W --keep-going docs site`. Needs no network."""

import dataclasses

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.ext.napoleon import Config, GoogleDocstring

import dimp_jax
from dimp_jax.config import files, network, predictor, tracker, training

project = html_title = "dimp_jax"
release = version = dimp_jax.__version__
html_show_copyright = False

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["studies/*/findings.md"]  # the reports contain them
default_role = "literal"  # `name` in a docstring

html_theme = "furo"
pygments_dark_style = "github-dark"  # the usual one underlines names of modules
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"

nb_execution_mode = "off"  # notebooks are shown as they were run
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"exclude-members": "replace"}  # flax adds it to its dataclasses


def google_sections(app, what, name, obj, options, lines):
    """Args, Returns and Raises; in the comment of a field a colon is a colon."""
    if what not in ("attribute", "property"):
        config = Config(napoleon_use_rtype=False)
        lines[:] = GoogleDocstring(lines, config, app, what, name, obj, options).lines()


def hide_fields(app, what, name, obj, options, signature, returns):
    """No signature for a dataclass or a named tuple: each field has an entry of its own."""
    fields = dataclasses.is_dataclass(obj) or hasattr(obj, "_fields")
    return ("", None) if what == "class" and fields else None


def visit_math(self, node):
    """Formulas as MathML, which browsers draw without a script."""
    block = isinstance(node, nodes.math_block)
    formula = latex2mathml.tex2mathml(node.astext(), as_block=block)
    self.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app):
    for module in (files, network, predictor, tracker, training):
        for value in vars(module).values():
            if dataclasses.is_dataclass(value):  # as a default, in another one
                value.__repr__ = lambda self: f"{type(self).__name__}()"
    app.connect("autodoc-process-docstring", google_sections)
    app.connect("autodoc-process-signature", hide_fields)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
