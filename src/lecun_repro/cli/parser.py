"""The parser's errors as one line: the full dotted key, what was given, what is allowed.

jsonargparse knows all three where it refuses a value, and says them in its own types, a class's arguments apart from
the class's key. `DigitsParser` notes what is checked, and puts the parts together. What only shows when objects are
built is found beforehand in `checks`.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from jsonargparse import Namespace, set_parsing_settings
from jsonargparse._actions import filter_non_parsing_actions
from jsonargparse._typehints import ActionTypeHint, get_all_subclass_paths, resolve_class_path_by_name
from jsonargparse._util import import_object
from lightning.pytorch.cli import LightningArgumentParser
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

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


class DigitsParser(LightningArgumentParser):
    """A parser that raises one line instead of printing its usage, and takes no abbreviated flags."""

    checked: tuple[str, Any, Any] = ("", None, None)  # key, value and type; here of the last key of the command line
    in_class: BadArgument | None = None  # what the parser of a class's arguments refused in it
    kind: type | None = None  # whose arguments this parses

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_class_arguments(self, theclass: type, nested_key: str | None = None, *args: Any, **kwargs: Any) -> Any:
        self.kind = theclass if nested_key is None else None
        return super().add_class_arguments(theclass, nested_key, *args, **kwargs)

    def _add_signature_parameter(self, container: Any, key: Any, param: Any, *args: Any, **kw: Any) -> None:  # type: ignore[override]
        """jsonargparse's. A schedule in the arguments of another waits for the optimizer, as that one does."""
        if isinstance(param.parent, type) and issubclass(param.parent, LRScheduler):
            param.annotation = awaiting_optimizer(param.annotation)
        super()._add_signature_parameter(container, key, param, *args, **kw)

    def _dump_delete_default_entries(self, subcfg: dict[str, Any], subdefaults: dict[str, Any]) -> None:
        """For `--print_config=skip_default`. jsonargparse's leaves out whole classes with their default arguments."""
        for key, value in list(subcfg.items()):
            default = subdefaults.get(key)
            if value == default and key in subdefaults:
                del subcfg[key]
            elif isinstance(value, dict) and "class_path" in value:
                of_class = ActionTypeHint.get_class_parser(value["class_path"]).get_defaults().as_dict()
                self._dump_delete_default_entries(arguments := value.pop("init_args", {}), of_class)
                subcfg[key] = value | ({"init_args": arguments} if arguments else {})
            elif isinstance(value, dict) and isinstance(default, dict):
                self._dump_delete_default_entries(value, default)

    def _get_values(self, action: Any, arg_strings: list[str]) -> Any:
        """argparse's, of a flag."""
        value = super()._get_values(action, arg_strings)
        self._note(action, value)
        return value

    def _check_value_key(self, action: Any, value: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        """jsonargparse's, of a key in a file, and of all keys in the end."""
        self._note(action, value)
        return super()._check_value_key(action, value, key, *args, **kwargs)

    def _note(self, action: Any, value: Any) -> None:
        if hasattr(action, "_typehint") and self.exit_on_error:
            DigitsParser.checked, DigitsParser.in_class = (action.dest, value, action._typehint), None
        elif hasattr(action, "_typehint"):  # in the parser of a class's arguments
            self.checked = (action.dest, value, action._typehint)

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """The configuration as text, with one spelling of each class; what was parsed is not checked once more."""
        spell_once(namespace := namespace.clone())
        return super().dump(namespace, *args, **{"skip_validation": True} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        problem = self._problem(one_line(message), getattr(ex, "subcommand_parser", self))
        if self.exit_on_error:
            raise UserError(problem or one_line(message)[:300]) from ex  # a ValueError would be caught on the way
        DigitsParser.in_class = problem
        raise TypeError(message) from ex  # the key's type may allow something else

    def _problem(self, message: str, parser: "DigitsParser") -> BadArgument | None:
        """What jsonargparse says of a key of `parser`; None for words that are not known here."""
        prefix = "" if self.exit_on_error else f"{DigitsParser.checked[0]}.init_args."
        if match := re.match("""Parser key "(\\w+)": Unable to load config '(.*?)'""", message):
            return BadArgument(match[1], match[2], f"a YAML file of its keys, or one as --{match[1]}.KEY VALUE")
        if message.startswith('Parser key "'):
            return self._refused(prefix)
        if match := re.match("the following arguments are required: ([^,]+)", message):
            return self._missing(prefix, match[1])
        if match := re.match(r"argument (?:\S*/)?--(\S+): expected one argument", message):
            if match[1] == "config":
                return BadArgument("config", "no file", "a YAML file such as configs/quickstart.yaml")
            flag, hints = self._without_value(match[1]), self.typed()
            allowed = described(hints[flag]) if flag in hints else f"one, as in --{flag} VALUE"  # of a class
            return BadArgument(flag, "no value", allowed)
        if match := re.match('Linked "(.*)" must be given via "(.*)"', message):
            return BadArgument(match[1], "given by itself", f"{match[2]} in its place")
        if match := re.match("unrecognized arguments: ([^-].*)", message):
            file = match[1] if match[1].endswith((".yaml", ".yml")) else "FILE"
            return BadArgument("command line", match[1], f"flags, each as --key value, such as --config {file}")
        unknown = r"unrecognized arguments: -+([^=\s]*)|.*[Oo]ption '(.*)'|Key must be a string, got: (.*)\.$"
        if match := re.match(unknown, message):
            name = match[match.lastindex or 0]
            if prefix and self.kind in class_types(DigitsParser.checked[2]):
                key = DigitsParser.checked[0]
                return BadArgument(f"{key}.{name}", "no class given before", f"--{key} and a class, then its arguments")
            return unknown_key(prefix + name, [prefix + key for key in parser.valid_keys()])
        return None

    def _without_value(self, key: str) -> str:
        """The flag of `key`, or of an argument of the class there, that nothing but another flag or the end follows."""
        for arg, following in zip(self.args, [*self.args[1:], "--"], strict=True):
            if f"{arg}.".startswith(f"--{key}.") and following.startswith("-"):
                return arg.lstrip("-")
        return key

    def _refused(self, prefix: str) -> BadArgument:
        """What is wrong with the value that was checked last, or with an argument of the class in it."""
        key, value, hint = self.checked
        if (source := LINKED.get(key, key)) == "seed_everything":
            return BadArgument(source, value, SEEDS)
        if bases := class_types(hint):
            if isinstance(value, str) and self.in_class:
                return self.in_class  # of a flag such as --optimizer.lr
            if isinstance(value, str) and value.lstrip().startswith("{"):
                value = load_config(value)
            if f"--{key}.class_path={value}" in self.args:
                value = {"class_path": value}
            if problem := class_problem(key, value, bases) or self.in_class:
                return problem
        return BadArgument(prefix + key, value, described(hint))

    def _missing(self, prefix: str, key: str) -> BadArgument:
        if self.kind is not None:
            return BadArgument(prefix + key, "missing", f"a value, which {self.kind.__name__} requires")
        subcommand, _, rest = key.partition(".")
        if self._subcommands_action and subcommand in self._subcommands_action._name_parser_map:
            return self._subcommands_action._name_parser_map[subcommand]._missing(prefix, rest)
        hint = self.typed()[key]
        if not (bases := class_types(hint)):
            told = next(action.help for action in self._actions if action.dest == key) or ""
            return BadArgument(key, "missing", f"--{key} VALUE ({one_line(told).split('. ')[0].removesuffix('.')})")
        name = known_classes(bases)[0]
        allowed = f"{described(bases[0])}, such as {name}; give it with --config FILE or --{key} {name}"
        return BadArgument(key, "missing", allowed)

    def typed(self) -> dict[str, Any]:
        """The type of every key that may be given to this parser."""
        actions = filter_non_parsing_actions(self._actions)
        return {action.dest: action._typehint for action in actions if hasattr(action, "_typehint")}

    def valid_keys(self) -> list[str]:
        """Every key that may be given to this parser, and to our networks and heads."""
        keys = dict.fromkeys(typed := self.typed())
        for key in ("model.network", "model.head"):
            for base in _of_this_field(class_types(typed.get(key))):
                subclasses: list[type] = base.__subclasses__()
                for kind in subclasses:
                    keys |= dict.fromkeys(f"{key}.init_args.{name}" for name in inspect.signature(kind).parameters)
        return list(keys)


def awaiting_optimizer(hint: Any) -> Any:
    """Schedules, as `SequentialLR` takes them, as what makes them of an optimizer; any other type as it is."""
    if get_origin(hint) in (list, Sequence) and LRScheduler in get_args(hint):
        return list[Callable[[Optimizer], LRScheduler]]  # type: ignore[return-value]
    return hint


def with_optimizer(kind: Any, optimizer: Optimizer, **kwargs: Any) -> Any:
    """A schedule of a class, of which those in the arguments are made of its own optimizer."""
    try:
        hints = get_type_hints(kind.__init__)
    except NameError:  # of names that are imported for type checkers alone: jsonargparse has then made no list of them
        hints = {}
    for name, hint in hints.items():
        if name in kwargs and awaiting_optimizer(hint) is not hint:
            kwargs[name] = [make(optimizer) for make in kwargs[name]]
    return kind(optimizer=optimizer, **kwargs)


def unknown_key(key: str, keys: Sequence[str]) -> BadArgument:
    nearest = difflib.get_close_matches(key, keys, n=3, cutoff=0)
    return BadArgument(key, "unknown key", f"keys such as {', '.join(nearest)}")


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


def class_problem(key: str, value: Any, bases: list[type]) -> BadArgument | None:
    """What is wrong with a value that stands for an instance of one of `bases`, apart from its arguments."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, str):
        return BadArgument(key, value, problem) if (problem := not_class(value, bases)) else None
    if isinstance(value, list):
        problems = (class_problem(f"{key}[{n}]", item, bases) for n, item in enumerate(value) if isinstance(item, dict))
        return next(filter(None, problems), None)
    if not isinstance(value, dict):
        return None
    if unknown := [name for name in value if name not in OF_A_CLASS]:
        return unknown_key(f"{key}.{unknown[0]}", [f"{key}.{name}" for name in OF_A_CLASS])
    name, init_args = value.get("class_path"), value.get("init_args")
    if "class_path" in value and (problem := not_class(name, bases)):
        return BadArgument(f"{key}.class_path", name, problem)
    if not isinstance(init_args, dict | None):
        return BadArgument(f"{key}.init_args", init_args, f"a mapping of {name}'s arguments")
    return None


def not_class(name: Any, bases: list[type]) -> str:
    """Why a `class_path` or short name is no subclass of one of `bases`, if so; it is imported, never called."""
    try:
        kind = import_object(resolve_class_path_by_name(tuple(bases), name))  # type: ignore[arg-type]
        if issubclass(kind, tuple(bases)) and kind not in bases:
            return ""
    except Exception as error:
        module = str(name).rpartition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        if module and not missing and not isinstance(error, AttributeError | TypeError):
            return f"a class whose module can be imported ({type(error).__name__}: {one_line(str(error))[:200]})"
        if missing and isinstance(error, ModuleNotFoundError):
            return f"{subclass_of(bases, name)}; there is no module {error.name} here"
    return subclass_of(bases, name)


def subclass_of(bases: list[type], name: Any) -> str:
    """In words what a class has to be, with those that are most like `name`."""
    names = known_classes(bases)
    likely = difflib.get_close_matches(str(name).rsplit(".", 1)[-1], names, n=3) or names[:12]
    return f"a subclass of {' or '.join(base.__name__ for base in bases)}, such as {', '.join(likely)}"


def known_classes(bases: list[type]) -> list[str]:
    """The short names of all subclasses that are imported."""
    bases = _of_this_field(bases)
    names = dict.fromkeys(path.rpartition(".")[2] for base in bases for path in get_all_subclass_paths(base))
    return [name for name in names if name not in {base.__name__ for base in bases}]


def _of_this_field(bases: list[type]) -> list[type]:
    """Those of the bases whose subclasses are worth naming: all of torch's modules are too many."""
    return [base for base in bases if base is not nn.Module]


def check_sections(tree: dict[str, Any]) -> None:
    """Refuses what jsonargparse would take of a configuration file and then not use.

    Raises:
        UserError: a section that is no mapping, or a key that another one sets.
    """
    for section in ("trainer", "model", "data"):
        if section in tree and not isinstance(tree[section], dict):
            raise BadArgument(section, tree[section], "a mapping of its keys to values")
    for key, source in LINKED.items():
        section, name = key.split(".")
        if name in tree.get(section, {}):
            raise BadArgument(key, tree[section][name], f"{source} in its place")


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
