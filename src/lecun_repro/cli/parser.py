"""Errors a user can put right, as one line: the full dotted key, what was given, what is allowed.

`DigitsParser` leaves the parsing to jsonargparse. Where that fails, `explain` goes over the same inputs once more and
finds the first that is at fault, because jsonargparse's own messages name neither the whole key nor what is allowed.
What only shows when objects are built is found beforehand in `checks`.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, get_args

import yaml
from jsonargparse import Namespace, set_parsing_settings
from jsonargparse._actions import _ActionConfigLoad, filter_non_parsing_actions
from jsonargparse._common import parser_context
from jsonargparse._required import iter_required_keys
from jsonargparse._typehints import ActionTypeHint, get_all_subclass_paths, resolve_class_path_by_name
from jsonargparse._util import import_object
from lightning.pytorch.cli import LightningArgumentParser

from lecun_repro.cli.config_files import _Loader, load_config
from lecun_repro.cli.hints import class_types, described, takes_list
from lecun_repro.errors import UserError, fault, one_line
from lecun_repro.runs.identity import one_spelling

set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning lets a configuration come from a URL
SEEDS = "an integer from 0 to 4294967295"


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

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """The configuration as text, with one spelling of each class."""
        spell_once(namespace := namespace.clone())
        return super().dump(namespace, *args, **kwargs)


def spell_once(value: Any) -> None:
    """Gives each class in a configuration the one path that `one_spelling` tells."""
    if isinstance(value, Namespace):
        for name, item in vars(value).items():
            if name == "class_path":
                value.class_path = one_spelling(item)
            spell_once(item)
    elif isinstance(value, list):
        for item in value:
            spell_once(item)


def nearest(name: str, names: Sequence[str]) -> str:
    """The valid names that are most like `name`, by the whole of it or by its last part."""

    def likeness(valid: str) -> float:
        whole = difflib.SequenceMatcher(None, name, valid).ratio()
        last = difflib.SequenceMatcher(None, name.rsplit(".", 1)[-1], valid.rsplit(".", 1)[-1]).ratio()
        return max(whole, 0.9 * last) + 0.1 * last

    return ", ".join(sorted(names, key=likeness, reverse=True)[:3])


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
    named = flags(args, lambda name: name != "--print_config")
    return [value for name, value in named if name in ("--config", "-c") and value is not None]


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
