"""argparse whose complaints are one line with the nearest valid word, as everything else that a user can fix."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from teinet.errors import ConfigError, nearest


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigError where argparse would print its usage and exit."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As ArgumentParser's, but options may stand anywhere, also between the words of a list."""
        return self.parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}.{self._hint(message)} See {self.prog} --help")

    def _hint(self, message: str) -> str:
        if unknown := re.search(r"unrecognized arguments: (--[\w-]+)", message):
            return nearest(unknown[1], self._option_string_actions)
        if choice := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
            return nearest(choice[1], re.findall(r"[\w.-]+", choice[2]))
        return ""
