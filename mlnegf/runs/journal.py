"""Rows in a text file, one line each, appended as they come: what is on a line was written whole, and is unharmed."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlnegf._files import write_whole

Row = dict[str, Any]


def checksum(value: object) -> str:
    """Return the SHA-256 of a value's JSON, keys sorted, in hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Journal:
    """A file of rows; only one process may write at a time, see `lock.held`."""

    path: Path

    def read(self) -> tuple[list[Row], int]:
        """Return the rows that are whole, and how many lines are not: torn by a kill, or damaged since."""
        lines = [line for line in self._content().split(b"\n") if line]
        rows = [row for line in lines if (row := _unharmed(line)) is not None]
        return rows, len(lines) - len(rows)

    def begin(self) -> list[Row]:
        """Return the rows that are whole, and remove the lines that are not: once, before the first `append`."""
        rows, _ = self.read()
        mended = b"".join(map(_line, rows))
        if mended != self._content():
            write_whole(self.path, mended)
        return rows

    def append(self, row: Row) -> None:
        """Add a row: it is on the disk afterwards, or an error is raised and the file is as it was."""
        left = memoryview(_line(row))
        with self.path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(before)
                raise

    def _content(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""


def _line(row: Row) -> bytes:
    text = json.dumps({**row, "checksum": checksum(row)}, sort_keys=True, ensure_ascii=False)
    return text.encode() + b"\n"


def _unharmed(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or row.pop("checksum", None) != checksum(row):
        return None
    return row
