"""What an instructor's nbgrader has to know beyond student/nbgrader_config.py, which is read first."""

import os

import bleach
from nbconvert.filters import strip_files_prefix

c = get_config()  # noqa: F821  Jupyter gives it to each configuration file

c.CourseDirectory.student_id = "*"  # collects and grades everybody's work
c.CourseDirectory.root = os.path.expanduser(os.environ["INCEPTION_COURSE"])

TAGS = {
    *bleach.ALLOWED_TAGS,
    *("br", "dd", "del", "details", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "p", "pre"),
    *("s", "span", "sub", "summary", "sup", "table", "tbody", "td", "th", "thead", "tr"),
}
ATTRIBUTES = bleach.ALLOWED_ATTRIBUTES | {"*": ["class", "id"], "img": ["alt", "height", "src", "width"]}


def clean(html):
    """HTML -> the same with everything that could run shown as text."""
    return bleach.clean(str(html), tags=TAGS, attributes=ATTRIBUTES, protocols={*bleach.ALLOWED_PROTOCOLS, "data"})


def clean_markdown(html):
    return clean(strip_files_prefix(html))


# The Formgrader shows a student's notebook in a page of the instructor's own server: a script in it would act as the
# instructor. nbconvert's setting cleans outputs; the Formgrader's cells of text go through the second filter alone.
c.HTMLExporter.sanitize_html = True
c.HTMLExporter.filters = {"clean_html": clean, "strip_files_prefix": clean_markdown}
