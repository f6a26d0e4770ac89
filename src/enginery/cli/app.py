"""The base of the traitlets applications: options, profile, configuration file, help.

Options are one table per command. A configuration file is read from the profile's directory and
from nowhere else, least of all from the current directory. The command line wins over the file,
the file over the defaults.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, ClassVar, NamedTuple, NoReturn

from traitlets import Bool, CaselessStrEnum, Enum, TraitError, Unicode
from traitlets.config import Application, Config, Configurable
from traitlets.config.loader import (
    ArgumentError,
    ConfigFileNotFound,
    KVArgParseConfigLoader,
    PyFileConfigLoader,
)

from ..cluster.places import open_profile
from ..net.profile import Profile
from ..version import __version__
from .entry import UsageError


class Option(NamedTuple):
    """One option: its names (separated by blanks), its trait, its value's name ("": a switch)."""

    names: str
    trait: str
    value: str
    help: str


PROFILE_OPTIONS = (
    Option("profile", "profile", "NAME", "the profile to work in (default)"),
    Option("profile-dir", "profile_dir", "DIR", "its directory, in place of a name"),
    Option("cluster-id", "cluster_id", "ID", "tells several clusters of one profile apart"),
)
LOG_OPTIONS = (
    Option("log-level", "log_level", "LEVEL", "DEBUG, INFO (default), WARNING or ERROR"),
    Option("log-format", "event_format", "FORMAT", "logfmt (default) or json"),
    Option(
        "log-to-file",
        "log_to_file",
        "",
        "log to a file of the profile, as is default; not: --log-to-file=False",
    ),
)


class _Level(Enum):  # type: ignore[type-arg]
    """A log level by name, in any case, or by number."""

    def validate(self, obj: Any, value: Any) -> Any:
        return super().validate(obj, value.upper() if isinstance(value, str) else value)


class _Parser(KVArgParseConfigLoader.parser_class):  # type: ignore[valid-type, misc]
    """An argument parser that raises what is wrong instead of printing it and exiting."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(message.replace("__DOT__", "."))


class _Loader(KVArgParseConfigLoader):
    parser_class = _Parser

    def _handle_unrecognized_alias(self, arg: str) -> None:
        raise ArgumentError(f"unrecognized arguments: --{arg}")


class App(Application):
    """A command; subclasses say their `options`, `examples` and what `run` does."""

    options: ClassVar[tuple[Option, ...]] = PROFILE_OPTIONS
    config_name: ClassVar[str] = ""  # of the configuration file, without "_config.py"
    prog = "enginery"
    version = __version__
    aliases: dict[Any, Any] = {}  # noqa: RUF012 - filled from `options` in each subclass
    flags: dict[Any, Any] = {}  # noqa: RUF012

    profile = Unicode("default", help="The profile to work in.").tag(config=True)
    profile_dir = Unicode("", help="Its directory, in place of a name.").tag(config=True)
    cluster_id = Unicode("", help="Tells several clusters of one profile apart.").tag(config=True)
    log_level = _Level(
        (10, 20, 30, 40, 50, "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"),
        default_value=logging.INFO,
        help="How much is logged.",
    ).tag(config=True)
    event_format = CaselessStrEnum(
        ("logfmt", "json"), default_value="logfmt", help="The form of log lines."
    ).tag(config=True)
    log_to_file = Bool(True, help="Log to a file in the profile's log directory.").tag(config=True)
    log_format = Unicode("%(highlevel)s %(message)s", help="Of warnings about settings.")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.aliases, cls.flags = {}, {}
        for option in cls.options:
            names = tuple(option.names.split())
            owner, _, trait = option.trait.rpartition(".")
            owner = owner or cls.__name__
            cls.aliases[names] = (f"{owner}.{trait}", option.help)
            if not option.value:
                cls.flags[names] = ({owner: {trait: True}}, option.help)

    # --- settings -----------------------------------------------------------------------------

    @classmethod
    def read(cls, argv: list[str], prog: str) -> App:
        """The command as its command line and its configuration file make it.

        Raises UsageError, and SystemExit(0) after --help or --version.
        """
        app = cls()
        app.prog = prog
        try:
            Application.parse_command_line.__wrapped__(app, argv)  # type: ignore[attr-defined]
            if app.extra_args:
                raise UsageError(f"unexpected argument: {app.extra_args[0]!r}")
            app.load_profile_config()
        except (TraitError, ArgumentError) as error:
            raise UsageError(app.in_words(error)) from None
        return app

    def open_profile(self) -> Profile:
        """The profile that the options name; ClusterError when there is no such profile."""
        return open_profile(self.profile, self.profile_dir)

    def load_profile_config(self) -> None:
        """Read the configuration file of the profile, if it has one."""
        directory = str(self.open_profile().path)
        loader = PyFileConfigLoader(f"{self.config_name}_config.py", path=directory)
        try:
            config = loader.load_config()
        except ConfigFileNotFound:
            return
        except Exception as error:  # the file's own mistake, told to who started the command
            raise UsageError(_file_error(loader.full_filename, error)) from None
        self.warn_of_unknown(config, loader.full_filename)
        config.merge(self.cli_config)
        self.update_config(config)

    def modernize(self, config: Config) -> None:
        """Turn older spellings of settings into today's; most commands have none."""

    def warn_of_unknown(self, config: Config, filename: str) -> None:
        """Warn of sections that no class of this command reads."""
        known = [cls.__name__ for cls in self._classes_inc_parents()]
        for section in config:
            if section not in known and isinstance(config[section], Config):
                guess = get_close_matches(section, known, n=1)
                hint = f"; did you mean c.{guess[0]}?" if guess else ""
                self.log.warning("%s: nothing here reads c.%s%s", filename, section, hint)

    def part(self, cls: type[Configurable]) -> Any:
        """One of the configurable parts, as configured; UsageError when a value is not allowed."""
        try:
            return cls(parent=self)
        except TraitError as error:
            raise UsageError(self.in_words(error)) from None

    def settings(self) -> dict[str, Any]:
        """The traits that are fields of the configuration of the process to run."""
        settings = {name: getattr(self, name) for name in self.trait_names(setting=True)}
        return settings | {
            "profile_dir": str(self.open_profile().path),
            "cluster_id": self.cluster_id,
            "log_level": logging.getLevelName(self.log_level),
            "log_format": self.event_format,
            "log_to_file": self.log_to_file,
        }

    def in_words(self, error: Exception) -> str:
        """A complaint of traitlets or argparse, with the option in place of the trait."""
        text = str(error)
        if found := re.search(r"unrecognized arguments: (\S+)", text):
            return f"there is no option {found[1]}"
        if found := re.match(r"argument ([-\w]+): ", text):  # a known one would have a trait here
            return f"there is no option {found[1]}"
        if found := re.match(r"argument --(\w+)\.(\w+): (.*)", text):
            return f"{self.option_of(found[1], found[2])}: {found[3]}"
        if found := re.search(r"'(\w+)' trait of an? (\w+) instance (.*)", text):
            complaint = found[3].replace(" (a string)", "")
            return f"{self.option_of(found[2], found[1])}: {complaint}"
        return text

    def option_of(self, owner: str, trait: str) -> str:
        """The option that sets a trait, or how a configuration file names it."""
        path = trait if owner == type(self).__name__ else f"{owner}.{trait}"
        options = (_dashed(option.names)[0] for option in self.options if option.trait == path)
        return next(options, f"c.{owner}.{trait}")

    # --- help ---------------------------------------------------------------------------------

    def emit_help(self, classes: bool = False) -> Iterator[str]:  # type: ignore[override]
        """The lines of --help; with `classes`, also every trait a configuration file can set."""
        yield from textwrap.wrap(f"{self.prog}: {self.description}", 95)
        yield ""
        rows = [
            (", ".join(_dashed(o.names)) + (f"={o.value}" if o.value else ""), o.help)
            for o in self.options
        ]
        width = max(len(left) for left, _ in rows) + 2
        yield from (f"  {left:<{width}}{right}" for left, right in rows)
        yield f"  {'--help-all':<{width}}every setting of the configuration file"
        yield ""
        if self.examples:
            examples = textwrap.dedent(str(self.examples)).strip("\n")
            yield from ["Examples:", *textwrap.indent(examples, "  ").splitlines(), ""]
        yield f"Settings are also read from {self.config_name}_config.py in the profile directory."
        if classes:
            yield ""
            for cls in self._classes_with_config_traits():
                yield cls.class_get_help()

    def update_config(self, config: Config) -> None:
        """Take over settings, from the command line or from the file."""
        self.modernize(config)
        super().update_config(config)

    def _create_loader(self, argv: Any, aliases: Any, flags: Any, classes: Any) -> _Loader:
        return _Loader(
            argv, aliases, flags, classes=classes, log=self.log, allow_abbrev=False, add_help=False
        )


def _dashed(names: str) -> list[str]:
    """Names of an option as they are typed."""
    return [f"-{name}" if len(name) == 1 else f"--{name}" for name in names.split()]


def _file_error(filename: str, error: Exception) -> str:
    """What is wrong with a configuration file, and where."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    place = os.path.join(filename) + (f", line {line}" if line else "")
    return f"{place}: {type(error).__name__}: {error}"


def print_to_stderr(text: str) -> None:
    """Tell the user something that is not output of the command."""
    print(text, file=sys.stderr, flush=True)
