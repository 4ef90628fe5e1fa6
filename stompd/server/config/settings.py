"""All settings together, and what is said about them as a whole."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from stompd.broker import policy as broker
from stompd.broker.rights import Rights
from stompd.broker.virtualtopic import VirtualTopics
from stompd.server.config.access import (
    CertificateSettings,
    QuotaSettings,
    RightSettings,
    TokenSettings,
    UserSettings,
)
from stompd.server.config.destinations import (
    PolicySettings,
    RouteSettings,
    VirtualHostSettings,
    VirtualTopicSettings,
    together,
)
from stompd.server.config.peers import (
    FlowSettings,
    HeartBeatSettings,
    LimitSettings,
    TimeoutSettings,
)
from stompd.server.config.ports import HttpSettings, TlsSettings
from stompd.server.config.values import (
    BROKER,
    Directory,
    Duration,
    File,
    Network,
    Place,
    Size,
    SocketPath,
    Switch,
    Table,
    choice,
    state_directory,
)
from stompd.server.units import MIB, Address, several


class StoreSettings(Table):
    """Where messages are kept that outlive stompd."""

    engine: Annotated[Literal["sqlite", "memory"], choice("sqlite", "memory")] = "sqlite"
    """``sqlite`` keeps messages in a file, ``memory`` nowhere: they are lost on stop."""
    path: Directory = Field(default_factory=state_directory)
    """The directory of that file; built-in is ``stompd`` in ``$XDG_STATE_HOME`` if that is set."""
    wait: Duration = 0.0
    """How long a start waits for another stompd to let go of that directory."""
    commit_interval: Duration = 0.05
    """How long a write that nobody waits for may wait for others."""
    pending: Size = 64 * MIB
    """Octets waiting to be written from which on producers of persistent messages wait."""
    min_free: Size = 64 * MIB
    """Free space on the disk below which persistent messages are refused."""
    cache: Size = 16 * MIB
    """Memory in which pages of the file are kept."""


class LogSettings(Table):
    """What stompd writes to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        choice("debug", "info", "warning", "error"),
    ] = "info"
    """The least important entries that are written."""
    format: Annotated[Literal["text", "json"], choice("text", "json")] = "text"
    """Lines for people, or a JSON object a line."""
    audit: File = None
    """A file for failed log-ins, refusals and what was changed, or ``stderr``; empty: none."""


class Settings(Table):
    """Everything that can be set; each key is described in ``docs/configuration.md``."""

    listen: Annotated[tuple[Place, ...], BeforeValidator(several)] = (Address("127.0.0.1", 61613),)
    """Addresses for STOMP over TCP; port 0 takes a free one."""
    unix: Annotated[tuple[SocketPath, ...], BeforeValidator(several)] = ()
    """Paths of Unix sockets for STOMP."""
    proxies: Annotated[
        tuple[Network, ...],
        BeforeValidator(several),
    ] = ()
    """Addresses of proxies that say for whom they connect, by the PROXY protocol."""
    reuse_port: Switch = False
    """Let other processes listen on the same addresses, such as the next version of stompd."""
    allow_anonymous: Switch = False
    """Let in who gives no login, from other machines as well, whether there are users or not."""
    trailing_newline: Switch = BROKER.trailing_newline
    """Write a line feed after the NUL of each frame, so that telnet and nc show one per line."""
    telnet_hints: Switch = True
    """Understand telnet's control sequences and answer typing mistakes at the end of the line."""
    implicit_begin: Switch = BROKER.implicit_begin
    """Let a SEND or ACK in an unknown transaction begin it, as some clients rely on."""
    tls: TlsSettings = TlsSettings()
    limits: LimitSettings = LimitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    heart_beat: HeartBeatSettings = HeartBeatSettings()
    flow: FlowSettings = FlowSettings()
    virtual_hosts: VirtualHostSettings = VirtualHostSettings()
    virtual_topics: VirtualTopicSettings = VirtualTopicSettings()
    policy: tuple[PolicySettings, ...] = ()
    route: Annotated[tuple[RouteSettings, ...], AfterValidator(together)] = ()
    users: UserSettings = UserSettings()
    tokens: TokenSettings = TokenSettings()
    certificate: tuple[CertificateSettings, ...] = ()
    rights: tuple[RightSettings, ...] = ()
    limit: tuple[QuotaSettings, ...] = ()
    store: StoreSettings = Field(default_factory=StoreSettings)
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _one_who_decides(self) -> Self:
        if self.users.authenticator and (self.users.file or self.tokens.keys or self.certificate):
            raise PydanticCustomError(
                "refused",
                "decides alone, so there can be no users.file, tokens.keys or [[certificate]]",
                {"key": ("users", "authenticator")},
            )
        return self

    @model_validator(mode="after")
    def _somewhere_to_listen(self) -> Self:
        if not self.listen and not self.unix and not self.tls.listen:
            raise PydanticCustomError(
                "refused", "there is no address and no unix socket to listen on", {"key": "listen"}
            )
        return self

    def for_broker(self, server: str, rights: Rights | None = None) -> broker.Settings:
        """Return what the broker itself needs to know.

        ``server`` is its name in CONNECTED, ``rights`` are what `stompd.server.accounts` makes of
        the rules; None if there are neither users nor rules.
        """
        return broker.Settings(
            server=server,
            limits=self.limits.of_sessions(),
            heart_beat=broker.HeartBeat(
                minimum=round(self.heart_beat.minimum * 1000),
                default=round(self.heart_beat.default * 1000),
                tolerance=self.heart_beat.tolerance,
                grace=self.heart_beat.grace,
            ),
            policies=broker.Policies([policy.rule() for policy in self.policy]),
            outbox_high=self.flow.outbox_high,
            outbox_low=self.flow.outbox_low,
            work_budget=self.flow.work_budget,
            trailing_newline=self.trailing_newline,
            implicit_begin=self.implicit_begin,
            virtual_hosts=self.virtual_hosts.names,
            strict_hosts=self.virtual_hosts.strict,
            memory_mark=self.flow.memory_octets(),
            routes=tuple(route.route() for route in self.route),
            virtual_topics=VirtualTopics(self.virtual_topics.topics, self.virtual_topics.queues),
            quotas=tuple(table.rule() for table in self.limit),
            rights=rights,
        )

    def has_users(self) -> bool:
        """Return whether somebody is configured who could log in."""
        return bool(
            self.users.file or self.users.authenticator or self.tokens.keys or self.certificate
        )

    def exposed(self) -> tuple[Address, ...]:
        """Return the addresses that other machines can reach although nobody has to log in."""
        if self.allow_anonymous or self.has_users():
            return ()
        every = (*self.listen, *self.tls.listen, *self.http.listen)
        return tuple(address for address in every if not address.is_loopback())
