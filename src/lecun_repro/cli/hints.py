"""What a type hint allows, in words."""

import types
from collections.abc import Callable, Iterable
from typing import Any, Literal, Union, get_args, get_origin

import torch
from jsonargparse import Namespace
from jsonargparse._typehints import ActionTypeHint


def described(hint: Any) -> str:
    """What a type allows, in words."""
    origin, args = get_origin(hint), get_args(hint)
    plain = {bool: "true or false", int: "an integer", float: "a number", str: "text", type(None): "null"}
    if hint in plain:
        return plain[hint]
    if hasattr(hint, "_restrictions"):
        noun = "an integer" if hint._type is int else "a number"
        return f"{noun} {hint._expression.replace('v', '')}"
    if origin is Literal:
        return ", ".join("null" if arg is None else str(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(described(arg) for arg in args if arg is not torch.Tensor))
    if origin is tuple:
        return f"[{', '.join(described(arg) for arg in args)}]"
    if origin is Callable:
        return "the import path of a function"
    if origin in (dict, Namespace) or hint is dict:
        return "a mapping"
    if (isinstance(origin, type) and issubclass(origin, Iterable)) or hint in (list, tuple):
        return f"a list of {described(args[0])}" if args else "a list"
    if isinstance(hint, type):
        spoken = "AEFHILMNORSX" if hint.__name__[:2].isupper() else "AEIO"  # LRScheduler letter by letter
        return f"{'an' if hint.__name__[0] in spoken else 'a'} {hint.__name__}"
    return str(hint).replace("typing.", "")


def class_types(hint: Any) -> list[type]:
    """The classes that a type hint asks an instance of, as `class_path` and `init_args`."""
    if get_origin(hint) in (Union, types.UnionType, list, Iterable):
        return [base for arg in get_args(hint) for base in class_types(arg)]
    if not isinstance(hint, type) or hint is torch.Tensor or not ActionTypeHint.is_subclass_typehint(hint):
        return []
    return [hint]
