"""Sphinx's settings for the course's website; build.py beside this file lays the pages and calls Sphinx."""

import json
import re
import sys
from binascii import a2b_base64
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parent))  # MyST-Parser imports the function that is named below

project = "Inception Lessons"
author = "Inception Lessons contributors"
copyright = "Inception Lessons contributors; code MIT, text and figures CC BY 4.0"
language = "en"
extensions = ["myst_nb"]
source_suffix = {".ipynb": "myst-nb", ".md": "myst-nb"}

nb_execution_mode = "off"  # what a reader sees is what was stored
nb_render_markdown_format = "myst"  # outputs hold tables, which CommonMark alone does not know
nb_ipywidgets_js = {}  # no controls, no scripts for them
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_disable_syntax = ["myst_line_comment", "myst_target", "myst_role", "myst_block_break"]  # JupyterLab has none
myst_heading_anchors = 6
myst_heading_slug_func = "conf.slug"

html_theme = "furo"
html_title = "Inception Lessons"
html_static_path = ["static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # a page on a disk may not read another one
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": False}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def slug(title: str) -> str:
    """A heading, or the anchor that JupyterLab gives it -> its anchor here: words with one dash between them."""
    return re.sub(r"[^\w.]+", "-", title).strip("-")


def setup(app):
    """Maths as MathML, which browsers draw without a script; figures with the alt text that their notebook stores."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("doctree-read", tell_alt)
    app.connect("html-page-context", level_captions, priority=900)  # after the theme has made its side bar
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline_math(translator, node):
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_math(translator, node):
    translator.body.append(f'<div class="math-block">{convert(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode


def tell_alt(app, doctree):
    """MyST-NB leaves a figure's alt text in the notebook; here each <img> of an output gets its own."""
    page = Path(app.srcdir, app.env.docname + ".ipynb")
    if not page.exists():
        return
    told = {}
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}):
                    picture = a2b_base64("".join(output["data"][kind]))
                    told[picture] = output["metadata"].get(kind, {}).get("alt", "")
    for image in doctree.findall(nodes.image):
        if not image.get("alt"):
            image["alt"] = told.get(Path(app.srcdir, image["candidates"]["*"]).read_bytes(), "")


def level_captions(app, page, template, context, doctree):
    """The side bar's captions call themselves headings; a screen reader must also be told of which level."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
