"""The manual pages in docs/man, made of the programs' own tables.

Run as a program it writes them anew (`make man`); a test holds them against what it would write.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import click
from pydantic import BaseModel

import stompd
from docs.documents import ROOT
from stompcli import contexts, table
from stompcli.arguments import Verb
from stompcli.exitcodes import ExitCode
from stompcli.main import program
from stompd.server.config import PolicySettings, RouteSettings, Settings
from stompd.server.exitcodes import Exit
from stompd.server.main import commands
from stompd.server.show import as_toml

FOLDER = ROOT / "docs" / "man"

_CODE = re.compile(r"`+([^`]+)`+")
_EXITS = {
    Exit.OK: "It stopped as it was told to.",
    Exit.USAGE: "The command line was not understood.",
    Exit.UNAVAILABLE: "An address cannot be listened on; most often another program has the port.",
    Exit.SOFTWARE: "A fault in stompd itself; the log has the traceback.",
    Exit.STORE: "The store cannot be opened, another stompd has it, or the disk failed.",
    Exit.NOT_ALLOWED: "A passcode is not that of its user (stompd passwd --verify).",
    Exit.CONFIGURATION: "The configuration is wrong, or stompd refuses it as unsafe.",
    Exit.INTERRUPTED: "Ctrl-C before the broker had begun.",
}


# roff.


def roff(text: str) -> str:
    """Return text such that roff shows it as it is, with ``code`` in bold."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    escaped = _CODE.sub(r"\\fB\1\\fR", escaped)
    # A line that begins so would be a request.
    return re.sub(r"(?m)^(?=[.])", r"\\&", escaped)


def _heading(title: str, section: int, what: str) -> list[str]:
    return [
        '.\\" Made of the tables of the program by "make man"; do not edit.',
        f'.TH {title.upper()} {section} "" "stompd {stompd.__version__}" "{what}"',
        ".nh",
        ".ad l",
    ]


def _section(title: str) -> list[str]:
    return [f'.SH "{title.upper()}"']


def _item(term: str, text: str) -> list[str]:
    return [".TP", f"\\fB{roff(term)}\\fR", roff(text)]


def _examples(lines: Iterable[str]) -> list[str]:
    return [".nf", ".RS 4", *map(roff, lines), ".RE", ".fi"]


def _paragraphs(text: str) -> Iterator[str]:
    for part in re.split(r"\n\s*\n", text):
        yield ".PP"
        yield roff(" ".join(part.split()))


def _options(params: Sequence[click.Parameter]) -> Iterator[str]:
    for param in params:
        if not isinstance(param, click.Option) or param.hidden or not param.help:
            continue
        names = [*param.opts, *param.secondary_opts]
        metavar = param.metavar
        if metavar is None and not (param.is_flag or param.count):
            choices = getattr(param.type, "choices", None)
            metavar = "|".join(choices) if choices else param.type.name.upper()
        term = ", ".join(names) + (f" {metavar}" if metavar else "")
        yield from _item(term, " ".join(param.help.split()))


# stomp(1).


def stomp() -> str:
    """Return the page of the program stomp."""
    lines = _heading("stomp", 1, "User commands")
    lines += [*_section("name"), "stomp, stompcli \\- send to and receive from a STOMP broker"]
    lines += _section("synopsis")
    lines += [".nf", *map(roff, _SYNOPSIS), ".fi"]
    lines += [*_section("examples"), *_examples(_first_examples())]
    lines += [*_section("description"), *_paragraphs(_DESCRIPTION)]
    lines += [*_section("options"), *_options(program().params)]
    for section in table.SECTIONS:
        lines += _section(f"commands: {section}")
        for record in table.TABLE:
            if record.section == section:
                lines += _command(record)
    lines += _section("exit status")
    for code in ExitCode:
        lines += _item(str(int(code)), code.meaning)
    lines += [".PP", roff("A reader of standard output that has had enough, as head, is no error.")]
    lines += _section("environment")
    for param in program().params:
        if isinstance(param, click.Option) and isinstance(param.envvar, str):
            lines += _item(param.envvar, f"The same as {param.opts[-1]}.")
    for name, text in _ENVIRONMENT.items():
        lines += _item(name, text)
    lines += _section("files")
    for name, text in _FILES.items():
        lines += _item(name, text)
    lines += [".PP", roff(f"A context may hold: {', '.join(contexts.KEYS)}.")]
    lines += [*_section("see also"), "\\fBstompd\\fR(8), \\fBstompd.toml\\fR(5)"]
    return "\n".join(lines) + "\n"


_SYNOPSIS = (
    "stomp [OPTIONS] COMMAND [ARGS]",
    "stomp [OPTIONS]",
    "stomp [OPTIONS] -F FILE",
)
_DESCRIPTION = """\
stomp talks to any STOMP broker from a shell, a script or a pipe. With a command it carries that out
and ends. Without one it is a prompt, or it runs the commands that standard input, or the FILE of
-F, holds; a script stops at the first error unless -k is given.

Messages go to standard output, everything else to standard error. On a terminal messages are laid
out for people, and control characters in them are shown as escapes; anywhere else you get the
bodies, octet for octet. --json writes an object or array.

A flag goes before the environment, that before the context. The long options for connecting and for
output may also stand after a command. -H before the command is the host, after it a header.

Another package installs a program of the name stomp, too; stompcli is the same as this one."""
_ENVIRONMENT = {
    "STOMP_CONFIG": "The file of settings, in place of $XDG_CONFIG_HOME/stomp/config.toml; the "
    "contexts are beside it.",
    "NO_COLOR, FORCE_COLOR": "No colours; colours off a terminal, too. --color goes before both.",
    "VISUAL, EDITOR": "The editor of send --edit and context edit.",
    "XDG_CONFIG_HOME, XDG_CACHE_HOME": "Where the files below are, by default ~/.config and "
    "~/.cache.",
}
_FILES = {
    "~/.config/stomp/contexts/NAME.toml": "A context; it must be readable by nobody else if it "
    "holds a password.",
    "~/.config/stomp/context": "The context that is selected, and the one before it.",
    "~/.cache/stomp/": "What completion was told by brokers in the last half minute.",
}


def _first_examples() -> Iterator[str]:
    """Yield one example of each command that a command line can run."""
    for record in table.TABLE:
        parser = record.load_parser()
        if record.one_shot and isinstance(parser, Verb) and parser.examples:
            yield parser.examples[0]


def _command(record: table.Command) -> Iterator[str]:
    parser = record.load_parser()
    words = " ".join(piece for param in parser.params for piece in _pieces(param))
    others = f" (also: {', '.join(record.aliases)})" if record.aliases else ""
    yield ".SS"
    yield f"\\fB{roff(record.name)}\\fR {roff(words + others)}".rstrip()
    if isinstance(parser, Verb) and parser.examples:
        yield from _examples(parser.examples)
    yield from _paragraphs(parser.help or record.summary)
    if not record.one_shot:
        yield ".PP"
        yield roff("At the prompt and in scripts only.")
    if record.admin:
        yield ".PP"
        yield roff("Needs stompd as the broker.")
    yield from _options(parser.params)


def _pieces(param: click.Parameter) -> Iterator[str]:
    if isinstance(param, click.Argument):
        yield param.metavar or (param.name or "").upper()


# stompd(8) and stompd.toml(5).


def stompd_program() -> str:
    """Return the page of the program stompd."""
    lines = _heading("stompd", 8, "System administration")
    lines += [*_section("name"), "stompd \\- a STOMP 1.2, 1.1 and 1.0 message broker"]
    lines += _section("synopsis")
    lines += [".nf", roff("stompd [serve] [OPTIONS]"), roff("stompd COMMAND [ARGS]"), ".fi"]
    help_ = commands.help or ""
    about, _, examples = help_.partition("\b\nExamples:\n")
    lines += [*_section("examples"), *_examples(line.strip() for line in examples.splitlines())]
    lines += [*_section("description"), *_paragraphs(about)]
    lines += _section("commands")
    for name, command in commands.commands.items():
        words = [piece for param in command.params for piece in _pieces(param)]
        lines += [".SS", f"\\fB{roff(name)}\\fR {roff(' '.join(words))}".rstrip()]
        told = (command.help or "").replace("\b", "").strip()
        lines += [*_paragraphs(told), *_options(command.params)]
    lines += _section("signals")
    for name, text in _SIGNALS.items():
        lines += _item(name, text)
    lines += _section("exit status")
    for code in Exit:
        lines += _item(str(int(code)), _EXITS[code])
    lines += [*_section("see also"), "\\fBstompd.toml\\fR(5), \\fBstomp\\fR(1)"]
    return "\n".join(lines) + "\n"


_SIGNALS = {
    "SIGTERM, SIGINT": "Finish what is open, then stop; a second one stops at once.",
    "SIGHUP": "Read the settings again.",
    "SIGUSR1": "Write what the broker is doing to the log.",
}


def stompd_toml() -> str:
    """Return the page of the file of settings."""
    lines = _heading("stompd.toml", 5, "File formats")
    lines += [*_section("name"), "stompd.toml \\- settings of the message broker stompd"]
    lines += [*_section("examples"), *_examples(_TOML_EXAMPLE.splitlines())]
    lines += [*_section("description"), *_paragraphs(_TOML_DESCRIPTION)]
    built_in = tomllib.loads(as_toml(_built_in()))
    tables: list[tuple[str, type[BaseModel]]] = []
    lines += _section("top level")
    for name, field in Settings.model_fields.items():
        key = name.replace("_", "-")
        inner = _table_of(field.annotation)
        if inner is None:
            lines += _key(key, built_in.get(key), field.description)
        elif inner not in (PolicySettings, RouteSettings):
            tables.append((key, inner))
    for key, model in tables:
        lines += [*_section(f"[{key}]"), *_table(model, built_in.get(key, {}))]
    for title, rows in (("[[policy]]", PolicySettings), ("[[route]]", RouteSettings)):
        lines += [*_section(title), *_table(rows, {})]
    lines += [*_section("see also"), "\\fBstompd\\fR(8)"]
    return "\n".join(lines) + "\n"


_TOML_EXAMPLE = """\
listen = ["127.0.0.1:61613"]

[limits]
body = "1MiB"

[[policy]]
match = "/queue/orders"
max-messages = 100000"""
_TOML_DESCRIPTION = """\
The file that -c or STOMPD_CONFIG names. There is no file that is read unasked. Each key may also be
set by --set KEY=VALUE and by a variable: STOMPD_ and the key in capitals with _ for . and -.
Unknown keys are refused, and each mistake is reported with its line.

Durations are texts such as "500ms", "2s", "1m", "1h", "1d"; a bare number is seconds. Sizes are
texts such as "64KiB", "32MiB", "1k" (1000); a bare number is octets. Switches are true or false.

`stompd check-config -c FILE` says whether a file is right, `stompd show-config --origin` what is in
effect and where it comes from."""


def _built_in() -> Settings:
    """Return the built-in settings, whatever the environment of who makes the pages."""
    os.environ.pop("XDG_STATE_HOME", None)
    return Settings()


def _table_of(annotation: object) -> type[BaseModel] | None:
    """Return the table that a field is, or a list of; None for a plain value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _table(model: type[BaseModel], built_in: Mapping[str, Any]) -> Iterator[str]:
    if model.__doc__:
        yield from _paragraphs(model.__doc__)
    for name, field in model.model_fields.items():
        key = name.replace("_", "-")
        yield from _key(key, built_in.get(key), field.description)


def _key(key: str, built_in: object, text: str | None) -> list[str]:
    told = f" (built-in: {_value(built_in)})" if built_in is not None else ""
    return _item(key, " ".join((text or "").split()) + told)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def pages() -> dict[str, str]:
    """Return each page by the name of its file."""
    return {
        "stomp.1": stomp(),
        "stompcli.1": ".so man1/stomp.1\n",
        "stompd.8": stompd_program(),
        "stompd.toml.5": stompd_toml(),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
