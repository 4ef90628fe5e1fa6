"""The settings of stompd: what may be set, the built-in values, and what is refused.

`Settings()` holds the built-in values. How a file, the environment and flags are laid over them is
the matter of `stompd.server.sources`. Durations are seconds and sizes octets once they are read.

* ``values``: single values; ``names``: those that are names of destinations.
* ``peers``: what a peer may cost; ``access``: who may log in, and do or take what.
* ``destinations``: how these behave; ``ports``: those that are encrypted, and that for HTTP.
* ``settings``: all of it together.
"""

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
)
from stompd.server.config.peers import (
    FlowSettings,
    HeartBeatSettings,
    LimitSettings,
    TimeoutSettings,
)
from stompd.server.config.ports import HttpSettings, TlsSettings
from stompd.server.config.settings import LogSettings, Settings, StoreSettings
from stompd.server.config.values import show_directory, state_directory

__all__ = [
    "CertificateSettings",
    "FlowSettings",
    "HeartBeatSettings",
    "HttpSettings",
    "LimitSettings",
    "LogSettings",
    "PolicySettings",
    "QuotaSettings",
    "RightSettings",
    "RouteSettings",
    "Settings",
    "StoreSettings",
    "TimeoutSettings",
    "TlsSettings",
    "TokenSettings",
    "UserSettings",
    "VirtualHostSettings",
    "VirtualTopicSettings",
    "show_directory",
    "state_directory",
]
