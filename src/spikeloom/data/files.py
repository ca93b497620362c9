"""Dataset files: where they lie, what their bytes are, and how to fetch them."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT_VARIABLE = "SPIKELOOM_DATA"


@dataclass(frozen=True)
class Layout:
    """One way a dataset lies on disk.

    Args:
        folders: places under the root where the files may be; the first is the usual one.
        files: names of all files needed; each may also lie gzipped, with ``.gz`` added.
    """

    folders: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Remote:
    """Where the official files can be fetched.

    Args:
        url: address of the folder, with a slash at the end.
        hashes: file name -> ``md5:...`` or ``sha256:...``.
        into: folder under the root to put them in.
        unpack: if the files are tar archives, the folder in them to unpack there; zip archives
            are unpacked whole.
        names: file name -> what the server calls it, where it is another name.
    """

    url: str
    hashes: Mapping[str, str]
    into: str = "."
    unpack: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The files of one layout: name without ``.gz`` -> path, and what was read so far."""

    layout: Layout
    paths: Mapping[str, Path]
    digests: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        """Content of one file, unzipped if need be; notes the sha256 of the file as it lies.

        Raises:
            ValueError: the gzip data is damaged.
        """
        path = self.paths[name]
        raw = path.read_bytes()
        self.digests[path.name] = hashlib.sha256(raw).hexdigest()
        if path.suffix != ".gz":
            return raw
        try:
            return gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file ({error}); fetch it anew") from error

    def unread(self, name: str) -> Path:
        """Where one file lies that is read in pieces; notes its sha256.

        Raises:
            ValueError: it lies there gzipped.
        """
        path = self.paths[name]
        if path.suffix == ".gz":
            raise ValueError(
                f"{path} is packed, and pieces are read from anywhere in it; unpack it: "
                f"gunzip {path.name}"
            )
        with path.open("rb") as file:
            self.digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return path


def data_root(root: Path | None) -> Path:
    """The folder with the datasets: the argument, else the variable SPIKELOOM_DATA.

    Raises:
        ValueError: neither is given.
        NotADirectoryError: there is no such folder.
    """
    given = root or os.environ.get(ROOT_VARIABLE)
    if not given:
        raise ValueError(
            'where are the datasets? Give root = "/path/to/data", or set the environment '
            f"variable {ROOT_VARIABLE}=/path/to/data"
        )
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(
            f"the data root {folder} is not a folder; make it, or point root or "
            f"{ROOT_VARIABLE} to the one you have"
        )
    return folder


def locate(
    name: str,
    root: Path | None,
    layouts: Sequence[Layout],
    remote: Remote | None,
    *,
    download: bool = False,
) -> Found:
    """The first layout of which every file is there; fetched first if asked for and absent.

    Args:
        remote: where the files can be fetched; None if they cannot.

    Raises:
        FileNotFoundError: no layout is whole; says what was looked for and where.
    """
    folder = data_root(root)
    found = _look(folder, layouts)
    if found is None and download and remote:
        from spikeloom.data.download import fetch

        fetch(remote, folder, whole=lambda: _look(folder, layouts) is not None)
        found = _look(folder, layouts)
    if found is None:
        raise FileNotFoundError(_missing(name, folder, layouts, remote))
    return found


def locate_folder(
    name: str,
    root: Path | None,
    folders: Sequence[str],
    whole: Callable[[Path], bool],
    *,
    expected: str,
    remote: Remote | None = None,
    download: bool = False,
    by_hand: str = "",
) -> Path:
    """The first folder under the root that is whole; fetched first if asked for and absent.

    Args:
        whole: whether a folder holds what is needed.
        expected: what was looked for in it.
        remote: where it can be fetched.
        by_hand: where people get it, if it cannot be fetched.
    Raises:
        FileNotFoundError: there is none; says what was looked for and where.
    """
    base = data_root(root)

    def found() -> Path | None:
        return next((base / each for each in folders if whole(base / each)), None)

    if found() is None and download and remote:
        from spikeloom.data.download import fetch

        fetch(remote, base, whole=lambda: found() is not None)
    if (folder := found()) is None:
        cure = "Put the files there, give another root, or let download = true fetch them."
        raise FileNotFoundError(
            f"{name} is not under {base}. Looked for {expected} in {', '.join(folders)}. "
            + (cure if remote else f"Get {by_hand}, by hand, and put it there")
        )
    return folder


def _look(root: Path, layouts: Sequence[Layout]) -> Found | None:
    for layout in layouts:
        for folder in layout.folders:
            paths = {name: _variant(root / folder / name) for name in layout.files}
            if all(path is not None for path in paths.values()):
                return Found(layout, {name: path for name, path in paths.items() if path})
    return None


def _variant(path: Path) -> Path | None:
    zipped = path.with_name(path.name + ".gz")
    return path if path.is_file() else zipped if zipped.is_file() else None


def _missing(name: str, root: Path, layouts: Sequence[Layout], remote: Remote | None) -> str:
    lines = [f"{name} is not whole under {root}. Looked for (each also with .gz):"]
    for layout in layouts:
        for folder in layout.folders:
            absent = [file for file in layout.files if _variant(root / folder / file) is None]
            lines.append(f"  {folder}/: missing {', '.join(absent)}")
    fetched = ", or let download = true fetch them" if remote else ""
    lines.append(f"Put the files there, give another root{fetched}.")
    return "\n".join(lines)
