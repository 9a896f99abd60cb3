"""A folder filled by many workers: what is missing is made, in the order given, and added whole."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

from mlnegf.runs.folder import Entry, Folder
from mlnegf.runs.workers import Workers


def fill(
    folder: Folder,
    who: Workers,
    make: Callable[..., tuple[bytes, Entry]],
    wanted: Mapping[str, Any],
    about: Callable[[str], Entry],
    total: int,
    unit: str,
    progress: bool,
) -> None:
    """Make the files that a folder lacks.

    Parameters
    ----------
    folder : Folder
        Held by this run.
    who : Workers
    make : callable
        A task: from what is wanted to the content of its file, and what it took.
    wanted : mapping
        What each missing file is made of, by its name.
    about : callable
        From a name to what the manifest says of the file.
    total : int
        Files that there will be.
    unit : str
        What one file is, for the progress bar.
    progress : bool
        Whether to draw one on stderr, with the time left.
    """
    with (
        who.opened(len(wanted)) as tasks,
        tqdm(total=total, initial=total - len(wanted), unit=unit, disable=not progress) as bar,
    ):
        if progress:
            if folder.set_aside:
                bar.write(f"set aside as damaged, to be made anew: {', '.join(folder.set_aside)}", file=sys.stderr)
            bar.write(f"solving in {tasks.words}", file=sys.stderr)
        for name, given in wanted.items():
            tasks.give(name, make, given)
        for name, (content, took) in tasks.results():
            folder.add(name, content, about(name), took)
            bar.update()
