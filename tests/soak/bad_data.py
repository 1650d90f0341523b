"""Bad data: every file of MNIST and of the zip-code digits, damaged in every way, is refused or gives the same digits.

    python tests/soak/bad_data.py --root data

Reads the real files below `--root` (default: $LECUN_REPRO_DATA), and works on copies. Each damaged file has to be
refused by one message that begins with its name, or to give exactly the digits of the good one (a flipped bit in a gzip
header); nothing but the damaged file may lie there afterwards. Ends with 1 if any does not.
"""

import argparse
import gzip
import os
import pwd
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lecun_repro.data.download import data_root
from lecun_repro.data.sources import mnist, usps
from lecun_repro.data.sources.base import Source
from lecun_repro.errors import DataError

MNIST, USPS = mnist.MNIST(), usps.USPS()
FILES = [(MNIST, part, name) for part, names in mnist.FILES.items() for name in names]
FILES += [(USPS, part, name) for part, name in usps.FILES.items()]
HOME = {MNIST: "mnist", USPS: "usps"}


def damages(name: str, body: bytes, content: bytes, cuts: int = 20, flips: int = 50) -> Iterator[tuple[str, bytes]]:
    """(kind, damaged file) of a gzip file and its content."""
    rng = np.random.default_rng(1)
    for at in np.linspace(1, len(body) - 1, cuts).astype(int):
        yield "truncated", body[:at]
    for at in [*range(10), *rng.integers(0, len(body), flips - 10)]:
        yield "one bit flipped", body[:at] + bytes([body[at] ^ (1 << int(rng.integers(8)))]) + body[at + 1 :]
    yield "empty", b""
    yield "a web page", b"<!DOCTYPE html><html><title>404 Not Found</title></html>"
    yield "gzip of something else", gzip.compress(b"something else")
    yield "gzip of nothing", gzip.compress(b"")
    yield "gzip of itself", gzip.compress(body)
    yield "another archive", b"PK\x03\x04" + body[4:]
    for kind, other in contents(name, content):
        yield kind, gzip.compress(other, 1)


def contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """(kind, content) of files that are whole, and not what they should be."""
    if name.startswith("zip"):
        lines = content.splitlines(keepends=True)
        first = lines[0].split()
        yield "one digit too few", b"".join(lines[:-1])
        yield "one digit too many", content + lines[0]
        yield "wrong shape", b" ".join(first[:-1]) + b"\n" + b"".join(lines[1:])
        yield "a label of 10", b" ".join([b"10", *first[1:]]) + b"\n" + b"".join(lines[1:])
        yield "a pixel that is NaN", b" ".join([first[0], b"nan", *first[2:]]) + b"\n" + b"".join(lines[1:])
        yield "another pixel", b" ".join([first[0], b"0.123", *first[2:]]) + b"\n" + b"".join(lines[1:])
        yield "two digits exchanged", lines[1] + lines[0] + b"".join(lines[2:])
        return
    header = 16 if "images" in name else 8
    n = struct.unpack(">I", content[4:8])[0]
    item = (len(content) - header) // n
    yield "wrong magic", b"\0\0\x0d" + content[3:]
    yield "wrong count in the header", content[:4] + struct.pack(">I", n - 1) + content[8:]
    yield "one digit too few", content[:4] + struct.pack(">I", n - 1) + content[8:-item]
    yield "two digits exchanged", content[:header] + content[header + item :] + content[header : header + item]
    if header == 16:
        yield "wrong shape", content[:8] + struct.pack(">II", 14, 56) + content[16:]
        yield "another pixel", content[:-400] + bytes([content[-400] ^ 1]) + content[-399:]
    else:
        yield "a label of 10", content[:-1] + b"\x0a"
        yield "another label", content[:-1] + bytes([(content[-1] + 1) % 10])


def outcome(source: Source, part: str, path: Path, root: Path, expected: tuple) -> str:
    """What becomes of loading a part whose file at `path` is bad: `refused`, `the same digits` or the fault."""
    before = sorted(root.rglob("*"))
    try:
        split = source.load(part, np.arange(50), root)
    except DataError as error:
        message = str(error)
        named = path.name.removesuffix(".gz") in message.split(":")[0]
        result = "refused" if named else f"a message that does not name the file: {message}"
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    else:
        same = all(np.array_equal(ours, good) for ours, good in zip(split, expected, strict=True))
        result = "the same digits" if same else "OTHER DIGITS"
    return result if sorted(root.rglob("*")) == before else f"{result}, and left something behind"


def check(original: Path, cuts: int = 20, flips: int = 50, files: list = FILES) -> tuple[Counter, list[str]]:
    """Counts of (kind, outcome), and the faults. Loads nothing from the network."""
    mnist.MIRRORS = usps.MIRRORS = ()
    counts: Counter[tuple[str, str]] = Counter()
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # another user will look
        root = Path(folder) / "root"
        for source, part, name in files:
            shutil.rmtree(root, ignore_errors=True)
            (root / HOME[source]).mkdir(parents=True)
            for each in mnist.FILES[part] if source is MNIST else [usps.FILES[part]]:
                shutil.copy(original / HOME[source] / f"{each}.gz", root / HOME[source])
            path = root / HOME[source] / f"{name}.gz"
            body = path.read_bytes()
            expected = source.load(part, np.arange(50), root)

            def record(kind: str, result: str, name: str = name) -> None:
                counts[kind, result] += 1
                if result not in ("refused", "the same digits"):
                    faults.append(f"{name}, {kind}: {result}")

            for kind, damaged in damages(name, body, gzip.decompress(body), cuts, flips):
                path.write_bytes(damaged)
                record(kind, outcome(source, part, path, root, expected))
            path.write_bytes(body)
            path.chmod(0)
            record("no permission", as_nobody(lambda: outcome(source, part, path, root, expected)))  # noqa: B023
            path.unlink()
            record("absent", outcome(source, part, path, root, expected))
            path.mkdir()
            record("a folder", outcome(source, part, path, root, expected))
            print(f"\r{name}: {sum(counts.values())} files", end="", file=sys.stderr, flush=True)
    return counts, faults


def as_nobody(function):
    """What a function returns for a user whom permissions stop; root is not such a one."""
    if os.geteuid() != 0:
        return function()
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        return function()
    finally:
        os.seteuid(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=data_root(None))
    started = time.monotonic()
    counts, faults = check(parser.parse_args().root)
    total = counts.total()
    same = sum(n for (_, result), n in counts.items() if result == "the same digits")
    print(f"\n{total} bad files: {total - same - len(faults)} refused by name, {same} the same digits, ", end="")
    print(f"{len(faults)} faults, {time.monotonic() - started:.0f} s")
    for (kind, result), n in sorted(counts.items()):
        print(f"  {kind}: {n} {result}")
    print(*faults, sep="\n")
    raise SystemExit(bool(faults))
