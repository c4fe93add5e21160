"""What a page says in words: Markdown, tables, and the source of the package."""

import re
from collections.abc import Sequence


class Markdown:
    """Text that Jupyter shows as Markdown, and that prints as it is where nothing renders it."""

    def __init__(self, text: str):
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def table(columns: Sequence[str], rows: Sequence[Sequence]) -> Markdown:
    """Column names and rows -> a Markdown table; whole numbers get thousands separators. A column of numbers stands on
    the right, with their units, spreads and gaps: "7 ms", "96%", "0.9 ± 0.1", "0.9 [0.8, 1.0]", "".

    Raises ValueError for a row of another length.
    """
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"every row needs {len(columns)} entries ({', '.join(columns)})")
    cells = [[f"{v:,}" if isinstance(v, int) and not isinstance(v, bool) else str(v) for v in row] for row in rows]
    columns_of_cells = list(zip(*cells, strict=True)) or [()] * len(columns)
    right = [any(column) and all(map(_is_number, column)) for column in columns_of_cells]
    ruler = ["---:" if r else "---" for r in right]
    return Markdown("\n".join("| " + " | ".join(row) + " |" for row in [list(columns), ruler, *cells]))


#: What stands on the right of a table; "01", "3a" and "64 x 56" are names.
_NUMBER = r"(?:[x<>] )?[+\-−]?(?:(?:0|[1-9][\d,]*)(?:\.\d+)?(?:e[+-]?\d+)?|nan|inf)"
_MEASURED = re.compile(rf"(?:{_NUMBER}(?: ± {_NUMBER})?(?: ?%| [A-Za-zµ]{{1,3}})?(?: \[{_NUMBER}, {_NUMBER}\])?)?")


def _is_number(cell: str) -> bool:
    return _MEASURED.fullmatch(cell) is not None


def source(*things) -> Markdown:
    """Classes or functions of the package -> their source as the package has it: shown, never pasted, so that page
    and package cannot differ.
    """
    import inspect
    import textwrap

    return Markdown(
        "\n".join(f"```python\n{textwrap.dedent(inspect.getsource(thing)).rstrip()}\n```" for thing in things)
    )
