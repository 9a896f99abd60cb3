"""A stored result that grows row by row: what is there is kept, what is missing is computed."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlnegf
from mlnegf._common import write_whole


class Record:
    """Rows in a JSON file, each known by its key, rewritten whole after every new one.

    Parameters
    ----------
    path : path
    command : sequence of str
        `sys.argv`, written into the file.
    about : mapping
        What all rows share; a file of other values is refused.
    """

    def __init__(self, path: Path, command: Sequence[str], about: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        words = "python benchmarks/" + " ".join([Path(command[0]).name, *command[1:]])
        self._about = {"command": words, "version": mlnegf.__version__, **about}
        if path.exists():
            found = json.loads(path.read_text())
            self.rows = found.pop("rows")
            for name, value in about.items():
                if found.get(name) != value:
                    raise SystemExit(f"{path}: {name} = {found.get(name)!r}, not {value!r}; name another output.")

    def add(self, key: Mapping[str, Any], compute: Callable[..., Mapping[str, Any]], *arguments: Any) -> None:
        """Compute the row of a key, unless it is there."""
        if any(all(row.get(name) == value for name, value in key.items()) for row in self.rows):
            return
        row = {**key, **compute(*arguments)}
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        text = json.dumps({**self._about, "rows": self.rows}, indent=1)
        write_whole(self.path, lambda file: file.write_text(text))
