"""Files that are absent, damaged or forbidden, and mirrors that fail in every way."""

import gzip
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from lecun_repro.data import download
from lecun_repro.data.sources import mnist, usps
from lecun_repro.errors import DataError

INDICES = np.arange(20)
MNIST, USPS = mnist.MNIST(), usps.USPS()


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# Files that are there


def damages(body: bytes) -> list[bytes]:
    """The file truncated at 20 places and with one byte flipped at 50, evenly spread and at its very ends."""
    cuts = [body[:at] for at in np.linspace(0, len(body) - 1, 20).astype(int)]
    flips = []
    for number, at in enumerate(np.linspace(0, len(body) - 1, 50).astype(int)):
        flips.append(body[:at] + bytes([body[at] ^ (1 << number % 8)]) + body[at + 1 :])
    return cuts + flips


FILES = [(MNIST, part, name) for part, names in mnist.FILES.items() for name in names]
FILES += [(USPS, part, name) for part, name in usps.FILES.items()]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("source", "part", "name"), FILES)
def test_damage_is_named_or_harmless(small_mnist, small_usps, source, part, name, packed) -> None:
    small = (small_mnist if source is MNIST else small_usps).write(packed)
    expected = source.load(part, INDICES, small.root)
    path = small.path(name, packed)
    body = gzip.compress(small.contents[name], mtime=0) if packed else small.contents[name]
    refused = 0
    for damaged in damages(body):
        path.write_bytes(damaged)
        before = everything(small.root)
        try:
            split = source.load(part, INDICES, small.root)
        except DataError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:
            assert all((got == wanted).all() for got, wanted in zip(split, expected, strict=True))
            assert packed or source is USPS  # a gzip header or a number written otherwise
        assert path.read_bytes() == damaged and everything(small.root) == before
    assert refused >= 65


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "not a gzip file: it begins with b'<!DOCTYPE html><'"),
        (gzip.compress(b"something else"), "line 1: 2 fields, expected 257"),
        (gzip.compress(b"something else")[:-1], "truncated or corrupt gzip file"),
        (gzip.compress(bytes(2**20)), "more than 1,000,000 bytes when decompressed"),
        (os.urandom(2**20), "more than 1,000,000 bytes"),
    ],
    ids=["empty", "web page", "other text", "cut gzip", "gzip bomb", "too large"],
)
def test_foreign_files_are_refused(small_usps, monkeypatch, body, fault) -> None:
    monkeypatch.setattr(download, "MAX_CONTENT", 1_000_000)
    path = small_usps.write().path("zip.test")
    path.write_bytes(body)
    with pytest.raises(DataError) as error:
        USPS.load("test", INDICES, small_usps.root)
    assert str(error.value).startswith(f"{path}: {fault}")


def test_without_mirrors_none_is_spoken_of(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"digits\.gz is missing: it is not in .* \(nor unpacked there\)\.\nPut it"):
        download.obtain("digits", tmp_path, ["here"], [], bytes)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "digits.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"\(left as it is\)$"):
        download.obtain("digits", tmp_path, ["here"], [], bytes)


def test_a_folder_or_a_pipe_is_no_file(small_usps) -> None:
    (small_usps.home / "zip.test.gz").mkdir(parents=True)
    os.mkfifo(small_usps.home / "zip.train.gz")
    for part in ("train", "test"):
        with pytest.raises(DataError, match=rf"zip\.{part}\.gz: not a regular file"):
            USPS.load(part, INDICES, small_usps.root)


@pytest.mark.parametrize("forbidden", ["usps/zip.test.gz", "usps", ""])
def test_missing_permission_is_named(small_usps, forbidden) -> None:
    # Not under tmp_path, whose parent folders another user may not enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = Path(folder) / "root"
        shutil.copytree(small_usps.write().root, root)
        os.chmod(root / forbidden, 0)
        root_user = os.geteuid() == 0
        try:
            if root_user:  # whom permissions do not stop
                os.seteuid(65534)
            with pytest.raises(DataError, match=r"zip\.test(\.gz)?: .*Permission denied"):
                USPS.load("test", INDICES, root)
        finally:
            if root_user:
                os.seteuid(0)
            os.chmod(root / forbidden, 0o700)


# Files that are missing


def test_all_that_is_missing_is_downloaded_once(small_mnist, mirror, monkeypatch, capsys) -> None:
    monkeypatch.setattr(mnist, "MIRRORS", (mirror.giving(small_mnist.contents),))
    for part in ("train", "test", "train"):
        split = MNIST.load(part, INDICES, small_mnist.root)
        assert split.labels.tolist() == small_mnist.labels[part][INDICES].tolist()
    names = sorted(f"{name}.gz" for name in small_mnist.contents)
    assert sorted(path.rsplit("/", 1)[1] for path in mirror.asked) == names
    assert everything(small_mnist.home) == names
    printed = capsys.readouterr()
    assert "train-images-idx3-ubyte.gz" in printed.err and not printed.out


def test_downloads_are_readable_as_the_umask_says(small_usps, mirror, monkeypatch) -> None:
    monkeypatch.setattr(usps, "MIRRORS", (mirror.giving(small_usps.contents),))
    umask = os.umask(0o022)
    try:
        USPS.load("test", INDICES, small_usps.root)
    finally:
        os.umask(umask)
    assert (small_usps.home / "zip.test.gz").stat().st_mode & 0o777 == 0o644


def refuse(request: BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def redirect(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", request.path)
    request.end_headers()


def status(code: int):
    return lambda request: request.send_error(code)


def hang(request: BaseHTTPRequestHandler) -> None:
    request.server.mirror.closing.wait(5)


def stall(request: BaseHTTPRequestHandler) -> None:
    request.give(b"\x1f\x8b", length=10_000)
    request.server.mirror.closing.wait(5)


def cut_chunks(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")


FAILURES = {
    "closed": (refuse, "."),
    "403": (status(403), "HTTP 403 Forbidden"),
    "404": (status(404), "HTTP 404 Not Found"),
    "500": (status(500), "HTTP 500 Internal Server Error"),
    "redirects": (redirect, "HTTP 302 .*infinite loop"),
    "hang": (hang, "no answer within 0.3 s"),
    "stall": (stall, "no answer within 0.3 s"),
    "cut": (lambda request: request.give(b"\x1f\x8b12", length=100), "cut short after 4 of 100 bytes"),
    "chunks": (cut_chunks, "."),
    "nonsense": (lambda request: request.wfile.write(b"hello\r\n\r\n"), "."),
    "huge": (lambda request: request.give(bytes(2**16)), "more than 50,000 bytes"),
    "empty": (lambda request: request.give(b""), "the file is empty"),
    "page": (lambda request: request.give(b"<html>Please log in</html>"), "not a gzip file: it begins with b'<html>"),
    "other": (lambda request: request.give(gzip.compress(b"1 2\n")), "line 1: 2 fields"),
    "digest": (
        lambda request: request.give(gzip.compress((b"7" + b" 0" * 256 + b"\n") * 20)),
        "sha256 of the content is [0-9a-f]{64}, expected [0-9a-f]{64}",
    ),
}


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    monkeypatch.setattr(download, "MAX_BODY", 50_000)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("failure", FAILURES)
def test_a_bad_mirror_is_reported_and_leaves_nothing_and_the_next_is_used(
    small_usps, mirror, monkeypatch, failure
) -> None:
    answer, fault = FAILURES[failure]
    url = mirror.at(failure, answer)
    monkeypatch.setattr(usps, "MIRRORS", (url, "http://127.0.0.1:1/"))
    start = time.monotonic()
    with pytest.raises(DataError, match=f"\n  {url}zip.test.gz: {fault}.*\n  http://127.0.0.1:1/.*refused\n") as error:
        USPS.load("test", INDICES, small_usps.root)
    assert time.monotonic() - start < 3
    assert not small_usps.root.exists()
    message = str(error.value)
    for word in (small_usps.home, "LECUN_REPRO_DATA", "--data.root", "configs/quickstart.yaml", "zip.test.gz"):
        assert str(word) in message
    assert message.count("\n") == 3

    monkeypatch.setattr(usps, "MIRRORS", (url, mirror.giving(small_usps.contents)))
    split = USPS.load("test", INDICES, small_usps.root)
    assert split.labels.tolist() == small_usps.labels["test"].tolist()
    assert everything(small_usps.root) == ["usps", "usps/zip.test.gz"]


def test_a_folder_that_cannot_be_made_is_named(small_usps, mirror, monkeypatch) -> None:
    monkeypatch.setattr(usps, "MIRRORS", (mirror.giving(small_usps.contents),))
    small_usps.root.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=rf"{small_usps.home}/zip.test.gz: cannot be written: "):
        USPS.load("test", INDICES, small_usps.root)


def test_a_full_disk_leaves_nothing(small_usps, mirror, monkeypatch) -> None:
    monkeypatch.setattr(usps, "MIRRORS", (mirror.giving(small_usps.contents),))

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        USPS.load("test", INDICES, small_usps.root)
    assert everything(small_usps.root) == ["usps"]


TOGETHER = """
import sys, numpy
from pathlib import Path
from lecun_repro.data.sources import usps
usps.MIRRORS, usps.USPS.counts["test"], usps.DIGESTS["zip.test"] = (sys.argv[1],), 20, sys.argv[2]
print("ready", flush=True)
input()
print(usps.USPS().load("test", numpy.arange(20), Path(sys.argv[3])).labels.tolist())
"""


@pytest.mark.slow
def test_two_processes_together_do_not_corrupt(small_usps, mirror) -> None:
    url = mirror.giving(small_usps.contents)
    command = [sys.executable, "-c", TOGETHER, url, usps.DIGESTS["zip.test"], str(small_usps.root)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    both = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        assert process.communicate(timeout=60)[0] == f"{small_usps.labels['test'].tolist()}\n"
    assert everything(small_usps.root) == ["usps", "usps/zip.test.gz"]
    assert gzip.decompress((small_usps.home / "zip.test.gz").read_bytes()) == small_usps.contents["zip.test"]
