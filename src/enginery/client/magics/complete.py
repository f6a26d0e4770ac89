"""Tab completion after `%px` and its kin: options, and what may stand after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from ..results import AsyncResult

if TYPE_CHECKING:
    from .options import Parser
    from .parallel import ParallelMagics

PRIORITY = 200
"""Above IPython's own, which know nothing of our options."""


class Completion:
    """Completes the options of these magics, which are known by their suffix."""

    def __init__(self, shell: Any, magics: Mapping[str, ParallelMagics]) -> None:
        self._shell, self._magics = shell, magics

    def install(self) -> None:
        """Have IPython ask here, for the terminal and for notebooks."""

        def complete(context: Any) -> dict[str, Any]:
            words = self.matches(context.text_until_cursor)
            fitting = [SimpleCompletion(w) for w in words if w.startswith(context.token)]
            return {"completions": fitting, "suppress": bool(fitting), "ordered": True}

        matcher = context_matcher(priority=PRIORITY, identifier="enginery.magics")(complete)
        self._shell.Completer.custom_matchers.append(matcher)

    def matches(self, line: str) -> list[str]:
        """What may stand instead of the last word of a line; nothing where that is code."""
        magic, *words = line.split() or [""]
        if line[-1:].isspace():
            words.append("")
        for magics in self._magics.values():
            for parser in magics.parsers.values():
                if parser.magic == magic and words:
                    return self._options(parser, magics, words)
        return []

    def _options(self, parser: Parser, magics: ParallelMagics, words: list[str]) -> list[str]:
        *before, word = words
        option, equals, _ = word.partition("=")
        if equals:  # which parts words for IPython, too
            before.append(option)
        valued = ""  # an option whose value comes now
        for each in before:
            if valued:
                valued = ""
            elif not each.startswith("-"):
                return []
            elif parser.takes_value(each):
                valued = each
        if valued:
            return self._values(parser, valued, magics)
        if not word.startswith("-"):
            return []
        return parser.names

    def _values(self, parser: Parser, option: str, magics: ParallelMagics) -> list[str]:
        if option in {"-t", "--targets"}:
            return ["all", *map(str, magics.engines)]
        if option in {"-o", "--out"}:
            names = self._shell.user_ns
            return [n for n, v in list(names.items()) if isinstance(v, AsyncResult) and n[0] != "_"]
        return parser.values(option)
