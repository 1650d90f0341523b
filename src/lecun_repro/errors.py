"""What a user can put right, as one line: the dotted key, what was given, what is allowed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import Namespace


class DataError(ValueError):
    """Data that is absent, unreadable or not what it should be; the message names the file and the fault."""


class UserError(Exception):
    """What a user can put right; shown as one line."""


class BadArgument(UserError, ValueError):
    """A value that an argument may not have; raised where the argument is checked.

    Args:
        name: The argument; on the command line its key goes before it (`model.network.init_args.dropout`).
        given: Its value.
        allowed: What it may be, in words.
    """

    def __init__(self, name: str, given: Any, allowed: str) -> None:
        super().__init__(name, given, allowed)  # all three, so that it survives pickling
        self.name, self.given, self.allowed = name, given, allowed

    def __str__(self) -> str:
        return f"{self.name}: {one_line(shown(self.given))}; allowed: {one_line(self.allowed)}"


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Puts `prefix` before the name of an argument that is refused in the block, which makes it a key."""
    try:
        yield
    except BadArgument as error:
        raise BadArgument(prefix + error.name, error.given, error.allowed) from None


def one_line(message: str) -> str:
    return " ".join(message.split())


def printable(text: str) -> str:
    """A text on one line, without what would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """A value as one would write it in YAML, shortened."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    text = value if isinstance(value, str) and value.strip() else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 300 else text[:297] + "..."  # a path may be long
