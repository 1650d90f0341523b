"""Errors a user can put right, as one line: the full dotted key, what was given, what is allowed.

`DigitsParser` leaves the parsing to jsonargparse. Where that fails, `explain` goes over the same inputs once more and
finds the first that is at fault, because jsonargparse's own messages name neither the whole key nor what is allowed.
What only shows when objects are built is found beforehand in `checks`.
"""

import difflib
import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

import torch
import yaml
from jsonargparse import Namespace, set_parsing_settings
from jsonargparse._actions import _ActionConfigLoad, filter_non_parsing_actions
from jsonargparse._common import parser_context
from jsonargparse._loaders_dumpers import get_yaml_default_loader
from jsonargparse._required import iter_required_keys
from jsonargparse._typehints import ActionTypeHint, get_all_subclass_paths, resolve_class_path_by_name
from jsonargparse._util import import_object
from lightning.pytorch.cli import LightningArgumentParser

set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning lets a configuration come from a URL

MOST_VALUES = 10_000  # of a configuration; more are an attack by nested aliases
DEEPEST = 50  # values of a configuration within one another; a real one has eight
SEEDS = "an integer from 0 to 4294967295"


class UserError(Exception):
    """What a user can put right; shown as one line."""


class ParseFailed(UserError):
    """The parser's own message, which `explain` makes a better one of."""


class DigitsParser(LightningArgumentParser):
    """A parser that raises instead of printing its usage, and takes no abbreviated flags."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:  # the parser of a class's arguments, whose caller may have other choices
            raise TypeError(message) from ex
        raise ParseFailed(one_line(message)) from ex


def fault(key: str, given: Any, allowed: str) -> UserError:
    """The one form that all errors of keys and values have."""
    return UserError(f"{key}: {one_line(shown(given))}; allowed: {one_line(allowed)}")


def one_line(message: str) -> str:
    return " ".join(message.split())


def shown(value: Any) -> str:
    """A value as one would write it in YAML, shortened."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    text = value if isinstance(value, str) and value.strip() else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 300 else text[:297] + "..."  # a path may be long


def nearest(name: str, names: Sequence[str]) -> str:
    """The valid names that are most like `name`, by the whole of it or by its last part."""

    def likeness(valid: str) -> float:
        whole = difflib.SequenceMatcher(None, name, valid).ratio()
        last = difflib.SequenceMatcher(None, name.rsplit(".", 1)[-1], valid.rsplit(".", 1)[-1]).ratio()
        return max(whole, 0.9 * last) + 0.1 * last

    return ", ".join(sorted(names, key=likeness, reverse=True)[:3])


# ---------------------------------------------------------------------------------------------------------------------
# What a type allows


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
        return f"{'an' if hint.__name__[0] in 'AEIO' else 'a'} {hint.__name__}"
    return str(hint).replace("typing.", "")


def class_types(hint: Any) -> list[type]:
    """The classes that a type hint asks an instance of, as `class_path` and `init_args`."""
    if get_origin(hint) in (Union, types.UnionType, list, Iterable):
        return [base for arg in get_args(hint) for base in class_types(arg)]
    if not isinstance(hint, type) or hint is torch.Tensor or not ActionTypeHint.is_subclass_typehint(hint):
        return []
    return [hint]


def takes_list(hint: Any) -> bool:
    """Whether a type hint allows a list."""
    return any(get_origin(each) in (list, Iterable) for each in (hint, *get_args(hint)))


def resolve_class(key: str, name: Any, bases: list[type]) -> type:
    """The class that a `class_path` or short name stands for; imported, checked and never called.

    Raises:
        UserError: there is none, or it is no subclass of `bases`.
    """
    names = [path.rsplit(".", 1)[-1] for base in bases for path in get_all_subclass_paths(base)]
    names = [n for n in dict.fromkeys(names) if n not in {base.__name__ for base in bases}]
    likely = difflib.get_close_matches(str(name).rsplit(".", 1)[-1], names, n=3) or names[:12]
    allowed = f"a subclass of {' or '.join(dict.fromkeys(b.__name__ for b in bases))}, such as {', '.join(likely)}"
    try:
        found = import_object(resolve_class_path_by_name(tuple(bases), name))  # type: ignore[arg-type]
    except Exception as error:
        ambiguous = isinstance(error, ValueError) and "Multiple subclasses" in str(error)
        raise fault(key, name, str(error) if ambiguous else allowed) from None
    if not (isinstance(found, type) and issubclass(found, tuple(bases))) or found in bases:
        raise fault(key, name, allowed)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Configuration files


class _Loader(get_yaml_default_loader()):  # type: ignore[misc]
    """jsonargparse's safe loader, which refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key that is no plain value", key.start_mark)
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value} is there twice", key.start_mark)
            if isinstance(key.value, str):
                keys.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(given: str) -> dict[str, Any]:
    """The contents of a configuration file, or of a configuration in braces.

    Raises:
        UserError: no such file, or not a YAML mapping of plain values.
    """
    if given.lstrip().startswith("{"):
        text, name = given, "configuration in braces"
    else:
        text, name = _read(Path(given)), given
    try:
        tree = yaml.load(text, Loader=_Loader)
        _count(tree)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise fault("config", f"{name}{where}: {problem}", "YAML of plain values, indented by spaces") from None
    except (RecursionError, OverflowError):
        raise fault("config", f"{name}: nested too deeply", f"YAML of at most {MOST_VALUES:,} values") from None
    except ValueError as error:  # such as a date or a number of too many digits
        raise fault("config", f"{name}: {error}", "YAML of plain values") from None
    if tree is None:
        raise fault("config", f"{name}: empty", "a YAML file such as configs/quickstart.yaml")
    if not isinstance(tree, dict):
        raise fault("config", f"{name}: {described(type(tree))}", "a YAML mapping of keys to values")
    return tree


def _read(path: Path) -> str:
    allowed = "a YAML file such as configs/quickstart.yaml"
    try:
        if path.is_dir():
            raise fault("config", f"{path}: a directory", allowed)
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise fault("config", f"{path} line {line}: not UTF-8", "a YAML file in UTF-8") from None
    except FileNotFoundError:
        raise fault("config", f"{path}: no such file", allowed) from None
    except (OSError, ValueError) as error:
        raise fault("config", f"{path}: {getattr(error, 'strerror', None) or error}", allowed) from None


def _count(tree: Any) -> int:
    """Values in a tree, every alias followed; OverflowError if there are too many, or too many within one another."""
    stack, n = [(tree, 0)], 0
    while stack:
        value, depth = stack.pop()
        n += 1
        if n > MOST_VALUES or depth > DEEPEST:
            raise OverflowError
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        stack += [(item, depth + 1) for item in inside]
    return n


def check_sections(tree: dict[str, Any], linked: dict[str, str]) -> None:
    """Refuses what jsonargparse would take and then not use.

    Args:
        tree: The contents of a configuration file.
        linked: Keys that only come from another one, and that one.

    Raises:
        UserError: a section that is no mapping, or a key that another one sets.
    """
    for section in ("trainer", "model", "data"):
        if section in tree and not isinstance(tree[section], dict):
            raise fault(section, tree[section], "a mapping of its keys to values")
    for key, source in linked.items():
        section, name = key.split(".")
        if name in tree.get(section, {}):
            raise fault(key, tree[section][name], f"given only through {source}")


# ---------------------------------------------------------------------------------------------------------------------
# Which input is at fault


def flags(
    args: Sequence[str], has_value: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, str | None]]:
    """(name, value) for each `--name=value` and `--name value`; other arguments with the name ''."""
    rest = iter(args)
    for arg in rest:
        if not arg.startswith("-"):
            yield "", arg
        elif "=" in arg:
            name, value = arg.split("=", 1)
            yield name, value
        else:
            yield arg, next(rest, None) if has_value(arg) else None


def config_flags(args: Sequence[str]) -> list[str]:
    """What `--config` and `-c` name."""
    return [value for name, value in flags(args) if name in ("--config", "-c") and value is not None]


def explain(parser: DigitsParser, args: Sequence[str], message: str) -> UserError:
    """The error of a command line that `parser` refuses with `message`."""
    if linked := re.match('Linked "(.*)" must be given via "(.*)"', message):
        return UserError(f"{linked[1]}: given by itself; allowed: only through {linked[2]}")
    try:
        with parser_context(parent_parser=parser, load_value_mode="yaml"):
            _Walk(parser).command_line(args)
    except UserError as error:
        return error
    return UserError(one_line(message)[:300])  # nothing found: the parser's own words


class _Walk:
    """Goes over configuration files and flags in their order, and raises UserError at the first that is wrong."""

    def __init__(self, parser: DigitsParser) -> None:
        self.parser = parser
        self.classes: dict[str, type] = {}  # of each key with a class_path, the last one given
        self.given: set[str] = set()  # every key given

    def command_line(self, args: Sequence[str]) -> None:
        options = self.parser._option_string_actions
        for name, value in flags(args, lambda name: name not in options or options[name].nargs != 0):
            if not name:
                raise fault("command line", value, "flags, each as --key value or --key=value")
            key = name.lstrip("-").removesuffix("+")
            if name in ("--config", "-c"):
                if value is None:
                    raise fault("config", "no file", "a YAML file such as configs/quickstart.yaml")
                self.tree(self.parser, load_config(value))
            elif name in options:
                action = options[name]
                if isinstance(action, ActionTypeHint):
                    if value is None:
                        raise fault(key, "no value", described(action._typehint))
                    self.value(self.parser, action, value, key)
            else:
                self.nested(key, value)
        self.required()

    def nested(self, key: str, value: str | None) -> None:
        """A flag inside of a class's arguments: --optimizer.lr, with or without init_args."""
        parser, prefix, rest = self.parser, "", key.split(".")
        while True:
            actions = _actions(parser)
            for n in range(len(rest), 0, -1):
                dest = ".".join(rest[:n])
                if dest in actions:
                    break
            else:
                raise self.unknown(prefix + ".".join(rest))
            action, rest, key = actions[dest], rest[n:], prefix + dest
            if not rest:
                if value is None:
                    raise fault(key, "no value", described(action._typehint))
                return self.value(parser, action, value, key)
            bases = class_types(getattr(action, "_typehint", None))
            if not bases:
                raise self.unknown(".".join([key, *rest]))
            if rest == ["class_path"]:
                self.classes[key] = resolve_class(f"{key}.class_path", value, bases)
                return self.given.add(key)
            if key not in self.classes:
                raise fault(".".join([key, *rest]), "no class given before", f"--{key} and a class, then its arguments")
            parser, prefix = self.class_parser(action, key), f"{key}.init_args."
            rest = rest[1:] if rest[0] == "init_args" else rest

    def tree(self, parser: DigitsParser, tree: dict, at: str = "", prefix: str = "") -> None:
        """A mapping from a configuration, `at` a key of `parser`."""
        actions = _actions(parser)
        for name, value in tree.items():
            dest = f"{at}{name}"
            key = prefix + dest
            if dest in actions:
                self.value(parser, actions[dest], value, key)
            elif any(known.startswith(f"{dest}.") for known in actions):
                if not isinstance(value, dict):
                    inside = [prefix + known for known in actions if known.startswith(f"{dest}.")]
                    raise fault(key, value, f"a mapping with keys such as {', '.join(inside[:3])}")
                self.tree(parser, value, f"{dest}.", prefix)
            elif key not in ("config",):
                raise self.unknown(key)

    def value(self, parser: DigitsParser, action: Any, value: Any, key: str) -> None:
        self.given.add(key)
        hint = getattr(action, "_typehint", None)
        bases = class_types(hint)
        if key == "seed_everything":
            if isinstance(value, bool) or not str(value).isdecimal() or int(value) >= 2**32:
                raise fault(key, value, SEEDS)
            return
        if bases and isinstance(value, str) and value.lstrip().startswith("{"):
            value = load_config(value)
        if bases and isinstance(value, list) and takes_list(hint):
            for number, item in enumerate(value):
                self.instance(action, item, f"{key}[{number}]", bases)
        elif bases and isinstance(value, dict):
            self.instance(action, value, key, bases)
        elif not self.accepted(parser, action, value):
            if bases and isinstance(value, str):
                self.classes[key] = resolve_class(key, value, bases)
                return  # what it lacks comes later
            raise fault(key, value, described(hint))
        elif (
            bases
            and isinstance(value, str)
            and isinstance(yaml.load(value, Loader=_Loader), str)
            and str not in get_args(hint)
        ):
            self.classes[key] = resolve_class(key, value, bases)

    def accepted(self, parser: DigitsParser, action: Any, value: Any) -> bool:
        try:
            with parser_context(parent_parser=parser, lenient_check=True, load_value_mode="yaml"):
                parser._check_value_key(action, json.loads(json.dumps(value)), action.dest, None)
        except Exception:
            return False
        return True

    def instance(self, action: Any, spec: Any, key: str, bases: list[type]) -> None:
        """A class with its arguments, or the name of a class alone."""
        if isinstance(spec, str):
            self.classes[key] = resolve_class(key, spec, bases)
            return
        if not isinstance(spec, dict):
            raise fault(key, spec, f"{described(bases[0])}: class_path and init_args")
        if "class_path" in spec:
            self.classes[key] = resolve_class(f"{key}.class_path", spec["class_path"], bases)
        for name in spec:
            if name not in ("class_path", "init_args", "dict_kwargs"):
                raise self.unknown(f"{key}.{name}", [f"{key}.{n}" for n in ("class_path", "init_args", "dict_kwargs")])
        if key not in self.classes:
            raise fault(f"{key}.class_path", "missing", f"{described(bases[0])}: class_path and init_args")
        init_args = spec.get("init_args")
        if init_args is not None and not isinstance(init_args, dict):
            raise fault(f"{key}.init_args", init_args, f"a mapping of {self.classes[key].__name__}'s arguments")
        self.tree(self.class_parser(action, key), init_args or {}, prefix=f"{key}.init_args.")

    def class_parser(self, action: Any, key: str) -> DigitsParser:
        with parser_context(parent_parser=self.parser):
            return ActionTypeHint.get_class_parser(self.classes[key], sub_add_kwargs=action.sub_add_kwargs)

    def required(self) -> None:
        for key in iter_required_keys(self.parser):
            if key not in self.given:
                hint = getattr(_actions(self.parser).get(key), "_typehint", None)
                if not (bases := class_types(hint)):
                    raise fault(key, "missing", f"{described(hint)}, given with --{key}")
                names = [path.rsplit(".", 1)[-1] for base in bases for path in get_all_subclass_paths(base)]
                raise fault(
                    key,
                    "missing",
                    f"{described(bases[0])}, such as {names[-1]}; give it with --config FILE or --{key} {names[-1]}",
                )
        for key in self.classes:
            action = _actions(self.parser).get(key.split("[")[0])
            if action is None:
                continue
            for name in iter_required_keys(self.class_parser(action, key)):
                if (full := f"{key}.init_args.{name}") not in self.given:
                    raise fault(full, "missing", f"a value, which {self.classes[key].__name__} requires")

    def unknown(self, key: str, valid: list[str] | None = None) -> UserError:
        if valid is None:
            valid = [*_actions(self.parser), "config"]
            for outer in self.classes:
                action = _actions(self.parser).get(outer.split("[")[0])
                if action is not None:
                    valid += [f"{outer}.init_args.{name}" for name in _actions(self.class_parser(action, outer))]
        return UserError(f"{key}: unknown key; allowed: the nearest are {nearest(key, valid)}")


def _actions(parser: DigitsParser) -> dict[str, Any]:
    """Every key that may be given to a parser."""
    skip = ("config", "help", "print_config")
    return {
        action.dest: action
        for action in filter_non_parsing_actions(parser._actions)
        if action.dest not in skip and not isinstance(action, _ActionConfigLoad) and hasattr(action, "_typehint")
    }
