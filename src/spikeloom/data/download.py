"""Fetch a dataset's official files, checked against their known checksums."""

from collections.abc import Callable
from pathlib import Path

import pooch
from filelock import FileLock

from spikeloom.data.files import Remote


def fetch(remote: Remote, root: Path, *, whole: Callable[[], bool]) -> None:
    """Fetch what is missing into the root; processes that ask at once wait for one another.

    Args:
        whole: says whether all is there by now, because another process has fetched it.

    Raises:
        ValueError: a fetched file does not have the known checksum.
        ConnectionError: the server does not answer or refuses, or the file cannot be written.
    """
    folder = root / remote.into
    with FileLock(root / ".spikeloom-download.lock"):
        if whole():
            return
        for name, known in remote.hashes.items():
            plain = folder / name.removesuffix(".gz")
            packed = remote.unpack or name.endswith(".zip")
            if not packed and (plain.is_file() or (folder / name).is_file()):
                continue
            _retrieve(remote, folder, name, known)


def _retrieve(remote: Remote, folder: Path, name: str, known: str) -> None:
    # Before Python 3.12 pooch unpacks what it is not told to leave, even outside the folder.
    processor: pooch.Untar | pooch.Unzip | None = None
    if name.endswith(".zip"):
        processor = pooch.Unzip(extract_dir=".")
    elif remote.unpack:
        processor = pooch.Untar([remote.unpack], extract_dir=".")
    url = remote.url + remote.names.get(name, name)
    try:
        pooch.retrieve(url, known, fname=name, path=folder, processor=processor)
    except OSError as error:  # all of the errors of requests are
        raise ConnectionError(
            f"could not fetch {url} ({error}); try again later, or put the file "
            f"into {folder} yourself, as {name}"
        ) from error
