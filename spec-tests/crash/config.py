"""How stompd is configured that is killed, and what is sent where.

Dead letters of a place NAME are in ``/queue/DLQ.NAME``.
"""

from pathlib import Path

from crash.history import Ruled, durable

WORK = ("/queue/work.a", "/queue/work.b")
MOVED = "/queue/moved"
AUTO = "/queue/auto"
TRANSIENT = "/queue/transient"
# Those that are for one thing each.
GROUPS = "/queue/groups"
SORTED = "/queue/sorted"
SCHEDULED = "/queue/scheduled"
CRON = "/queue/cron"
BRIEF = "/queue/brief"
STUBBORN = "/queue/stubborn"
REJECTS = "/queue/full.rejects"
DROPS = "/queue/full.drops"
APART = (GROUPS, SORTED, SCHEDULED, CRON, BRIEF, STUBBORN, REJECTS, DROPS)

QUEUES = (*WORK, MOVED, AUTO, TRANSIENT, *APART)

TOPICS = ("/topic/news.all", "/topic/news.all", "/topic/news.sport", "/topic/news.sport.local")
VALUES = ("/topic/value", "/topic/value.too")
COLOURS = ("red", "green", None)
# Durable subscriptions: name, topics, and the colour that they want.
DURABLES: tuple[tuple[str, str, str | None], ...] = (
    ("one", TOPICS[0], None),
    ("two", "/topic/news.*", None),
    ("red", "/topic/news.#", "red"),
)

# A message becomes a dead letter after so many attempts.
ATTEMPTS = 5
FEW_ATTEMPTS = 3
# So many messages are in a place with a limit.
MOST = 30

_POLICIES = (
    f'match = "{REJECTS}"\nmax-messages = {MOST}\noverflow = "reject"\n',
    f'match = "{DROPS}"\nmax-messages = {MOST}\noverflow = "drop-head"\n',
    f'match = "{BRIEF}"\nexpired = "dead-letter"\n',
    f'match = "{STUBBORN}"\nmax-deliveries = {FEW_ATTEMPTS}\n',
    'match = "/queue/#"\n',
    'match = "/topic/#"\n',
)

RULES = (
    *(
        Ruled(
            place,
            FEW_ATTEMPTS if place == STUBBORN else ATTEMPTS,
            MOST if place in (REJECTS, DROPS) else 0,
            drops=place == DROPS,
        )
        for place in QUEUES
    ),
    *(Ruled(durable(name), ATTEMPTS) for name, _, _ in DURABLES),
)
"""What of it concerns the checker."""


def configure(
    directory: Path, window: int | None = None, dedup_window: float | None = None
) -> Path:
    """Write a configuration, and return its path.

    Queues have ``window`` messages in memory; ids are remembered for ``dedup_window`` seconds.
    """
    lines = "" if window is None else f"window-messages = {window}\n"
    if dedup_window is not None:
        lines += f'dedup-window = "{dedup_window:g}s"\n'
    path = directory / "stompd.toml"
    path.write_text("\n".join(f"[[policy]]\n{policy}{lines}" for policy in _POLICIES))
    return path
