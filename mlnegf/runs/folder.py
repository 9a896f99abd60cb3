"""A folder of files, each whole and each in a manifest, which says what it is, who made it, and its checksum.

The manifest, ``manifest.jsonl``, is a journal: one line for each file. A line is on the disk before its file is in its
place: no file is in the folder that the manifest does not know. What no answer depends on, how long a file took and
where it was made, goes to another journal, ``log.jsonl``.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mlnegf._common import __version__, require
from mlnegf._files import read_whole, remove_leftovers, write_whole
from mlnegf.runs.journal import Journal
from mlnegf.runs.lock import held

MANIFEST: Final = "manifest.jsonl"
LOG: Final = "log.jsonl"
QUARANTINE: Final = "quarantine"

Entry = dict[str, Any]
"""What the manifest says of a file: `file`, its name; `sha256`; `bytes`; `version` of the code; and what else it is."""


class DamagedFileError(ValueError):
    """A file that is not what its manifest says."""


def entries_of(folder: Path) -> dict[str, Entry]:
    """Read a manifest: the last word on each file, by name.

    Raises
    ------
    DamagedFileError
        If a line of it is torn or changed.
    """
    rows, harmed = Journal(folder / MANIFEST).read()
    harmed += sum("file" not in row for row in rows)
    if harmed:
        raise DamagedFileError(f"{folder / MANIFEST}: {harmed} damaged lines; {_again(folder)}.")
    return {str(row["file"]): row for row in rows}


def content_of(path: Path, entry: Entry | None) -> bytes:
    """Read a file, and see that it is the one its manifest knows.

    Raises
    ------
    DamagedFileError
        If it is not.
    """
    if entry is None:
        raise DamagedFileError(
            f"{path}: not in {MANIFEST}, expected a line that knows its checksum; {_again(path.parent)}."
        )
    size = path.stat().st_size
    # Nothing larger than promised is read into memory.
    content = read_whole(path) if size == entry.get("bytes") else b""
    if hashlib.sha256(content).hexdigest() != entry.get("sha256"):
        raise DamagedFileError(
            f"{path}: {size} bytes that do not match their checksum in {MANIFEST}, expected {entry.get('bytes')} "
            f"unharmed ones; {_again(path.parent)}."
        )
    return content


def _again(folder: Path) -> str:
    return f"run again what made {folder}: it sets aside what is damaged, makes it anew and keeps what is whole"


@dataclass(eq=False)
class Folder:
    """A folder that one run at a time adds files to; see `opened`.

    Attributes
    ----------
    path : Path
    suffix : str
        Of its files.
    entries : dict
        What the manifest says of the files that are there and whole, by name.
    set_aside : list of str
        Files that were not, now in the folder `QUARANTINE`.
    """

    path: Path
    suffix: str
    entries: dict[str, Entry] = field(default_factory=dict)
    set_aside: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(cls, path: Path, suffix: str, mix_versions: bool = False, wait: bool = False) -> "Iterator[Folder]":
        """Hold a folder, made if it is not there: what is whole in it is known, what is not is set aside.

        Parameters
        ----------
        path : Path
        suffix : str
            Of its files, such as ".nc".
        mix_versions : bool
            Whether files of other versions of the code are kept, instead of refused.
        wait : bool
            Whether to wait for another run that holds it, instead of refusing.

        Raises
        ------
        ValueError
            If another run holds it, or it has files of another version.
        """
        path.mkdir(parents=True, exist_ok=True)
        with held(path, wait):
            remove_leftovers(path)
            folder = cls(path, suffix)
            known = {str(row.get("file")): row for row in Journal(path / MANIFEST).begin()}
            Journal(path / LOG).begin()
            files = sorted(path.glob(f"*{suffix}"))
            if not mix_versions:
                require_one_version(path, {file.name: known[file.name] for file in files if file.name in known})
            for file in files:
                folder._check(file, known.get(file.name))
            yield folder

    def _check(self, file: Path, entry: Entry | None) -> None:
        try:
            if file.is_symlink():
                raise DamagedFileError(f"{file}: a link, expected a file.")
            content_of(file, entry)
        except DamagedFileError:
            aside = self.path / QUARANTINE
            aside.mkdir(exist_ok=True)
            os.replace(file, aside / f"{file.name}.{secrets.token_hex(4)}")
            self.set_aside.append(file.name)
        else:
            self.entries[file.name] = entry or {}

    def add(self, name: str, content: bytes, about: Mapping[str, Any], took: Mapping[str, Any]) -> None:
        """Add a file, whole or not at all.

        Parameters
        ----------
        name : str
            A plain name with the folder's suffix.
        content : bytes
        about : mapping
            For the manifest: what it is and where it comes from; numbers, words, lists and dictionaries.
        took : mapping
            For the log: seconds and host.
        """
        plain = name == os.path.basename(name) and name.endswith(self.suffix) and not name.startswith(".")
        require(plain, "name", name, f"a plain file name that ends in {self.suffix}", "Folder.add")
        entry = {
            "file": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "version": __version__,
            **about,
        }
        Journal(self.path / MANIFEST).append(entry)
        write_whole(self.path / name, content)
        self.entries[name] = entry
        finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        Journal(self.path / LOG).append({"file": name, "finished": finished, **took})


def require_one_version(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Refuse a folder with files of another version of the code than this one."""
    others = sorted({str(entry.get("version")) for entry in entries.values()} - {__version__})
    if others:
        raise ValueError(
            f"{folder}: holds files of version {', '.join(others)} of mlnegf, this is {__version__}; name another "
            "folder, or say mix_versions (--mix-versions) to keep both."
        )
