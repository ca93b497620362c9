import gzip
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial

import pytest

from spikeloom.data.cifar import CIFAR10, load_cifar
from spikeloom.data.files import Remote
from spikeloom.data.idx import MNIST, load_idx
from spikeloom.data.nmnist import REMOTE, nmnist


class Quiet(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, *_):
        self.asked.append(self.path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder, its address on this machine, and the list of what was asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Handler", (Quiet,), {"asked": []})
    running = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(folder))
    )
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield folder, f"http://127.0.0.1:{running.server_port}/", handler.asked
    running.shutdown()
    thread.join()
    running.server_close()


def hashes(folder) -> dict[str, str]:
    return {
        path.name: "md5:" + hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_files_are_fetched_once(server, home, write_idx):
    folder, url, asked = server
    write_idx(folder)
    spec = replace(MNIST, remote=Remote(url, hashes(folder), "mnist"))
    assert len(load_idx(spec, home, download=True).train) == 12
    assert len(asked) == 4
    assert len(load_idx(spec, home, download=True).train) == 12
    assert len(asked) == 4


def test_only_what_is_missing_is_fetched(server, home, write_idx):
    folder, url, asked = server
    write_idx(folder)
    write_idx(home / "mnist", zipped=False)
    (home / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    spec = replace(MNIST, remote=Remote(url, hashes(folder), "mnist"))
    assert len(load_idx(spec, home, download=True).test) == 5
    assert [path.split()[0] for path in asked] == ["/t10k-labels-idx1-ubyte.gz"]


def test_nothing_is_fetched_unless_asked(server, home, write_idx):
    folder, url, asked = server
    write_idx(folder)
    spec = replace(MNIST, remote=Remote(url, hashes(folder), "mnist"))
    with pytest.raises(FileNotFoundError, match="download = true"):
        load_idx(spec, home)
    assert asked == []


def test_another_checksum_is_refused_and_nothing_kept(server, home, write_idx):
    folder, url, _ = server
    write_idx(folder)
    known = hashes(folder)
    name = "train-images-idx3-ubyte.gz"
    (folder / name).write_bytes(gzip.compress(b"something else"))
    spec = replace(MNIST, remote=Remote(url, known, "mnist"))
    with pytest.raises(ValueError, match="does not match the known hash"):
        load_idx(spec, home, download=True)
    assert not (home / "mnist" / name).exists()


def test_a_file_the_server_lacks_is_named(server, home):
    _, url, _ = server
    spec = replace(MNIST, remote=Remote(url, {"train-images-idx3-ubyte.gz": "md5:0"}, "mnist"))
    with pytest.raises(ConnectionError, match=r"could not fetch http.*train-images.*put the file"):
        load_idx(spec, home, download=True)


def test_an_archive_is_unpacked_where_it_is_looked_for(server, home, tmp_path, write_cifar10):
    folder, url, asked = server
    write_cifar10(tmp_path)
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    remote = Remote(url, hashes(folder), unpack="cifar-10-batches-py")
    spec = replace(CIFAR10, remote=remote, counts=(15, 2))
    assert len(load_cifar(spec, home, download=True).train) == 15
    assert len(load_cifar(spec, home, download=True).test) == 2
    assert len(asked) == 1


def test_an_archive_cannot_write_outside(server, home):
    folder, url, _ = server
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in ("../escaped", "../../escaped", "escaped", "cifar-10-batches-py/../../escaped"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    spec = replace(CIFAR10, remote=Remote(url, hashes(folder), unpack="cifar-10-batches-py"))
    with pytest.raises(FileNotFoundError):
        load_cifar(spec, home, download=True)
    for folder in (home, home.parent, home.parent.parent):
        assert not (folder / "escaped").exists()


@pytest.mark.parametrize("spec", [MNIST, CIFAR10])
def test_the_official_files_have_full_checksums(spec):
    for known in spec.remote.hashes.values():
        kind, _, digest = known.partition(":")
        assert kind == "md5"
        assert len(bytes.fromhex(digest)) == 16


def test_zip_archives_are_fetched_under_the_names_of_the_server(
    server, home, write_nmnist, monkeypatch, tmp_path
):
    folder, url, asked = server
    write_nmnist(tmp_path / "set")
    for part in ("Train", "Test"):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for path in sorted((tmp_path / "set" / part).rglob("*.bin")):
                archive.write(path, path.relative_to(tmp_path / "set"))
    names = {f"{part}.zip": f"{part.lower()}/file" for part in ("Train", "Test")}
    remote = replace(REMOTE, url=url, hashes=hashes(folder), names=names)
    for name, place in names.items():
        (folder / place).parent.mkdir()
        (folder / name).rename(folder / place)
    monkeypatch.setitem(nmnist.__globals__, "REMOTE", remote)
    for _ in range(2):
        source = nmnist(home, T=2, partial=True, download=True)
        assert (len(source.train), len(source.test), len(asked)) == (12, 4, 2)
