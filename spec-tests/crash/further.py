"""The rules for what is more than queues and topics: selectors, groups, limits, time, dead letters.

See `crash.checker`, which asks for them.
"""

from collections import defaultdict

from crash.facts import CopyFacts, Facts
from crash.history import Delivered, Sent, Standing

# Clocks of two processes on one machine agree but for this, in seconds. A broker that is busy takes
# a SEND to have come when it last looked at its clock, and that is where a delay begins.
SLACK = 0.1


def further(facts: Facts) -> None:
    """Report what breaks these rules."""
    for (uid, place), known in list(facts.copies.items()):
        _unwanted(facts, uid, known)
        _late(facts, uid, known)
        _dead(facts, uid, place, known)
        if facts.is_repeated(known):
            _repeated(facts, uid, known)
        else:
            _held_twice(facts, uid, known)
    _grouped(facts)
    _overfull(facts)
    _standing(facts)


def _unwanted(facts: Facts, uid: str, known: CopyFacts) -> None:
    """Who has a selector gets nothing else."""
    for at in known.deliveries:
        delivered = facts.delivered(at)
        subscribed = facts.subscribed.get((delivered.session, delivered.subscription))
        if subscribed is None or subscribed.wants is None:
            continue
        if all(facts.sent(send).colour != subscribed.wants for send in known.sends):
            text = f"{uid} by who wants {subscribed.wants} only"
            facts.report("unwanted", text, *known.sends, at)


def _held_twice(facts: Facts, uid: str, known: CopyFacts) -> None:
    """What somebody has and has not settled is nobody else's, however many share a place."""
    for number, at in enumerate(known.deliveries):
        for held in known.deliveries[:number]:
            both = facts.delivered(held), facts.delivered(at)
            if both[0].auto or both[0].dead != both[1].dead:
                continue
            if facts.horizon[at] > held and facts.holds(held, at):
                facts.report("held twice", f"{uid} at {both[0].place}", held, at)
                return


def _grouped(facts: Facts) -> None:
    """A group belongs to one subscription while that lives, and comes in the order of sending."""
    # Place and group: where each owner got something of it.
    owners: dict[tuple[str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    # Place, group, sender, life and priority: the last turn, and where it came.
    last: dict[tuple[object, ...], tuple[tuple[int, int], int]] = {}
    for at, event in enumerate(facts.events):
        if not isinstance(event, Delivered) or event.dead:
            continue
        sends = facts.copies[event.uid, event.place].sends
        sent = facts.sent(sends[0]) if sends else None
        if sent is None or sent.group is None:
            continue
        owner = (event.session, event.subscription)
        group = owners[event.place, sent.group]
        for other, since in group.items():
            if other == owner or facts.horizon[at] <= since:
                continue
            if facts.lived.get(other[0], -1) > at:
                text = f"{sent.group} at {event.place} belongs to {other[0]} yet"
                facts.report("group", text, since, at)
        group.setdefault(owner, at)
        effective = facts.effective(sends[0])
        if event.redelivered or sent.due or len(sends) != 1 or effective is None:
            continue
        key = (event.place, sent.group, sent.session, facts.epoch_of(at), sent.priority)
        turn = (effective, sends[0])
        if key not in last or turn > last[key][0]:
            last[key] = (turn, at)
        elif facts.horizon[at] > last[key][1]:
            text = f"{event.uid} of {sent.group} at {event.place}, after what was sent later"
            facts.report("group", text, sends[0], last[key][0][1], last[key][1], at)


def _overfull(facts: Facts) -> None:
    """A place with a limit holds no more than that."""
    if not facts.drained:
        # What was pushed out is known in the end only.
        return
    changes: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for (uid, place), known in facts.copies.items():
        rule = facts.rules.get(place)
        if rule is None or not rule.most or len(known.sends) != 1:
            continue
        since = facts.certain(known.sends[0])
        sent = facts.sent(known.sends[0])
        died = any(facts.delivered(at).dead or facts.delivered(at).auto for at in known.deliveries)
        if since is None or died or not sent.persistent or facts.is_repeated(known):
            continue
        gone = [at for at in known.settles if facts.settled(at).verdict != "nack"]
        changes[place].append((since, 1, uid))
        if gone:
            changes[place].append((max(since, gone[0]), -1, uid))
    for place, steps in changes.items():
        count = 0
        for at, step, uid in sorted(steps):
            count += step
            if count > facts.rules[place].most:
                text = f"{place} holds {count} messages, with {uid}"
                facts.report("overfull", text, at)
                break


def _late(facts: Facts, uid: str, known: CopyFacts) -> None:
    """What has expired is delivered to nobody, but as a dead letter."""
    expiries = [facts.sent(send).expires for send in known.sends]
    if not expiries or not all(expiries):
        return
    for at in known.deliveries:
        delivered = facts.delivered(at)
        if not delivered.dead and facts.opened[delivered.session].at > max(expiries) + SLACK:
            text = f"{uid} at {delivered.place}, to who came when it had expired"
            facts.report("late", text, *known.sends, at)
            return


def _dead(facts: Facts, uid: str, place: str, known: CopyFacts) -> None:
    """A dead letter has a reason that is true, and stays one."""
    died: dict[int, int] = {}
    for at in known.deliveries:
        delivered = facts.delivered(at)
        epoch = facts.epoch_of(at)
        if delivered.dead:
            died.setdefault(epoch, at)
            _reason(facts, uid, at, known)
        elif facts.horizon[at] > died.get(epoch, at) and not facts.is_repeated(known):
            text = f"{uid} at {place}, after it was a dead letter"
            facts.report("came back", text, died[epoch], at)
    rule = facts.rules.get(place)
    if rule is None or not rule.attempts or facts.is_repeated(known):
        return
    nacked = sorted(
        since
        for at in known.settles
        if facts.settled(at).verdict == "nack"
        and not _of_dead(facts, uid, at)
        and (since := facts.certain(at)) is not None
    )
    if len(nacked) < rule.attempts:
        return
    since = nacked[rule.attempts - 1]
    for at in known.deliveries:
        if not facts.delivered(at).dead and facts.horizon[at] > since:
            text = f"{uid} at {place}, after {rule.attempts} attempts"
            facts.report("came back", text, *known.settles, at)
            return


def _of_dead(facts: Facts, uid: str, settle: int) -> bool:
    """Tell whether it was a dead letter that somebody settled."""
    deliveries = map(facts.delivered, facts.settled(settle).deliveries)
    return any(delivered.uid == uid and delivered.dead for delivered in deliveries)


def _reason(facts: Facts, uid: str, at: int, known: CopyFacts) -> None:
    delivered = facts.delivered(at)
    sends = [facts.sent(send) for send in known.sends]
    rule = facts.rules.get(delivered.place)
    verdicts = [facts.settled(settle).verdict for settle in known.settles if settle < at]
    text = f"{uid} at {delivered.place}: {delivered.reason}"
    if delivered.reason == "expired":
        expiries = [sent.expires for sent in sends if sent.expires]
        if not expiries:
            facts.report("buried", text, *known.sends, at)
        elif delivered.at < min(expiries) - SLACK:
            facts.report("early", text, *known.sends, at)
    elif delivered.reason == "rejected" and "dead" not in verdicts:
        facts.report("buried", text, *known.sends, at)
    elif delivered.reason == "max-deliveries" and rule is not None:
        # Who leaves without a word may have cost an attempt.
        users = {
            session
            for (session, _), subscribed in facts.subscribed.items()
            if subscribed.place == delivered.place
        }
        if verdicts.count("nack") + len(users) < rule.attempts:
            facts.report("buried", text, *known.sends, *known.settles, at)
    elif delivered.reason == "overflow" and rule is not None and not rule.drops:
        facts.report("buried", text, *known.sends, at)


def _repeated(facts: Facts, uid: str, known: CopyFacts) -> None:
    """What is sent again and again comes in its time, so often, and to its end."""
    if len(known.sends) != 1:
        return
    send = known.sends[0]
    sent = facts.sent(send)
    # What was acknowledged for certain is settled each time, and what is not marked, between two
    # crashes, comes for the first time.
    apart: dict[object, list[int]] = defaultdict(list)
    for at in known.settles:
        if facts.settled(at).verdict == "ack" and facts.certain(at) is not None:
            for name in facts.settled(at).deliveries:
                if facts.delivered(name).uid == uid:
                    apart["settled"].append(facts.delivery[name])
    for at in known.deliveries:
        if not facts.delivered(at).redelivered and not facts.delivered(at).dead:
            apart[facts.epoch_of(at)].append(at)
    for occurrences in apart.values():
        for number, at in enumerate(sorted(occurrences, key=lambda at: facts.delivered(at).at)):
            due = sent.due + number * sent.period
            if (sent.times and number >= sent.times) or facts.delivered(at).at < due - SLACK:
                facts.report("too often", f"{uid}, the {number + 1}. time", send, *occurrences)
                break
    if not facts.drained or facts.certain(send) is None or not sent.persistent or not sent.times:
        return
    last = max((facts.delivered(at).at for at in known.deliveries), default=0.0)
    if last < sent.due + (sent.times - 1) * sent.period - SLACK:
        facts.report("schedule", f"{uid} was not sent to its end", send, *known.deliveries)


def _standing(facts: Facts) -> None:
    """What is sent without end goes on until it is dropped."""
    gone: set[str] = set()
    for at, event in enumerate(facts.events):
        if not isinstance(event, Standing):
            continue
        before = {
            other.uid: send
            for send, other in enumerate(facts.events[:at])
            if isinstance(other, Sent) and other.destination == event.place and other.times == 0
        }
        for uid, send in before.items():
            since = facts.certain(send)
            certain = since is not None and since < at and facts.sent(send).persistent
            if certain and uid not in gone and uid not in event.uids:
                facts.report("schedule", f"{uid} is not to be sent again", send, at)
        for uid in set(event.uids):
            if uid not in before:
                facts.report("ghost", f"{uid} at {event.place} was never sent there", at)
            elif uid in gone:
                facts.report("came back", f"{uid} at {event.place}, after it was dropped", at)
            elif event.uids.count(uid) > 1:
                facts.report("too often", f"{uid} at {event.place}", before[uid], at)
        gone |= before.keys()
