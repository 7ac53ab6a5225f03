"""argparse from typed dataclasses: a class declares a command's options, an instance of it holds what was typed.

Complaints are one line with the right word, as everything else that a user can fix.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from teinet.errors import ConfigError, nearest
from teinet.utils.other_words import BY_WORD

_WIDTH = 100  # columns of the help
_NAME = "\0"  # before a word that is a name although it may begin with a dash; no name has this character
_T = TypeVar("_T")

ADVANCED = "advanced"

_ADVICE = {
    "model weights checkpoint ckpt": "the weights come first, without an option: teinet {command} WEIGHTS ...",
    "source input video": "videos come without an option: teinet {command} WEIGHTS VIDEO ...",
    "cfg config recipe": "a recipe comes first, without an option: teinet {command} RECIPE ...",
    "img-size imgsz input-size resolution": "frames are scaled to the size that the weights were trained with.",
    "conf score-thr thr threshold": "all scores are given, the best ones first; a threshold belongs to teinet timeline "
    "and teinet watch.",
}
_ADVICE_BY_WORD = {word: advice for words, advice in _ADVICE.items() for word in words.split()}


def option(
    help: str, *, default: Any = None, metavar: str | None = None, group: str = "", names: Sequence[str] = ()
) -> Any:
    """Declare `--name VALUE` as a dataclass's field; a Literal gives its choices, bool a flag, a list one or more.

    The default is added to `help`, unless it is None, empty or False. `names` are used in place of the field's.
    """
    return _field(default, help=help, metavar=metavar, group=group, names=names)


def positional(help: str, *, default: Any = MISSING, metavar: str | None = None) -> Any:
    """Declare a word without an option as a dataclass's field; a list takes all words that are left."""
    return _field(default, help=help, metavar=metavar, positional=True)


def _field(default: Any, **metadata: Any) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Command:
    """A function that runs a command on an instance of `arguments`, the dataclass of its options.

    The dataclass's docstring is the help's beginning: a sentence, then examples.
    """

    run: Callable[[Any], int]
    given: type | None = None

    @property
    def arguments(self) -> type:
        """The dataclass: the one given, or the type of the function's only argument."""
        return self.given or next(iter(get_type_hints(self.run).values()))

    def parser(self, name: str) -> Parser:
        """Return the parser of the command `name`."""
        return parser_of(self.arguments, prog=f"teinet {name}")

    def parse(self, name: str, words: Sequence[str]) -> Any:
        """Return what was typed; ConfigError for a word that the command does not take."""
        try:
            return self.arguments(**vars(self.parser(name).parse_args(words)))
        except ConfigError as error:
            if "arguments are required" in str(error) and hasattr(self.arguments, "explain_missing"):
                self.arguments.explain_missing(name, words)
            raise


def parser_of(arguments: type, *, prog: str) -> Parser:
    """Return a parser whose options are the fields of a dataclass."""
    parser = Parser(prog=prog, description=class_doc(arguments))
    types_of = get_type_hints(arguments)
    words = [_usage(f, types_of[f.name]) for f in fields(arguments) if f.metadata.get("positional")]
    parser.usage = " ".join(["%(prog)s", *words, "[options]"])
    groups: dict[str, Any] = {"": parser}
    for f in fields(arguments):
        if "help" not in f.metadata:
            raise TypeError(f"{arguments.__name__}.{f.name} is declared by neither option() nor positional()")
        title = f.metadata.get("group", "")
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add(groups[title], f, types_of[f.name])
    return parser


def class_doc(arguments: type) -> str:
    """Return a class's docstring, with examples indented."""
    lines = [line.strip() for line in (arguments.__doc__ or "").strip().splitlines()]
    return "\n".join(f"  {line}" if line.startswith("teinet ") else line for line in lines)


def _usage(f: Any, kind: Any) -> str:
    word = f.metadata["metavar"] or f.name.upper()
    word += " ..." if _plain(kind)[1] else ""
    return word if f.default is MISSING and f.default_factory is MISSING else f"[{word}]"


def _add(group: Any, f: Any, kind: Any) -> None:
    default = f.default if f.default_factory is MISSING else f.default_factory()
    required = default is MISSING
    kind, many, choices = _plain(kind)
    text = f.metadata["help"].replace("%", "%%")
    if not required and default not in (None, "", False, []) and "default" not in text:
        text += f" (default: {' '.join(map(str, default)) if many else default})"
    how: dict[str, Any] = {"help": text}
    if kind is not bool:
        how |= {"metavar": f.metadata.get("metavar"), "type": kind, "choices": choices}
    if how.get("metavar") == "true|false":  # of a recipe: the option alone means true
        how |= {"nargs": "?", "const": "true"}
    if f.metadata.get("positional"):
        names = [f.name]
        how["metavar"] = how["metavar"] or f.name.upper()
        if many:
            how["nargs"] = "+" if required else "*"
        elif not required:
            how["nargs"] = "?"
    else:
        names = f.metadata["names"] or [f"--{f.name.replace('_', '-')}"]
        how |= {"dest": f.name, "required": required}
        how["action"] = "store_true" if kind is bool else "append" if many else "store"
        if choices is None and kind is not bool:
            how["metavar"] = how["metavar"] or {int: "N", float: "X"}.get(kind, "TEXT")
    if not required:
        how["default"] = default if not many or f.metadata.get("positional") else None
    group.add_argument(*names, **how)


def _plain(kind: Any) -> tuple[type, bool, tuple[str, ...] | None]:
    """Return the type of a value, whether there may be several, and its choices."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is list:
        return (*_plain(get_args(kind)[0])[:1], True, None)
    if get_origin(kind) is Literal:
        return str, False, get_args(kind)
    return kind, False, None


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28, width=min(_WIDTH, shutil.get_terminal_size().columns))


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigError where argparse would print its usage and exit."""

    def __init__(self, **how: Any):
        super().__init__(**{"formatter_class": _Help, "allow_abbrev": False, **how})

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Parse as ArgumentParser, but with options in any place, also between the words of a list.

        What follows `--` is a name. Versions of argparse disagree about that, so it is marked before they see it.
        """
        words = list(args or ())
        end = words.index("--") if "--" in words else len(words)
        for word in words[:end]:
            self._refuse_assignment(word)
        found = self.parse_intermixed_args([*words[:end], *(_NAME + word for word in words[end + 1 :])], namespace)
        for name, value in vars(found).items():
            if isinstance(value, str):
                setattr(found, name, value.removeprefix(_NAME))
            elif isinstance(value, list):
                setattr(found, name, [word.removeprefix(_NAME) if isinstance(word, str) else word for word in value])
        return found

    def error(self, message: str) -> NoReturn:
        message = message.replace(_NAME, "").replace(repr(_NAME)[1:-1], "")
        raise ConfigError(f"{message}.{self._hint(message)} See {self.prog} --help")

    def knows(self, option: str) -> bool:
        """Return whether the command has an option, without its dashes."""
        return f"--{option}" in self._option_string_actions

    def other_word(self, word: str) -> str:
        """Return a sentence with our word for an option of other tools, or an empty string."""
        word = word.lstrip("-").lower().replace("_", "-")
        for ours in (word, *BY_WORD.get(word, ())):
            if self.knows(ours.partition(" ")[0]):
                return f" Here it is --{ours}."
        if word in _ADVICE_BY_WORD:
            advice = _ADVICE_BY_WORD[word].format(command=self.prog.partition(" ")[2])
            return f" {advice[0].upper()}{advice[1:]}"
        return ""

    def _refuse_assignment(self, word: str) -> None:
        """Raise ConfigError at `epochs=10`, as other tools write an option, unless it is a file or a named source."""
        name, equals, value = word.partition("=")
        if not equals or word.startswith("-") or os.path.exists(word):
            return
        for ours in (name, name.replace("_", "-"), *(each.partition(" ")[0] for each in BY_WORD.get(name, ()))):
            if self.knows(ours):
                raise ConfigError(f"{word!r}: options begin with two dashes: --{ours} {value}")
        if name in BY_WORD or name in _ADVICE_BY_WORD:
            raise ConfigError(f"{word!r} is not an option.{self.other_word(name)} See {self.prog} --help")

    def _hint_of(self, unknown: str) -> str:
        """Return a sentence with our word for an unknown option, or an empty string."""
        known = [option[2:] for option in self._option_string_actions if option.startswith("--")]
        inside = [option for option in known if option.endswith(f".{unknown.replace('-', '_')}")]
        near = f" Did you mean '{inside[0]}'?" if inside else nearest(unknown, known, cutoff=0.75)
        return self.other_word(unknown) or near.replace("'", "'--", 1)

    def _hint(self, message: str) -> str:
        if unknown := re.search(r"unrecognized arguments: (--.*)", message):
            words = re.findall(r"(?<!\S)--([\w.-]+)", unknown[1])
            hints = {word: hint for word in words if (hint := self._hint_of(word))}
            return "".join(hint if len(words) == 1 else f" --{word}:{hint}" for word, hint in hints.items())
        if choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            return nearest(choice[1], re.findall(r"[\w.-]+", choice[2]), cutoff=0.75)
        return ""
