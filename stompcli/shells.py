"""Completion scripts: what a shell runs when somebody presses Tab."""

import os
import re
import shlex
from typing import Final

from click.shell_completion import BashComplete, ZshComplete, add_completion_class

NAMES: Final = ("stomp", "stompcli")

_BASH: Final = """\
%(complete_func)s() {
    local IFS=$'\\n'
    local response completion type value

    response=$(env COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \\
        COMP_WORDBREAKS="$COMP_WORDBREAKS" %(complete_var)s=bash_complete "$1" 2>/dev/null)

    COMPREPLY=()
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        elif [[ $type == plain ]]; then
            COMPREPLY+=("$value")
            [[ $value == *: || $value == */ ]] && compopt -o nospace
        fi
    done
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
# What adds a word without a description, in the script of click; and words that go on behind it.
_ZSH_ADDED: Final = 'completions+=("$key")'
_ZSH_OPEN: Final = 'if [[ "$key" == *[:/] ]]; then open+=("$key"); else completions+=("$key"); fi'
_ZSH_LAST: Final = '    if [ -n "$completions" ]; then\n'
_ZSH_ALSO: Final = """\
    if [ -n "$open" ]; then
        compadd -U -V unsorted -S '' -a open
    fi

"""
_WORD: Final = re.compile(r"(?:\\.|'[^']*'?|\"(?:\\.|[^\"\\])*\"?|[^\s\\'\"])+", re.DOTALL)


class Bash(BashComplete):
    """Completion for bash, which cuts words at colons: headers and URLs have some."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is being typed, and that one."""
        if "COMP_LINE" not in os.environ:
            return super().get_completion_args()
        words, self._typed = typed_words(os.environ["COMP_LINE"], _point())
        return words[1:], self._typed

    def complete(self) -> str:
        """Return a line for each thing to offer, as the script reads it."""
        args, incomplete = self.get_completion_args()
        cut = _cut(incomplete) if "COMP_LINE" in os.environ else 0
        option, equals, _ = incomplete.partition("=")
        # What click offers for --option=value is the value alone.
        front = option + equals if equals and option.startswith("-") else ""
        return "\n".join(
            f"{item.type},{(front + str(item.value))[cut:]}"
            for item in self.get_completions(args, incomplete)
        )


class Zsh(ZshComplete):
    """Completion for zsh, without a blank behind what is not the whole of a word."""

    source_template = (
        ZshComplete.source_template.replace(_ZSH_ADDED, _ZSH_OPEN)
        .replace("    local -a response\n", "    local -a response open\n")
        .replace(_ZSH_LAST, _ZSH_ALSO + _ZSH_LAST)
    )


def _point() -> int:
    """Return where the cursor stands in COMP_LINE, in characters."""
    line = os.environ["COMP_LINE"]
    try:
        octets = int(os.environ.get("COMP_POINT", ""))
    except ValueError:
        return len(line)
    return len(line.encode("utf-8", "surrogateescape")[:octets].decode("utf-8", "ignore"))


def _cut(incomplete: str) -> int:
    """Return how much of a word bash believes to be finished: up to its last word break."""
    breaks = [mark for mark in ":=@" if mark in os.environ.get("COMP_WORDBREAKS", "")]
    return max((incomplete.rfind(mark) + 1 for mark in breaks), default=0)


def typed_words(line: str, point: int) -> tuple[list[str], str]:
    """Return the words of a command line before the cursor, and the one at it, without quotes."""
    before = line[:point]
    words = [_unquoted(match[0]) for match in _WORD.finditer(before)]
    if not before or (before[-1].isspace() and not before.endswith("\\ ")):
        return words, ""
    return words[:-1], words[-1] if words else ""


def _unquoted(word: str) -> str:
    """Return a word as the shell would pass it; a quote that is still open counts as closed."""
    for closing in ("", "'", '"'):
        try:
            return "".join(shlex.split(word + closing))
        except ValueError:
            continue
    return word


def install() -> None:
    """Have click use these, too."""
    add_completion_class(Bash, "bash")
    add_completion_class(Zsh, "zsh")
