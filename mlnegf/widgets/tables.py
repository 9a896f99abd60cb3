"""Tables: of a page where there is one, aligned columns where there is only text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

from mlnegf._common import is_count, items, require

# Begins with a digit, and is no size such as 3×6 nm.
_NUMBER = re.compile(r"[+−-]?\.?[\d∞][^×]*$")


class Table:
    """Rows of named cells: a table on a page, aligned columns where there is only text.

    Parameters
    ----------
    rows : sequence of mappings
        One cell for each column name, the same names in every row. Numbers that are not whole are shown to `digits`
        significant ones; a column of numbers, or of texts that begin with one, is aligned to the right.
    caption : str, optional
        Text above the table.
    digits : int, optional
    """

    def __init__(self, rows: Sequence[Mapping[str, object]], caption: str = "", digits: int = 3) -> None:
        require(isinstance(caption, str), "caption", caption, "text", "Table")
        require(is_count(digits, 1, 17), "digits", digits, "a whole number between 1 and 17", "Table")
        given = items(rows, Mapping) or []  # type: ignore[type-abstract]
        self.caption, self.names = caption, [str(name) for name in given[0]] if given else []
        same = bool(given) and all(list(row) == list(given[0]) for row in given)
        require(same, "rows", rows, "one row or more, the same columns in each", "Table")
        self.cells = [[self._text(value, digits) for value in row.values()] for row in given]
        self.right = [all(_NUMBER.match(cell) for cell in column if cell) for column in zip(*self.cells, strict=True)]

    @staticmethod
    def _text(value: object, digits: int) -> str:
        if isinstance(value, float):
            return ("−∞" if value < 0 else "∞") if math.isinf(value) else f"{value:.{digits}g}"
        return str(value)

    def _repr_html_(self) -> str:
        """Return a plain HTML table."""
        styles = ["text-align:right" if right else "text-align:left" for right in self.right]

        def line(tag: str, cells: Sequence[str]) -> str:
            inside = "".join(f'<{tag} style="{s}">{escape(c)}</{tag}>' for s, c in zip(styles, cells, strict=True))
            return f"<tr>{inside}</tr>"

        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = f"<thead>{line('th', self.names)}</thead>" if any(map(str.strip, self.names)) else ""
        body = "".join(line("td", row) for row in self.cells)
        return f"<table>{caption}{head}<tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        """Aligned columns under their names."""
        lines = [self.names, *self.cells] if any(map(str.strip, self.names)) else self.cells
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            "  ".join(f"{cell:{'>' if right else '<'}{width}}" for cell, right, width in row).rstrip()
            for row in (zip(line, self.right, widths, strict=True) for line in lines)
        ]
        return "\n".join([self.caption, *aligned] if self.caption else aligned)


def facts(values: Mapping[str, object], caption: str = "", digits: int = 3) -> Table:
    """Return a table of two columns without names: what, and its value with the unit in the words."""
    return Table([{"": what, " ": value} for what, value in values.items()], caption, digits)
