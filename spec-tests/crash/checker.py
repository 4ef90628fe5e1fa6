"""Judge a history: what did the broker break of what it promises about messages.

Only what is certain is reported. A frame whose RECEIPT did not come may have been carried out or
not; either is right, as long as it is all of it. `docs/durability.md` has the promises.
"""

from collections import defaultdict

from crash.facts import Copy, CopyFacts, Facts, TransactionFacts
from crash.further import SLACK, further
from crash.history import Delivered, Event, Receipt, Retained, Sent
from crash.violation import Kind, Violation


def violations(events: list[Event]) -> list[Violation]:
    """Return everything that is certainly wrong in a history, in no particular order."""
    return _Checker(events).run()


class _Checker(Facts):
    def run(self) -> list[Violation]:
        self._receipts()
        self._ghosts()
        for copy, known in self.copies.items():
            self._lost(copy, known)
            self._came_back(copy, known)
            self._marked(copy, known)
            self._early(copy, known)
        for name, transaction in self.transactions.items():
            self._whole(name, transaction)
        self._order()
        self._retained()
        further(self)
        return self.found

    # -- What must not be ----------------------------------------------------------------------

    def _receipts(self) -> None:
        """Receipts are for frames that asked, one for each, in their order."""
        last: dict[str, int] = {}
        counted: set[str] = set()
        for at, event in enumerate(self.events):
            if not isinstance(event, Receipt):
                continue
            asked = self.asked.get(event.frame)
            if asked is None or asked > at:
                self.report("receipt", f"{event.frame} was never asked for", at)
                continue
            if event.frame in counted:
                self.report("receipt", f"{event.frame} came twice", asked, at)
            elif asked < last.get(event.session, -1):
                self.report("receipt", f"{event.frame} is out of order", asked, at)
            counted.add(event.frame)
            last[event.session] = max(asked, last.get(event.session, -1))

    def _ghosts(self) -> None:
        """Nothing is delivered that was not sent there, or that was not committed."""
        for (uid, place), known in self.copies.items():
            for at in known.deliveries:
                before = [send for send in known.sends if send < at]
                if not before:
                    self.report("ghost", f"{uid} at {place} was never sent there", at)
                    continue
                effective = [self.effective(send) for send in before]
                if not any(where is not None and where < at for where in effective):
                    sends = [self.carrier(send) for send in before]
                    refused = any(send is not None and self.is_refused(send) for send in sends)
                    kind: Kind = "refused" if refused else "uncommitted"
                    self.report(kind, f"{uid} at {place}", *before, at)
                    break

    def _lost(self, copy: Copy, known: CopyFacts) -> None:
        """What was confirmed is there, until it is settled."""
        uid, place = copy
        if not self.drained or self.may_be_settled(copy, known):
            return
        if any(not self.sent(at).times for at in known.sends):
            # It may not have been due as yet; that it is to come at all is another rule.
            return
        for at in known.sends:
            since = self.certain(at)
            if since is None or not self.stored(at, place):
                continue
            if not self.sent(at).persistent and self.crashed(self.sent(at)):
                continue
            if self.may_be_wasted(at, place):
                continue
            self.report("lost", f"{uid} at {place}", at, since, *known.deliveries, *known.settles)
            return

    def _came_back(self, copy: Copy, known: CopyFacts) -> None:
        """What was settled is delivered to nobody any more."""
        uid, place = copy
        if self.is_repeated(known):
            return
        for at in known.settles:
            settled = self.settled(at)
            since = self.certain(at)
            if since is None or settled.verdict == "nack":
                continue
            for again in known.deliveries:
                gone = settled.verdict == "ack" or not self.delivered(again).dead
                if gone and self.horizon[again] > since:
                    text = f"{uid} at {place}, after the receipt for its {settled.verdict}"
                    self.report("came back", text, *known.sends, at, since, again)
                    return
        epochs: dict[int, int] = {}
        for at in known.deliveries:
            delivered = self.delivered(at)
            epoch = self.epoch[delivered.session]
            if epoch in epochs and self.horizon[at] > epochs[epoch]:
                text = f"{uid} at {place}, after it was delivered automatically"
                self.report("came back", text, epochs[epoch], at)
                return
            if delivered.auto:
                epochs.setdefault(epoch, at)

    def _marked(self, copy: Copy, known: CopyFacts) -> None:
        """What was delivered before says so, unless the broker was killed meanwhile."""
        uid, place = copy
        if self.is_repeated(known):
            return
        first: dict[tuple[int, bool], int] = {}
        for at in known.deliveries:
            delivered = self.delivered(at)
            if delivered.redelivered:
                continue
            key = (self.epoch[delivered.session], delivered.dead)
            if key in first:
                self.report("unmarked duplicate", f"{uid} at {place}", first[key], at)
                return
            first[key] = at

    def _early(self, copy: Copy, known: CopyFacts) -> None:
        """Nothing is delivered before it is due; what is pushed out is a dead letter at once."""
        for at in known.deliveries:
            if self.delivered(at).reason == "overflow":
                continue
            due = [self.sent(send).due for send in known.sends if send < at]
            if due and self.delivered(at).at < min(due) - SLACK:
                self.report("early", f"{copy[0]} at {copy[1]}", *known.sends, at)
                return

    def _whole(self, name: str, transaction: TransactionFacts) -> None:
        """Of a transaction without its receipt either everything took effect, or nothing."""
        committed = transaction.committed
        if committed is None or committed in self.confirmed:
            return
        crashed = self.crashed(self.events[committed])
        done: list[int] = []
        undone: list[int] = []
        for at in transaction.sends:
            sent = self.sent(at)
            for place in [place for uid, place in self.copies_of(sent.uid)]:
                copy = (sent.uid, place)
                known = self.copies[copy]
                # What was delivered before a crash may not have been on disk yet.
                kept = [
                    delivery
                    for delivery in known.deliveries
                    if not crashed or self.epoch_of(delivery) > self.epoch_of(committed)
                ]
                if kept:
                    done += [at, kept[0]]
                elif (
                    self.drained
                    and sent.persistent
                    and self.stored(at, place)
                    and not self.may_be_settled(copy, known)
                    and not self.may_be_wasted(at, place)
                ):
                    undone.append(at)
        for at in transaction.settles:
            if self.settled(at).verdict != "ack":
                continue
            for delivery in self.settled(at).deliveries:
                delivered = self.delivered(delivery)
                copy = (delivered.uid, delivered.place)
                known = self.copies[copy]
                again = [
                    place
                    for place in known.deliveries
                    if self.horizon[place] > committed
                    and self.delivered(place).session != delivered.session
                ]
                if again:
                    undone += [at, again[0]]
                elif (
                    self.drained
                    and not self.may_be_settled(copy, known, without=name)
                    and self.was_kept(copy, known)
                ):
                    done.append(at)
        if done and undone:
            self.report("in part", f"transaction {name}", committed, *done, *undone)

    def _order(self) -> None:
        """What one session sent to one place comes to one subscription in that order."""
        last: dict[tuple[object, ...], tuple[tuple[int, int], int]] = {}
        for at, event in enumerate(self.events):
            if not isinstance(event, Delivered) or event.redelivered or event.dead:
                continue
            sends = self.copies[event.uid, event.place].sends
            if len(sends) != 1:
                continue
            sent = self.sent(sends[0])
            effective = self.effective(sends[0])
            if sent.due or effective is None:
                continue
            # What a group held back that was another's comes when that one has left.
            one = (event.session, event.subscription, event.place)
            key = (*one, sent.session, sent.priority, sent.group)
            turn = (effective, sends[0])
            if key in last and turn < last[key][0]:
                text = f"{event.uid} at {event.place}, after what was sent later"
                self.report("order", text, sends[0], last[key][0][1], last[key][1], at)
            else:
                last[key] = (turn, at)

    def _retained(self) -> None:
        """A new subscription gets the last retained message that was confirmed, or a later one."""
        values: dict[str, list[int]] = defaultdict(list)
        for at, event in enumerate(self.events):
            if isinstance(event, Sent) and (event.retained or event.removes):
                values[event.destination].append(at)
        for at, event in enumerate(self.events):
            if not isinstance(event, Retained):
                continue
            asked = self.asked[event.frame]
            sends = [send for send in values[event.topic] if send < at]
            known = [send for send in sends if self.confirmed.get(send, asked) < asked]
            if event.uid is None:
                right = [send for send in sends if self.sent(send).removes]
            else:
                right = [send for send in sends if self.sent(send).uid == event.uid]
            if known and (not right or max(right) < max(known)):
                text = f"{event.uid} is retained by {event.topic}"
                self.report("stale", text, max(known), asked, at)
