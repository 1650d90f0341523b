"""JSON read by type: objects as NamedTuples; what is missing or ill-typed is one line that names file and field."""

import sys
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lecun_repro.errors import BadArgument, UserError, shown

Record = TypeVar("Record", bound=tuple)
WORDS = {float: "a finite number", int: "an integer from 0", str: "a text", bool: "true or false", list: "a list"}
hints_of = cache(get_type_hints)


def record(kind: type[Record], value: Any, place: str, **ready: Any) -> Record:
    """A JSON object as a NamedTuple; what else it holds, as that of a later version may, is ignored.

    Args:
        kind: The NamedTuple. A field `pass_` is `pass` in JSON.
        value: The object.
        place: File and record, with a colon, and the names of the fields around the object, each with a dot.
        ready: Fields that have been read.

    Raises:
        UserError: A field that is missing or ill-typed, or a number that is not finite, in one line that names it.
    """
    fields = fields_of(value, place)
    for name, hint in hints_of(kind).items():
        key = name.rstrip("_")
        if name not in ready and (key in fields or name not in kind._field_defaults):  # type: ignore[attr-defined]
            ready[name] = typed(hint, field(fields, key, place), f"{place}{key}")
    return kind(**ready)


def typed(kind: Any, value: Any, place: str) -> Any:
    """A JSON value as one of a type; its integers count something. Raises UserError, see `record`."""
    container, arguments = get_origin(kind) or kind, get_args(kind)
    if container is UnionType:
        fitting = [member for member in arguments if type(value) is member]
        return typed(fitting[0] if fitting else arguments[0], value, place)
    if container is list and isinstance(value, list):
        return [typed(arguments[0], element, f"{place}[{number}]") for number, element in enumerate(value)]
    if container is dict:
        return {
            name: typed(arguments[1], element, f"{place}.{name}") for name, element in fields_of(value, place).items()
        }
    if issubclass(container, tuple):
        return record(container, value, f"{place}.")
    if container is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if container is int and type(value) is int and 0 <= value <= 2**53:
        return value
    if container is Any or (container not in (int, float) and type(value) is container):
        return value
    raise refusal(place, value, WORDS[container])


def fields_of(value: Any, place: str) -> dict[str, Any]:
    """The fields of a JSON object. Raises UserError for something else."""
    if not isinstance(value, dict):
        raise refusal(place, value, "an object")
    return value


def field(fields: dict[str, Any], name: str, place: str) -> Any:
    """A field of an object. Raises UserError where it is missing."""
    if name not in fields:
        raise BadArgument("results", f"{place}{name} is missing", "records that have it")
    return fields[name]


def refusal(place: str, value: Any, allowed: str) -> UserError:
    return BadArgument("results", f"{place.rstrip('.: ')} is {shown(value)}", allowed)
