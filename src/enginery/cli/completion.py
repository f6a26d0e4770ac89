"""Completion in shells: the scripts for them, and the words that they ask for.

A script asks `enginery complete -- WORDS…`, of which the last is the one to be completed, and gets
one candidate on a line. Engine ids and labels come from the cluster that the words name; bash puts
a candidate into the command line as it is, so that nothing is one that a shell might act upon.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..core.messages import Query
from ..error import EngineryError
from . import filters
from .command_line import (
    CALLS,
    COMMON,
    ENGINES,
    LOGS,
    SELECTORS,
    SOME_SELECTORS,
    Command,
    Option,
)
from .output import FORMS, Answer
from .reach import LOOK, Where, reached

PATIENCE = 1.0
"""Seconds that a cluster has to say what there is."""

SAFE = re.compile(r"[\w.,:=+/@-]+")
"""Candidates: words in which no shell sees anything but letters."""

SCRIPTS = {
    "bash": """\
# enginery completion bash: put this line into ~/.bashrc
#   eval "$(enginery completion bash)"
_enginery() {
    local found
    found=$("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    COMPREPLY=()
    [ -z "$found" ] || mapfile -t COMPREPLY <<<"$found"
}
complete -F _enginery enginery
""",
    "zsh": """\
# enginery completion zsh: put this line into ~/.zshrc, behind compinit
#   eval "$(enginery completion zsh)"
_enginery() {
    local -a found
    found=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -z "$found" ]] || compadd -a -- found
}
compdef _enginery enginery
""",
    "fish": """\
# enginery completion fish: put it where fish looks
#   enginery completion fish > ~/.config/fish/completions/enginery.fish
function __enginery_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] complete -- $words[2..-1] 2>/dev/null
end
complete -c enginery -f -a '(__enginery_complete)'
""",
}

SUBCOMMANDS = {"cluster": ("start", "stop", "engines", "list", "clean")}
"""Commands of commands that are not made here."""

WORDS = {
    "-o": FORMS,
    "--output": FORMS,
    "--state": (*filters.WORDS, "busy", "idle"),
}
"""What may stand behind options, as far as that is always the same."""


def script(shell: str) -> Answer:
    """The script for a shell."""
    text = SCRIPTS[shell]
    return Answer({"shell": shell, "script": text}, [shell], lambda screen: text.rstrip("\n"))


def candidates(
    words: Sequence[str], commands: Mapping[str, Command], others: Iterable[str]
) -> list[str]:
    """What the last of these words may become; the first is the command.

    `others` are commands that are not completed further.
    """
    before, word = list(words[:-1]), words[-1] if words else ""
    if not before:
        return _fitting(word, [*others, *commands])
    name, *before = before
    command = commands.get(name)
    if command is None:
        return _fitting(word, SUBCOMMANDS.get(name, ()) if not before else ())
    if word == "=":  # bash takes "=" for a word of its own
        before, word = [*before, "="], ""
    options = {n: option for option in (*command.options, *COMMON) for n in option.names.split()}
    there = _There(before)
    option = before[-2] if before[-1:] == ["="] else (before or [""])[-1]
    if (known := options.get(option)) is not None and known.value:
        return _in_list(word, there.values(option))
    if word.startswith("--") and "=" in word:
        option, _, value = word.partition("=")
        return [f"{option}={each}" for each in _in_list(value, there.values(option))]
    if word.startswith("-"):
        return _fitting(word, _names(command))
    return _in_list(word, there.arguments(command))


def _names(command: Command) -> Iterator[str]:
    def long(option: Option) -> str:
        return option.names.split()[-1]

    return map(long, (*command.options, *COMMON))


def _fitting(word: str, words: Iterable[str]) -> list[str]:
    return sorted({each for each in words if each.startswith(word) and SAFE.fullmatch(each)})


def _in_list(word: str, words: Iterable[str]) -> list[str]:
    """The same for the last of several words with commas between them."""
    head, comma, last = word.rpartition(",")
    return [f"{head}{comma}{each}" for each in _fitting(last, words)]


class _There:
    """What there is in the cluster that the words before name; nothing, if it does not answer."""

    def __init__(self, before: Sequence[str]) -> None:
        self._before = before

    def values(self, option: str) -> Iterable[str]:
        """What may stand behind this option."""
        match option:
            case "--engine":
                return self._engines()
            case "--label":
                return self._names("label")
            case "--function":
                return map(filters.inner_name, self._names("name"))
            case "--profile":
                return _profiles()
            case _:
                return WORDS.get(option, ())

    def arguments(self, command: Command) -> Iterable[str]:
        """What may stand beside options."""
        arguments = command.arguments
        if arguments is None:
            return ()
        if arguments.choices:
            return () if set(arguments.choices) & set(self._before) else arguments.choices
        if arguments in (SELECTORS, SOME_SELECTORS, CALLS):
            return ["last", "all", *self._names("label")]
        if arguments == LOGS:
            return ["controller", *self._engines()]
        return self._engines() if arguments == ENGINES else ()

    def _engines(self) -> list[str]:
        return [str(engine["id"]) for engine in self._ask(Query(0, "engines"))]

    def _names(self, key: str) -> list[str]:
        return [name for name in self._ask(Query(0, "names", keys=[key])) if name]

    def _ask(self, query: Query) -> Any:
        with contextlib.suppress(EngineryError, OSError), reached(self._where(), LOOK, "") as there:
            return there.link.ask(query, PATIENCE)
        return []

    def _where(self) -> Where:
        return Where(
            self._given("--profile"),
            self._given("--profile-dir"),
            self._given("--cluster-id"),
            PATIENCE,
        )

    def _given(self, option: str) -> str:
        """The value of an option that stands before, in any of the ways to write it."""
        words = [word for word in self._before if word != "="]
        for i, word in enumerate(words):
            if word == option and i + 1 < len(words):
                return words[i + 1]
            if word.startswith(f"{option}="):
                return word.partition("=")[2]
        return ""


def _profiles() -> list[str]:
    from ..net.profile import ipython_dir

    return [path.name.removeprefix("profile_") for path in ipython_dir().glob("profile_*")]
