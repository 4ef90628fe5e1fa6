"""The one table of commands; argv, the shell and the plain line reader all work from it.

A record names its click command (which only parses) and its asynchronous handler by module and
attribute, so that looking at the table imports neither click nor trio nor the handlers.
"""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import click

    from stompcli.exitcodes import ExitCode
    from stompcli.output import Out
    from stompcli.session import Session

Handler = Callable[["Session", dict[str, Any], "Out"], Awaitable["ExitCode | None"]]


class Command(NamedTuple):
    """One command of the `stomp` program."""

    name: str
    summary: str
    section: str
    # What the line reader expects, in the words of stomp.py.
    usage: str
    # "stompcli.module:attribute" of what parses and of what does the work.
    parser: str
    handler: str
    aliases: tuple[str, ...] = ()
    # Where it may be used.
    in_shell: bool = True
    one_shot: bool = True
    # It needs a broker that knows our admin requests.
    admin: bool = False
    # It needs no broker, so that no context matters.
    offline: bool = False
    # It stays until it is stopped, so that heart-beats matter.
    stays: bool = False
    # In a shell the rest of the line after the arguments is a body, taken as it is.
    verbatim: bool = False
    destructive: bool = False

    def load_parser(self) -> "click.Command":
        """Return the click command; imports click, but not trio."""
        found: click.Command = _load(self.parser)
        return found

    def load_handler(self) -> Handler:
        """Return the handler; imports what doing the work needs."""
        found: Handler = _load(self.handler)
        return found

    def as_json(self) -> dict[str, object]:
        """Return the record as `help --json` shows it."""
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "summary": self.summary,
            "section": self.section,
            "usage": self.usage,
            "shell": self.in_shell,
            "one_shot": self.one_shot,
            "admin": self.admin,
            "offline": self.offline,
            "verbatim": self.verbatim,
            "destructive": self.destructive,
        }


MESSAGES: Final = "Messages"
SESSION: Final = "Session"
PROGRAM: Final = "This program"
LOOKING: Final = "Looking at a broker"
ACTING: Final = "Acting on a broker"
SECTIONS: Final = (MESSAGES, LOOKING, ACTING, SESSION, PROGRAM)

_PARSERS: Final = "stompcli.arguments"
_BROKER: Final = "stompcli.broker_arguments"
_BENCH: Final = "stompcli.bench_arguments"
_FLOW: Final = "stompcli.flow_arguments"
_REQUEST: Final = "stompcli.request_arguments"
_WORKER: Final = "stompcli.worker_arguments"
_SHELL: Final = "stompcli.shell_arguments"
_COMMANDS: Final = "stompcli.commands"

TABLE: Final = (
    Command(
        "send",
        "Send a message, or one per line of standard input",
        MESSAGES,
        "send <destination> <message>",
        f"{_PARSERS}:SEND",
        f"{_COMMANDS}.send:send",
        verbatim=True,
    ),
    Command(
        "sendrec",
        "Send a message, wait for its receipt and print it",
        MESSAGES,
        "sendrec <destination> <message>",
        f"{_PARSERS}:SENDREC",
        f"{_COMMANDS}.send:sendrec",
        verbatim=True,
    ),
    Command(
        "sendreply",
        "Send an answer that carries a correlation-id",
        MESSAGES,
        "sendreply <destination> <correlation-id> <message>",
        f"{_PARSERS}:SENDREPLY",
        f"{_COMMANDS}.send:sendreply",
        verbatim=True,
    ),
    Command(
        "sendfile",
        "Send a file, with its name",
        MESSAGES,
        "sendfile <destination> <filename> [headers.json]",
        f"{_PARSERS}:SENDFILE",
        f"{_COMMANDS}.sendfile:sendfile",
    ),
    Command(
        "subscribe",
        "Receive messages and print them",
        MESSAGES,
        "subscribe <destination> [ack]",
        f"{_PARSERS}:SUBSCRIBE",
        f"{_COMMANDS}.subscribe:subscribe",
        aliases=("sub", "listen"),
        stays=True,
    ),
    Command(
        "request",
        "Send a request, wait for its reply and print it",
        MESSAGES,
        "request <destination> <message>",
        f"{_REQUEST}:REQUEST",
        f"{_COMMANDS}.request:request",
        aliases=("req",),
        verbatim=True,
    ),
    Command(
        "reply",
        "Answer each request: with a text, its own body, or a program",
        MESSAGES,
        "reply <destination> [message]",
        f"{_REQUEST}:REPLY",
        f"{_COMMANDS}.request:reply",
        in_shell=False,
        stays=True,
    ),
    Command(
        "worker",
        "Run a program for each message",
        MESSAGES,
        "worker <destination> -- <command>",
        f"{_WORKER}:WORKER",
        f"{_COMMANDS}.worker:worker",
        in_shell=False,
        stays=True,
    ),
    Command(
        "save",
        "Save messages of a queue or topic to a file",
        MESSAGES,
        "save <source> <file>",
        f"{_FLOW}:SAVE",
        f"{_COMMANDS}.record:save",
        in_shell=False,
        stays=True,
    ),
    Command(
        "replay",
        "Send the messages of a file again",
        MESSAGES,
        "replay <file> [destination]",
        f"{_FLOW}:REPLAY",
        f"{_COMMANDS}.record:replay",
        in_shell=False,
        stays=True,
    ),
    Command(
        "bridge",
        "Forward messages from one broker to another",
        MESSAGES,
        "bridge <url> <source> <url> <destination>",
        f"{_FLOW}:BRIDGE",
        f"{_COMMANDS}.bridge:bridge",
        aliases=("shovel",),
        in_shell=False,
        stays=True,
    ),
    Command(
        "status",
        "Show what the broker is and how it is doing",
        LOOKING,
        "status",
        f"{_BROKER}:STATUS",
        f"{_COMMANDS}.linking:status",
        admin=True,
    ),
    Command(
        "queues",
        "List queues: messages, consumers, rates",
        LOOKING,
        "queues [glob]",
        f"{_BROKER}:QUEUES",
        f"{_COMMANDS}.listings:queues",
        admin=True,
    ),
    Command(
        "queue",
        "Show all that is known of one queue",
        LOOKING,
        "queue info <queue>",
        f"{_BROKER}:QUEUE",
        f"{_COMMANDS}.listings:queue",
        admin=True,
    ),
    Command(
        "topics",
        "List topics and how many are subscribed",
        LOOKING,
        "topics [glob]",
        f"{_BROKER}:TOPICS",
        f"{_COMMANDS}.listings:topics",
        admin=True,
    ),
    Command(
        "subscriptions",
        "List subscriptions and what they have not settled",
        LOOKING,
        "subscriptions [glob]",
        f"{_BROKER}:SUBSCRIPTIONS",
        f"{_COMMANDS}.listings:subscriptions",
        admin=True,
    ),
    Command(
        "connections",
        "List connections: who, from where, how busy",
        LOOKING,
        "connections [glob]",
        f"{_BROKER}:CONNECTIONS",
        f"{_COMMANDS}.listings:connections",
        admin=True,
    ),
    Command(
        "durable",
        "List durable subscriptions, or remove one",
        LOOKING,
        "durable ls|rm [name]",
        f"{_BROKER}:DURABLE",
        f"{_COMMANDS}.listings:durable",
        admin=True,
        destructive=True,
    ),
    Command(
        "routes",
        "List the routes between destinations",
        LOOKING,
        "routes [glob]",
        f"{_BROKER}:ROUTES",
        f"{_COMMANDS}.listings:routes",
        admin=True,
    ),
    Command(
        "browse",
        "Show messages of a queue without taking them",
        LOOKING,
        "browse <queue>",
        f"{_BROKER}:BROWSE",
        f"{_COMMANDS}.browse:browse",
    ),
    Command(
        "top",
        "Watch a broker: totals, rates, the busiest queues",
        LOOKING,
        "top [glob]",
        "stompcli.top_arguments:TOP",
        f"{_COMMANDS}.top:top",
        admin=True,
        in_shell=False,
    ),
    Command(
        "explain",
        "Say why messages are not delivered, and where they go",
        LOOKING,
        "explain <destination>",
        f"{_BROKER}:EXPLAIN",
        f"{_COMMANDS}.acting:explain",
        admin=True,
    ),
    Command(
        "purge",
        "Throw away the messages of queues",
        ACTING,
        "purge <queue>",
        f"{_BROKER}:PURGE",
        f"{_COMMANDS}.acting:purge",
        admin=True,
        destructive=True,
    ),
    Command(
        "move",
        "Move messages from one queue to another",
        ACTING,
        "move <source> <target>",
        f"{_BROKER}:MOVE",
        f"{_COMMANDS}.transfer:move",
        destructive=True,
    ),
    Command(
        "copy",
        "Copy messages from one queue to another",
        ACTING,
        "copy <source> <target>",
        f"{_BROKER}:COPY",
        f"{_COMMANDS}.transfer:copy",
    ),
    Command(
        "dlq",
        "List, show, requeue or purge dead letters",
        ACTING,
        "dlq ls|show|requeue|purge [queue] [message-id]",
        f"{_BROKER}:DLQ",
        f"{_COMMANDS}.deadletters:dlq",
        destructive=True,
    ),
    Command(
        "pause",
        "Stop delivering from a queue",
        ACTING,
        "pause <queue>",
        f"{_BROKER}:PAUSE",
        f"{_COMMANDS}.acting:pause",
        admin=True,
    ),
    Command(
        "resume",
        "Deliver from a paused queue again",
        ACTING,
        "resume <queue>",
        f"{_BROKER}:RESUME",
        f"{_COMMANDS}.acting:resume",
        admin=True,
    ),
    Command(
        "route",
        "Add a route between destinations, or remove one",
        ACTING,
        "route add|rm <match|name> [to]",
        f"{_BROKER}:ROUTE",
        f"{_COMMANDS}.acting:route",
        admin=True,
    ),
    Command(
        "definitions",
        "Export what there is beside messages, or import it",
        ACTING,
        "definitions export|import [file]",
        f"{_BROKER}:DEFINITIONS",
        f"{_COMMANDS}.definitions:definitions",
        admin=True,
    ),
    Command(
        "kick",
        "Close a connection",
        ACTING,
        "kick <connection>",
        f"{_BROKER}:KICK",
        f"{_COMMANDS}.acting:kick",
        admin=True,
        destructive=True,
    ),
    Command(
        "unsubscribe",
        "End a subscription",
        SESSION,
        "unsubscribe <destination>",
        f"{_PARSERS}:UNSUBSCRIBE",
        f"{_COMMANDS}.subscribe:unsubscribe",
        one_shot=False,
    ),
    Command(
        "ack",
        "Acknowledge a message: its ack id or message-id, #n, last or all",
        SESSION,
        "ack <ack-id>",
        f"{_PARSERS}:ACK",
        f"{_COMMANDS}.settle:ack",
        one_shot=False,
    ),
    Command(
        "nack",
        "Refuse a message: its ack id or message-id, #n, last or all",
        SESSION,
        "nack <ack-id>",
        f"{_PARSERS}:NACK",
        f"{_COMMANDS}.settle:nack",
        one_shot=False,
    ),
    Command(
        "begin",
        "Begin a transaction",
        SESSION,
        "begin",
        f"{_PARSERS}:BEGIN",
        f"{_COMMANDS}.settle:begin",
        one_shot=False,
    ),
    Command(
        "commit",
        "Commit the transaction",
        SESSION,
        "commit",
        f"{_PARSERS}:COMMIT",
        f"{_COMMANDS}.settle:commit",
        one_shot=False,
    ),
    Command(
        "abort",
        "Undo the transaction",
        SESSION,
        "abort",
        f"{_PARSERS}:ABORT",
        f"{_COMMANDS}.settle:abort",
        aliases=("rollback",),
        one_shot=False,
    ),
    Command(
        "stats",
        "Show what this session has sent and received",
        SESSION,
        "stats [on|off|reset]",
        f"{_PARSERS}:STATS",
        f"{_COMMANDS}.about:stats",
        one_shot=False,
    ),
    Command(
        "show",
        "Show a message again, all of it",
        SESSION,
        "show #n|last",
        f"{_SHELL}:SHOW",
        f"{_COMMANDS}.keeping:show",
        one_shot=False,
    ),
    Command(
        "save",
        "Write the body of a message into a new file",
        SESSION,
        "save #n [path]",
        f"{_SHELL}:SAVE",
        f"{_COMMANDS}.keeping:save",
        one_shot=False,
    ),
    Command(
        "last",
        "Show the last message again",
        SESSION,
        "last",
        f"{_SHELL}:LAST",
        f"{_COMMANDS}.keeping:last",
        one_shot=False,
    ),
    Command(
        "history",
        "Show the lines that were typed",
        SESSION,
        "history [n]",
        f"{_SHELL}:HISTORY",
        f"{_COMMANDS}.keeping:history",
        one_shot=False,
    ),
    Command(
        "header",
        "Keep headers for every message that is sent",
        SESSION,
        "header add|del|ls|clear [name:value] [destination]",
        f"{_SHELL}:HEADER",
        f"{_COMMANDS}.settings:header",
        one_shot=False,
    ),
    Command(
        "record",
        "Record the session in a file",
        SESSION,
        "record <file>|off",
        f"{_SHELL}:RECORD",
        f"{_COMMANDS}.settings:record",
        one_shot=False,
    ),
    Command(
        "wire",
        "Show every octet that comes or goes",
        SESSION,
        "wire on|hex|off",
        f"{_SHELL}:WIRE",
        f"{_COMMANDS}.settings:wire",
        one_shot=False,
    ),
    Command(
        "connect",
        "Connect, here or to another broker",
        SESSION,
        "connect [url]",
        f"{_SHELL}:CONNECT",
        f"{_COMMANDS}.linking:connect",
        one_shot=False,
    ),
    Command(
        "disconnect",
        "End the connection, and stay here",
        SESSION,
        "disconnect",
        f"{_SHELL}:DISCONNECT",
        f"{_COMMANDS}.linking:disconnect",
        one_shot=False,
    ),
    Command(
        "reconnect",
        "Connect anew, with the same subscriptions",
        SESSION,
        "reconnect",
        f"{_SHELL}:RECONNECT",
        f"{_COMMANDS}.linking:reconnect",
        one_shot=False,
    ),
    Command(
        "set",
        "Show or change the settings of the shell",
        SESSION,
        "set [name] [value]",
        f"{_SHELL}:SET",
        f"{_COMMANDS}.settings:set_",
        one_shot=False,
    ),
    Command(
        "run",
        "Run the lines of a file",
        SESSION,
        "run <file>",
        f"{_SHELL}:RUN",
        f"{_COMMANDS}.settings:run",
        one_shot=False,
    ),
    Command(
        "raw",
        "Write frames as they are typed, octet by octet",
        SESSION,
        "raw [file|-]",
        f"{_SHELL}:RAW",
        f"{_COMMANDS}.raw:raw",
    ),
    Command(
        "clear",
        "Clear the screen",
        SESSION,
        "clear",
        f"{_SHELL}:CLEAR",
        f"{_COMMANDS}.settings:clear",
        one_shot=False,
    ),
    Command(
        "context",
        "Keep brokers under names, and choose among them",
        PROGRAM,
        "context add|ls|select|show|edit|rm|test|previous [name]",
        "stompcli.context_arguments:CONTEXT",
        f"{_COMMANDS}.context:context",
        aliases=("ctx",),
        destructive=True,
        offline=True,
    ),
    Command(
        "ping",
        "Measure how long connecting and a receipt take",
        PROGRAM,
        "ping",
        f"{_PARSERS}:PING",
        f"{_COMMANDS}.ping:ping",
    ),
    Command(
        "bench",
        "Put load on a broker, measure it, check what became of it",
        PROGRAM,
        "bench send|receive|roundtrip|fanout|connect [destination]",
        f"{_BENCH}:BENCH",
        f"{_COMMANDS}.bench:bench",
        in_shell=False,
    ),
    Command(
        "check",
        "Check a broker for a monitoring system",
        PROGRAM,
        "check [conn|queue|dlq|roundtrip] [queue]",
        f"{_BENCH}:CHECK",
        f"{_COMMANDS}.check:check",
        aliases=("health",),
        in_shell=False,
    ),
    Command(
        "tap",
        "Show the frames that come to a broker and leave it",
        LOOKING,
        "tap",
        f"{_BENCH}:TAP",
        f"{_COMMANDS}.watch:tap",
        aliases=("monitor",),
        admin=True,
        stays=True,
    ),
    Command(
        "events",
        "Show what happens in a broker",
        LOOKING,
        "events",
        f"{_BENCH}:EVENTS",
        f"{_COMMANDS}.watch:events",
        admin=True,
        stays=True,
    ),
    Command(
        "frame",
        "Encode, decode and check frames, offline",
        PROGRAM,
        "frame encode|decode|lint [file]",
        "stompcli.wire_arguments:FRAME",
        f"{_COMMANDS}.frame:frame",
        offline=True,
    ),
    Command(
        "wiretap",
        "Show every frame between a client and a broker",
        PROGRAM,
        "wiretap --listen :port",
        "stompcli.wire_arguments:WIRETAP",
        f"{_COMMANDS}.wiretap:wiretap",
        in_shell=False,
    ),
    Command(
        "version",
        "Show the version, and which file is running",
        PROGRAM,
        "version",
        f"{_PARSERS}:VERSION",
        f"{_COMMANDS}.about:version",
        aliases=("ver",),
        offline=True,
    ),
    Command(
        "help",
        "Show the commands, or explain one",
        PROGRAM,
        "help [command]",
        f"{_PARSERS}:HELP",
        f"{_COMMANDS}.about:show_help",
        aliases=("?",),
        offline=True,
    ),
    Command(
        "completion",
        "Print the completion script for bash, zsh or fish",
        PROGRAM,
        "completion bash|zsh|fish",
        f"{_PARSERS}:COMPLETION",
        f"{_COMMANDS}.about:completion",
        in_shell=False,
        offline=True,
    ),
    Command(
        "quit",
        "Leave",
        PROGRAM,
        "quit",
        f"{_PARSERS}:QUIT",
        f"{_COMMANDS}.about:leave",
        aliases=("exit",),
        one_shot=False,
    ),
)

_BY_WORD: Final = {word: record for record in TABLE for word in (record.name, *record.aliases)}
# A word may mean one thing on a command line and another in a shell.
_ONE_SHOT: Final = {
    word: record for record in TABLE if record.one_shot for word in (record.name, *record.aliases)
}
_IN_SHELL: Final = {
    word: record for record in TABLE if record.in_shell for word in (record.name, *record.aliases)
}


def find(word: str, *, in_shell: bool = False) -> Command | None:
    """Return the command that a word names, None if there is none.

    It is one for the command line, or for a shell with ``in_shell``; one for the other if there is
    no such.
    """
    first = _IN_SHELL if in_shell else _ONE_SHOT
    return first.get(word) or _BY_WORD.get(word)


def closest(word: str) -> str | None:
    """Return the command word most like ``word``, None if none is."""
    from difflib import get_close_matches

    close = get_close_matches(word, _BY_WORD, n=1)
    return close[0] if close else None


def _load(place: str) -> Any:  # noqa: ANN401 - the table says what it is
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
