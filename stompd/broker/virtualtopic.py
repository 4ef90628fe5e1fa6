"""Virtual topics, as ActiveMQ has them: topics that are copied into the queues of their consumers.

Who publishes sends to ``/topic/VirtualTopic.X``. Who consumes takes from a queue of his own, whose
name says which topic it is for: ``/queue/Consumer.GROUP.VirtualTopic.X``. So several consumers can
share the work of one group, and a group misses nothing while none of its consumers is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from stompd.broker.pattern import MANY, ONE, matches, overlap, words_of

_TOPIC: Final = "/topic/"


@dataclass(frozen=True)
class VirtualTopics:
    """Which topics are virtual, and how the queues of their consumers are called."""

    # Patterns; without any there are no virtual topics.
    topics: tuple[str, ...] = ("/topic/VirtualTopic.#",)
    # `{group}` is one word, `{topic}` is the name of the topic without its kind.
    queues: str = "/queue/Consumer.{group}.{topic}"
    _patterns: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)
    _form: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out what every new queue is compared with.

        Raises `ValueError` unless ``queues`` has both its parts, once each.
        """
        if any(self.queues.count(part) != 1 for part in ("{group}", "{topic}")):
            raise ValueError("it has to hold {group} and {topic}, each once")
        form = re.escape(self.queues)
        form = form.replace(re.escape("{group}"), "(?P<group>[^./]+)")
        form = form.replace(re.escape("{topic}"), "(?P<topic>.+)")
        object.__setattr__(self, "_form", re.compile(form, re.DOTALL))
        object.__setattr__(self, "_patterns", tuple(map(words_of, self.topics)))

    def covers(self, words: tuple[str, ...]) -> bool:
        """Return whether the topic of these words is a virtual one."""
        return any(matches(pattern, words) for pattern in self._patterns)

    def topic_of(self, queue: str) -> tuple[str, ...] | None:
        """Return the words of the virtual topic that a queue is for; None if it is for none."""
        match = self._form.fullmatch(queue)
        if match is None:
            return None
        words = words_of(_TOPIC + match["topic"])
        return words if self.covers(words) else None

    def topics_of(self, pattern: str) -> tuple[str, tuple[str, ...]] | None:
        """Return group and pattern of topics of a subscription to the queues of one group.

        None if a pattern of queues is not of that kind.
        """
        match = self._form.fullmatch(pattern)
        if match is None or words_of(match["group"])[0] in (ONE, MANY, ">"):
            return None
        return match["group"], words_of(_TOPIC + match["topic"])

    def fed_to(self, queue: str, *, wild: bool) -> list[tuple[tuple[str, ...], ...]]:
        """Return what a subscription to a queue, or to a pattern of queues, gets from topics.

        Each is patterns that all match what it gets; the words of one topic, unless ``wild``.
        """
        if not wild:
            topic = self.topic_of(queue)
            return [] if topic is None else [(topic,)]
        joined = self.topics_of(queue)
        if joined is None:
            return []
        return [(joined[1], own) for own in self._patterns if overlap(joined[1], own)]

    def queue_of(self, group: str, topic: str) -> str:
        """Return the name of a group's queue for the topic ``topic``."""
        name = topic.removeprefix(_TOPIC)
        return self.queues.replace("{group}", group).replace("{topic}", name)
