"""The parser's errors as one line: the full dotted key, what was given, what is allowed.

jsonargparse knows all three where it refuses a value, and says them in types and in the parser of each class apart.
`DigitsParser` notes what is being checked, and puts the parts together. What only shows when objects are built is found
beforehand in `checks`.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from jsonargparse import Namespace, set_parsing_settings
from jsonargparse._actions import filter_non_parsing_actions
from jsonargparse._typehints import get_all_subclass_paths, resolve_class_path_by_name
from jsonargparse._util import import_object
from lightning.pytorch.cli import LightningArgumentParser

from lecun_repro.cli.config_files import load_config
from lecun_repro.cli.hints import class_types, described
from lecun_repro.errors import BadArgument, UserError, one_line
from lecun_repro.runs.identity import one_spelling

set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning lets a configuration come from a URL

# Arguments that come from another key alone.
LINKED = {
    "model.optimizer": "optimizer",
    "model.lr_scheduler": "lr_scheduler",
    "model.seed": "seed_everything",
    "data.seed": "seed_everything",
}
SEEDS = "an integer from 0 to 4294967295"
OF_A_CLASS = ("class_path", "init_args", "dict_kwargs")
A_FILE = "a YAML file such as configs/quickstart.yaml"


class Problem(NamedTuple):
    """What a parser refuses; that of a class's arguments knows neither the class's own key nor what is around it."""

    name: str
    given: Any
    allowed: str | list[str]  # in words, or the keys there are, of which the nearest are told
    kind: type | None = None  # the class whose argument it is

    def below(self, key: str) -> "Problem":
        """The same, told by the parser that `key` belongs to."""
        allowed = self.allowed if isinstance(self.allowed, str) else [f"{key}.{name}" for name in self.allowed]
        return Problem(f"{key}.{self.name}", self.given, allowed)

    def error(self) -> BadArgument:
        nearest_of = isinstance(self.allowed, list)
        words = f"the nearest are {nearest(self.name, self.allowed)}" if nearest_of else self.allowed
        return BadArgument(self.name, self.given, words)  # type: ignore[arg-type]


class Checked(NamedTuple):
    """A value that is being checked."""

    key: str
    value: Any
    hint: Any


class DigitsParser(LightningArgumentParser):
    """A parser that raises one line instead of printing its usage, and takes no abbreviated flags."""

    checked = Checked("", None, None)  # of the command line's parsers the last value of any
    of_class: Problem | None = None  # what the parser of a class's arguments refused in it
    kind: type | None = None  # whose arguments this parses

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_class_arguments(self, theclass: type, nested_key: str | None = None, *args: Any, **kwargs: Any) -> Any:
        self.kind = theclass if nested_key is None else None
        return super().add_class_arguments(theclass, nested_key, *args, **kwargs)

    def _get_values(self, action: Any, arg_strings: list[str]) -> Any:
        """argparse's, of a flag."""
        value = super()._get_values(action, arg_strings)
        self._note(action, action.dest, value)
        return value

    def _check_value_key(self, action: Any, value: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        """jsonargparse's, of a key in a file, and of all in the end."""
        self._note(action, key, value)
        return super()._check_value_key(action, value, key, *args, **kwargs)

    def _note(self, action: Any, key: str, value: Any) -> None:
        if hasattr(action, "_typehint"):
            checked = Checked(key, value, action._typehint)
            if self.exit_on_error:
                DigitsParser.checked, DigitsParser.of_class = checked, None
            else:
                self.checked = checked

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """The configuration as text, with one spelling of each class."""
        spell_once(namespace := namespace.clone())
        return super().dump(namespace, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        problem = self._problem(one_line(message), getattr(ex, "subcommand_parser", self))
        if self.exit_on_error:
            raise (problem.error() if problem else UserError(one_line(message)[:300])) from ex
        DigitsParser.of_class = problem
        raise TypeError(message) from ex  # the type may allow something else

    def _problem(self, message: str, parser: "DigitsParser") -> Problem | None:
        """What is wrong with a key of `parser`, from jsonargparse's words; None if they are others."""
        if message.startswith('Parser key "'):
            return self._refused()
        if match := re.match(r"argument (?:\S*/)?(--\S+): expected one argument", message):
            action = self._option_string_actions[match[1]]
            if action.dest == "config":
                return Problem("config", "no file", A_FILE)
            return Problem(action.dest, "no value", described(getattr(action, "_typehint", str)))
        if match := re.match("the following arguments are required: ([^,]+)", message):
            return self._missing(match[1])
        if match := re.match('Linked "(.*)" must be given via "(.*)"', message):
            return Problem(match[1], "given by itself", f"only through {match[2]}")
        if match := re.match("unrecognized arguments: ([^-].*)", message):
            return Problem("command line", match[1], "flags, each as --key value or --key=value")
        unknown = r"unrecognized arguments: -+([^=\s]*)|.*[Oo]ption '(.*)'|Key must be a string, got: (.*)\.$"
        if match := re.match(unknown, message):
            return Problem(match[match.lastindex or 0], "unknown key", parser.keys(), self.kind)
        return None

    def _refused(self) -> Problem:
        """What is wrong with the value that was checked last, or with an argument of the class in it."""
        key, value, hint = self.checked
        if key in LINKED:
            return Problem(LINKED[key], value, SEEDS)
        bases, inner = class_types(hint), self.of_class
        if isinstance(value, str) and value.lstrip().startswith("{"):
            value = load_config(value)
        of_flag = isinstance(value, str) and inner is not None  # the flag of an argument, whose value this is
        if bases and not of_flag and (problem := class_problem(key, value, bases)):
            by_itself = f"--{key}.class_path={value}" in self.args
            return problem._replace(name=f"{key}.class_path") if by_itself else problem
        if bases and inner is not None:
            if inner.kind in bases:
                allowed = f"--{key} and a class, then its arguments"
                return Problem(f"{key}.{inner.name}", "no class given before", allowed)
            return inner.below(f"{key}.init_args")
        return Problem(key, value, described(hint))

    def _missing(self, key: str) -> Problem:
        """A key that has to be given."""
        if self.kind is not None:
            return Problem(key, "missing", f"a value, which {self.kind.__name__} requires")
        subcommand, _, rest = key.partition(".")
        if self._subcommands_action and subcommand in self._subcommands_action._name_parser_map:
            return self._subcommands_action._name_parser_map[subcommand]._missing(rest)
        hint = self.typed()[key]
        if not (bases := class_types(hint)):
            return Problem(key, "missing", f"{described(hint)}, given with --{key}")
        name = known_classes(bases)[-1]
        return Problem(
            key, "missing", f"{described(bases[0])}, such as {name}; give it with --config FILE or --{key} {name}"
        )

    def typed(self) -> dict[str, Any]:
        """The type of every key that may be given to this parser."""
        actions = filter_non_parsing_actions(self._actions)
        return {action.dest: action._typehint for action in actions if hasattr(action, "_typehint")}

    def keys(self) -> list[str]:
        """Every key that may be given to this parser, and to our networks and heads."""
        typed = self.typed()
        names = list(typed)
        for key, hint in typed.items():
            for base in class_types(hint):
                subclasses: list[type] = base.__subclasses__()
                for kind in subclasses:
                    if kind.__module__.startswith("lecun_repro."):
                        names += [f"{key}.init_args.{name}" for name in inspect.signature(kind).parameters]
        return names


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


def class_problem(key: str, value: Any, bases: list[type]) -> Problem | None:
    """What is wrong with a value that stands for an instance of one of `bases`, apart from its arguments."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, str):
        return None if is_class(value, bases) else Problem(key, value, subclass_of(bases, value))
    if isinstance(value, list):
        problems = (class_problem(f"{key}[{n}]", item, bases) for n, item in enumerate(value) if isinstance(item, dict))
        return next(filter(None, problems), None)
    if not isinstance(value, dict):
        return None
    if unknown := [name for name in value if name not in OF_A_CLASS]:
        return Problem(f"{key}.{unknown[0]}", "unknown key", [f"{key}.{name}" for name in OF_A_CLASS])
    name, init_args = value.get("class_path"), value.get("init_args")
    if "class_path" in value and not is_class(name, bases):
        return Problem(f"{key}.class_path", name, subclass_of(bases, name))
    if not isinstance(init_args, dict | None):
        return Problem(f"{key}.init_args", init_args, f"a mapping of {name}'s arguments")
    return None


def is_class(name: Any, bases: list[type]) -> bool:
    """Whether a `class_path` or short name stands for a subclass of one of `bases`; it is imported and never called."""
    try:
        kind = import_object(resolve_class_path_by_name(tuple(bases), name))  # type: ignore[arg-type]
        return issubclass(kind, tuple(bases)) and kind not in bases
    except Exception:
        return False


def subclass_of(bases: list[type], name: Any) -> str:
    """In words what a class has to be, with those that are most like `name`."""
    names = known_classes(bases)
    likely = difflib.get_close_matches(str(name).rsplit(".", 1)[-1], names, n=3) or names[:12]
    return f"a subclass of {' or '.join(base.__name__ for base in bases)}, such as {', '.join(likely)}"


def known_classes(bases: list[type]) -> list[str]:
    """The short names of all subclasses that are imported."""
    names = dict.fromkeys(path.rpartition(".")[2] for base in bases for path in get_all_subclass_paths(base))
    return [name for name in names if name not in {base.__name__ for base in bases}]


def nearest(name: str, names: Sequence[str]) -> str:
    """The valid names that are most like `name`, by the whole of it or by its last part."""

    def likeness(valid: str) -> float:
        whole = difflib.SequenceMatcher(None, name, valid).ratio()
        last = difflib.SequenceMatcher(None, name.rsplit(".", 1)[-1], valid.rsplit(".", 1)[-1]).ratio()
        return max(whole, 0.9 * last) + 0.1 * last

    return ", ".join(sorted(names, key=likeness, reverse=True)[:3])


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
