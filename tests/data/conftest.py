"""Small MNIST and zip-code files with digests of their own, and a mirror on the loopback."""

import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lecun_repro.data import download
from lecun_repro.data.sources import mnist, usps


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mirror but those that a test sets, no data root but the one it gives."""
    monkeypatch.setattr(mnist, "MIRRORS", ())
    monkeypatch.setattr(usps, "MIRRORS", ())
    monkeypatch.delenv(download.ROOT_VARIABLE, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Small(NamedTuple):
    """A source's files, made by hand: the content by file name, and what is in it by part."""

    root: Path
    home: Path
    contents: dict[str, bytes]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]

    def path(self, name: str, packed: bool = True) -> Path:
        """Where a download would put a file, or where it may lie unpacked."""
        return self.home / (f"{name}.gz" if packed else name)

    def write(self, packed: bool = True) -> "Small":
        """Writes all files."""
        self.home.mkdir(parents=True, exist_ok=True)
        for name, content in self.contents.items():
            self.path(name, packed).write_bytes(gzip.compress(content) if packed else content)
        return self


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """An MNIST of 300 and 100 digits, not yet written."""
    rng = np.random.default_rng(0)
    counts = {"train": 300, "test": 100}
    images = {part: rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in counts.items()}
    labels = {part: rng.integers(0, 10, n, dtype=np.uint8) for part, n in counts.items()}
    contents = {}
    for part, (images_name, labels_name) in mnist.FILES.items():
        n = counts[part]
        contents[images_name] = struct.pack(">4B3I", 0, 0, 8, 3, n, 28, 28) + images[part].tobytes()
        contents[labels_name] = struct.pack(">4BI", 0, 0, 8, 1, n) + labels[part].tobytes()
    monkeypatch.setattr(mnist.MNIST, "counts", counts)
    monkeypatch.setattr(mnist, "DIGESTS", {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()})
    return Small(tmp_path / "root", tmp_path / "root/mnist", contents, images, labels)


@pytest.fixture
def small_usps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Zip-code files of 30 and 20 digits, not yet written; `images` are the pixels in thousandths."""
    rng = np.random.default_rng(0)
    counts = {"train": 30, "test": 20}
    images = {part: rng.integers(-1000, 1001, (n, 256)).astype(np.int16) for part, n in counts.items()}
    labels = {part: rng.integers(0, 10, n).astype(np.uint8) for part, n in counts.items()}
    contents, digests = {}, {}
    for part, name in usps.FILES.items():
        rows = zip(labels[part], images[part], strict=True)
        text = "".join(f"{label} {' '.join(f'{p / 1000:g}' for p in pixels)}\n" for label, pixels in rows)
        contents[name] = text.encode()
        digests[name] = usps.content_digest(labels[part], images[part])
    monkeypatch.setattr(usps.USPS, "counts", counts)
    monkeypatch.setattr(usps, "DIGESTS", digests)
    return Small(tmp_path / "root", tmp_path / "root/usps", contents, images, labels)


Answer = Callable[[BaseHTTPRequestHandler], None]


class Mirror:
    """A server on the loopback that answers each first part of the path in its own way."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.closing = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                mirror.answers[self.path.split("/")[1]](self)

            def give(self, body: bytes, length: int | None = None) -> None:
                """The body, whatever its length is said to be."""
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass  # a client that gave up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.mirror = self
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def at(self, name: str, answer: Answer) -> str:
        """The address of a mirror that answers so."""
        self.answers[name] = answer
        return f"http://127.0.0.1:{self.server.server_port}/{name}/"

    def giving(self, contents: dict[str, bytes], name: str = "good") -> str:
        """A mirror of gzip files with these contents."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.give(gzip.compress(contents[request.path.rsplit("/", 1)[1].removesuffix(".gz")]))

        return self.at(name, answer)

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    server = Mirror()
    yield server
    server.close()
