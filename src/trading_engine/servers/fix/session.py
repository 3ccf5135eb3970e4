"""One FIX session as a state machine without I/O: which messages count, and what the session layer itself says to them.

Every message of either side has a number, and both sides remember the next one over connections, days and crashes. What is expected is
taken; what comes too early is held, and the other side asked for what is missing; what comes too late is a duplicate that says so, or the
end of the session, for then the two no longer agree about the past. So the layer above sees each message once and in order.

A message of the layer above is *taken* when it is delivered, and *answered* when that layer says so. Only then is it remembered as dealt
with: what a crash leaves unanswered is asked for again at the next logon, and orders are safe to enter twice because of their ClOrdID.

The driver (`connection`) hands in whole messages and the ticks of a clock, sends what it is given, and closes when it is told to:

    WAITING ──Logon──▶ AUTHENTICATING ──accept──▶ ACTIVE ──our Logout──▶ LEAVING ──theirs──▶ CLOSED
                             └──refuse──▶ CLOSED     └──their Logout, a violation, silence──▶ CLOSED

The rules and their order are those that the acceptance definitions of the QuickFIX engines test.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from trading_engine.servers.fix.clock import Clock, seconds_of, timestamp_of, utc_timestamp
from trading_engine.servers.fix.dictionary import (
    REASON_TEXT,
    Rejected,
    RejectReason,
    UnsupportedMessage,
    check,
)
from trading_engine.servers.fix.store import SessionRecord, SessionStore, StoredMessage
from trading_engine.servers.fix.tags import ADMIN, FIX42, FIX44, MsgType, Tag
from trading_engine.servers.fix.wire import Fields, Message, body_of, frame_of

SENDING_TIME_TOLERANCE_S = 120.0
LOGON_WAIT_S = 10.0
"""A connection without a Logon by then is closed."""
LOGOUT_WAIT_S = 5.0
"""How long the answer to a Logout is waited for."""
SILENCE_TOLERATED = 1.2
"""Heartbeat intervals without a message, after which a TestRequest asks; after twice as many the connection is closed."""
HEARTBEAT_S_MAX = 3600
COMP_ID_CHARACTERS_MAX = 64
HELD_MAX = 1_000
"""Messages that came too early and are held; later ones are dropped, and asked for with the rest."""
RESENDS_WAITING_MAX = 16
RESEND_PAGE = 200
"""Messages sent again in one go; then the driver looks whether the other side reads."""
REVERSED_ROUTES = {
    Tag.ON_BEHALF_OF_COMP_ID: Tag.DELIVER_TO_COMP_ID,
    Tag.ON_BEHALF_OF_SUB_ID: Tag.DELIVER_TO_SUB_ID,
    Tag.ON_BEHALF_OF_LOCATION_ID: Tag.DELIVER_TO_LOCATION_ID,
    Tag.DELIVER_TO_COMP_ID: Tag.ON_BEHALF_OF_COMP_ID,
    Tag.DELIVER_TO_SUB_ID: Tag.ON_BEHALF_OF_SUB_ID,
    Tag.DELIVER_TO_LOCATION_ID: Tag.ON_BEHALF_OF_LOCATION_ID,
}
UNSUPPORTED_MESSAGE_TYPE = "3"


class Phase(Enum):
    WAITING = auto()
    AUTHENTICATING = auto()
    ACTIVE = auto()
    LEAVING = auto()
    CLOSED = auto()


@dataclass(frozen=True)
class Logon:
    """What a Logon asks for."""

    begin_string: str
    sender_comp_id: str
    target_comp_id: str
    username: str
    password: str
    cancel_on_disconnect: str = ""
    """Y or N; empty where nothing is said."""


class Driver(Protocol):
    """What the session needs of the world."""

    def write(self, data: bytes) -> None:
        """Send this after the store's next commit."""

    def authenticate(self, logon: Logon) -> None:
        """Call `accept` or `refuse` some time; nothing is handed in until then."""

    def deliver(self, message: Message) -> None:
        """An application message, in its turn. `Session.answered` has to follow."""

    def close(self, reason: str) -> None:
        """Close the connection when what was written is out."""


class Session:
    def __init__(
        self, target_comp_ids: Sequence[str], heartbeat_s_min: int, store: SessionStore, driver: Driver, clock: Clock
    ) -> None:
        self.phase = Phase.WAITING
        self.logon = Logon("", "", "", "", "")
        self._target_comp_ids = target_comp_ids
        self._heartbeat_s_min = heartbeat_s_min
        self._store = store
        self._driver = driver
        self._clock = clock
        self._record = SessionRecord(0)
        self._first: Message | None = None
        self._heartbeat_s = 0
        self._began = self._last_in = self._last_out = self._left = clock.steady()
        self._test_was_sent = False
        self._next_in = 1
        self._unanswered: dict[int, Message] = {}
        self.held: dict[int, Message | None] = {}
        """Messages that came too early, by number; None for one that was dealt with when it came."""
        self._gap_end = 0
        """The highest number that is known to be missing."""
        self._gap_asked = 0.0
        self._resends: deque[Iterator[None]] = deque()

    @property
    def record(self) -> SessionRecord:
        """What the store remembers; who changes it calls `remember`."""
        return self._record

    @property
    def is_active(self) -> bool:
        return self.phase is Phase.ACTIVE

    @property
    def begin_string(self) -> str:
        return self.logon.begin_string

    @property
    def expected(self) -> int:
        """The number of the next message."""
        return self._next_in

    @property
    def unanswered(self) -> int:
        """How many messages the layer above has taken and not answered."""
        return len(self._unanswered)

    # Logging on

    def receive(self, message: Message) -> None:
        """A message came in."""
        if self.phase is Phase.WAITING:
            self._receive_first(message)
        elif self.phase in (Phase.ACTIVE, Phase.LEAVING):
            self._last_in = self._clock.steady()
            self._test_was_sent = False
            self._receive(message)

    def _receive_first(self, message: Message) -> None:
        """The Logon, or whatever somebody sends who knows neither us nor the protocol: that is not answered."""
        target = message.get(Tag.TARGET_COMP_ID)
        sender = message.get(Tag.SENDER_COMP_ID)
        if message.msg_type != MsgType.LOGON or message.begin_string not in (FIX42, FIX44):
            self._close("the first message is no Logon of FIX 4.2 or 4.4")
        elif target not in self._target_comp_ids or not 0 < len(sender) <= COMP_ID_CHARACTERS_MAX:
            self._close(f"no session of {sender!r} with {target!r}")
        else:
            self.logon = Logon(
                message.begin_string,
                sender,
                target,
                message.get(Tag.USERNAME),
                message.get(Tag.PASSWORD),
                message.get(Tag.CANCEL_ON_DISCONNECT),
            )
            problem = self._problem_of_logon(message)
            if problem:
                self.refuse(problem)
                return
            self._first = message
            self.phase = Phase.AUTHENTICATING
            self._driver.authenticate(self.logon)

    def _problem_of_logon(self, message: Message) -> str:
        try:
            check(message)
        except Rejected as rejected:
            return str(rejected)
        if not self._is_recent(message.get(Tag.SENDING_TIME)):
            return REASON_TEXT[RejectReason.SENDING_TIME_ACCURACY]
        if _number_of(message) == 0:
            return "MsgSeqNum(34) is missing or no number"
        heartbeat_s = int(message.get(Tag.HEART_BT_INT))
        if not self._heartbeat_s_min <= heartbeat_s <= HEARTBEAT_S_MAX:
            return f"HeartBtInt(108) has to be from {self._heartbeat_s_min} to {HEARTBEAT_S_MAX}"
        if message.get(Tag.ENCRYPT_METHOD) != "0":
            return "EncryptMethod(98) has to be 0"
        return ""

    def refuse(self, reason: str) -> None:
        """Whoever wants to log on may not. The Logout carries number 1 and is not remembered: whose number it would be is not known."""
        header = self._header(MsgType.LOGOUT, 1, utc_timestamp(self._clock.utc()))
        self._driver.write(frame_of(self.begin_string, header, body_of([(Tag.TEXT, reason)])))
        self._close(f"logon refused: {reason}")

    def accept(self, record: SessionRecord) -> None:
        """Let it in, with what is remembered of it."""
        message = self._first
        assert message is not None, self.phase
        self._first = None
        self.phase = Phase.ACTIVE
        self._record, self._next_in = record, record.next_in
        self._began = self._last_in = self._clock.steady()
        self._heartbeat_s = int(message.get(Tag.HEART_BT_INT))
        number = _number_of(message)
        if message.get(Tag.RESET_SEQ_NUM_FLAG) == "Y":
            self._answer_reset(number)
        elif number < self._next_in:
            self._log_out(self._too_low(number))
            self._close("MsgSeqNum too low at logon")
        else:
            self._answer_logon(is_reset=False)
            if number > self._next_in:
                self._too_early(message, number)
            else:
                self._advance(number + 1)

    def _answer_logon(self, *, is_reset: bool) -> None:
        fields = [(Tag.ENCRYPT_METHOD, "0"), (Tag.HEART_BT_INT, str(self._heartbeat_s))]
        self.send(MsgType.LOGON, [*fields, (Tag.RESET_SEQ_NUM_FLAG, "Y")] if is_reset else fields)

    def _answer_reset(self, number: int) -> None:
        """Both sides begin with 1 again; what was sent before can no longer be asked for."""
        if number != 1:
            self._log_out("A Logon with ResetSeqNumFlag(141) has to have MsgSeqNum 1")
            self._close("reset with another number than 1")
            return
        self.held.clear()
        self._unanswered.clear()
        self._resends.clear()
        self._gap_end = 0
        self._store.begin_anew(self._record)
        self._next_in = 1
        self._answer_logon(is_reset=True)
        self._advance(2)

    # Receiving

    def _receive(self, message: Message) -> None:
        number = _number_of(message)
        if self.phase is Phase.LEAVING and message.msg_type not in (MsgType.LOGOUT, MsgType.RESEND_REQUEST):
            return  # It is asked for again at the next logon.
        if message.begin_string != self.begin_string:
            self._end("Incorrect BeginString")
        elif number == 0:
            self._end("MsgSeqNum(34) is missing or no number")
        elif self._names_this_session(message) and self._is_in_time(message, number):
            self._in_turn(message, number)

    def _names_this_session(self, message: Message) -> bool:
        comp_ids = (message.get(Tag.SENDER_COMP_ID), message.get(Tag.TARGET_COMP_ID))
        if comp_ids == (self.logon.sender_comp_id, self.logon.target_comp_id):
            return True
        self._reject_and_leave(message, RejectReason.COMP_ID_PROBLEM)
        return False

    def _is_in_time(self, message: Message, number: int) -> bool:
        if not self._is_recent(message.get(Tag.SENDING_TIME)):
            self._reject_and_leave(message, RejectReason.SENDING_TIME_ACCURACY)
            return False
        if message.get(Tag.POSS_DUP_FLAG) != "Y" or message.msg_type == MsgType.SEQUENCE_RESET:
            return True
        original = message.get(Tag.ORIG_SENDING_TIME)
        if not original:
            self._reject(message, Rejected(RejectReason.REQUIRED_TAG_MISSING, Tag.ORIG_SENDING_TIME))
            if number == self._next_in:
                self._advance(number + 1)
                self._take_held()
            return False
        first, again = timestamp_of(original), timestamp_of(message.get(Tag.SENDING_TIME))
        if first is None or again is None or first > again:
            self._reject_and_leave(message, RejectReason.SENDING_TIME_ACCURACY)
            return False
        return True

    def _is_recent(self, sending_time: str) -> bool:
        moment = timestamp_of(sending_time)
        return moment is not None and abs(seconds_of(moment) - self._clock.utc()) <= SENDING_TIME_TOLERANCE_S

    def _in_turn(self, message: Message, number: int) -> None:
        """Take the message if it is the next one, and then what was held behind it."""
        kind = message.msg_type
        if kind == MsgType.LOGON and message.get(Tag.RESET_SEQ_NUM_FLAG) == "Y":
            self._answer_reset(number)
        elif kind == MsgType.SEQUENCE_RESET and message.get(Tag.GAP_FILL_FLAG) != "Y":
            self._reset_sequence(message)
        elif number > self._next_in:
            self._too_early(message, number)
        elif number < self._next_in:
            self._too_late(message, number)
        else:
            self._take(message, number)
            self._take_held()

    def _too_early(self, message: Message, number: int) -> None:
        if message.msg_type == MsgType.LOGOUT:
            self._leave_together()
            return
        held: Message | None = message
        if message.msg_type in (MsgType.LOGON, MsgType.RESEND_REQUEST):
            # Answered now: two sides that each miss something must not wait for one another.
            held = None
            if message.msg_type == MsgType.RESEND_REQUEST and self._is_well_formed(message):
                self._begin_resend(message)
        if len(self.held) < HELD_MAX or number in self.held:
            self.held[number] = held
        gap_was_open = self._next_in <= self._gap_end
        self._gap_end = max(self._gap_end, number - 1)
        if not gap_was_open:
            self._ask_for_gap()

    def _ask_for_gap(self) -> None:
        self._gap_asked = self._clock.steady()
        self.send(MsgType.RESEND_REQUEST, [(Tag.BEGIN_SEQ_NO, str(self._next_in)), (Tag.END_SEQ_NO, "0")])

    def _too_late(self, message: Message, number: int) -> None:
        if message.get(Tag.POSS_DUP_FLAG) != "Y":
            self._end(self._too_low(number))

    def _too_low(self, number: int) -> str:
        return f"MsgSeqNum too low, expecting {self._next_in} but received {number}"

    def _take_held(self) -> None:
        while self._next_in in self.held and self.phase is Phase.ACTIVE:
            number = self._next_in
            message = self.held.pop(number)
            if message is None:
                self._advance(number + 1)
            else:
                self._take(message, number)

    def _take(self, message: Message, number: int) -> None:
        """The next message."""
        if not self._is_well_formed(message):
            self._advance(number + 1)
        elif message.msg_type in ADMIN:
            self._take_admin(message, number)
        else:
            self._take_application(message, number)

    def _is_well_formed(self, message: Message) -> bool:
        try:
            check(message)
        except Rejected as rejected:
            self._reject(message, rejected)
            return False
        except UnsupportedMessage:
            self.send(
                MsgType.BUSINESS_MESSAGE_REJECT,
                [
                    (Tag.REF_SEQ_NUM, message.get(Tag.MSG_SEQ_NUM)),
                    (Tag.TEXT, "Unsupported message type"),
                    (Tag.REF_MSG_TYPE, message.msg_type),
                    (Tag.BUSINESS_REJECT_REASON, UNSUPPORTED_MESSAGE_TYPE),
                ],
            )
            return False
        return True

    def _take_application(self, message: Message, number: int) -> None:
        if number in self._record.answered:
            self._advance(number + 1)
            return
        self._unanswered[number] = message
        self._advance(number + 1)
        self._driver.deliver(message)

    def answered(self, message: Message) -> None:
        """The layer above has dealt with the message, and sent what it had to say to it."""
        number = _number_of(message)
        if self._unanswered.get(number) is not message:
            return  # The numbers have begun anew since.
        del self._unanswered[number]
        first = next(iter(self._unanswered), self._next_in)
        done = {*self._record.answered, number}
        self._record.answered = tuple(sorted(n for n in done if n > first))
        self._record.next_in = first
        self.remember()

    def answered_before(self, number: int) -> None:
        """A message that an earlier connection left unanswered, and that has not come again yet, needs no answer any more."""
        if number >= self._next_in:
            self._record.answered = tuple(sorted({*self._record.answered, number}))
            self.remember()

    def _advance(self, next_in: int) -> None:
        """Everything before `next_in` has come."""
        self._next_in = next_in
        if not self._unanswered:
            self._record.next_in = next_in
            self._record.answered = tuple(n for n in self._record.answered if n >= next_in)
        self.remember()

    def remember(self) -> None:
        self._store.update(self._record)

    # The session layer's own messages

    def _take_admin(self, message: Message, number: int) -> None:
        if message.msg_type == MsgType.SEQUENCE_RESET:
            self._take_gap_fill(message, number)
            return
        self._advance(number + 1)
        match message.msg_type:
            case MsgType.TEST_REQUEST:
                self.send(MsgType.HEARTBEAT, [(Tag.TEST_REQ_ID, message.get(Tag.TEST_REQ_ID))])
            case MsgType.RESEND_REQUEST:
                self._begin_resend(message)
            case MsgType.LOGOUT:
                self._leave_together()
            case MsgType.LOGON:
                self._end("Logged on already")
            case _:
                """A Heartbeat or a Reject needs no answer."""

    def _leave_together(self) -> None:
        if self.phase is Phase.ACTIVE:
            self._log_out("")
        self._close("logged out")

    def _take_gap_fill(self, message: Message, number: int) -> None:
        next_number = int(message.get(Tag.NEW_SEQ_NO))
        if next_number <= number:
            self._reject(message, Rejected(RejectReason.VALUE_INCORRECT, Tag.NEW_SEQ_NO))
            self._advance(number + 1)
        else:
            self._jump(next_number)

    def _reset_sequence(self, message: Message) -> None:
        """SequenceReset without gap fill: whatever its own number, the other side goes on from the number that it says."""
        if not self._is_well_formed(message):
            return
        next_number = int(message.get(Tag.NEW_SEQ_NO))
        if next_number < self._next_in:
            self._reject(message, Rejected(RejectReason.VALUE_INCORRECT, Tag.NEW_SEQ_NO))
        else:
            self._jump(next_number)
            self._take_held()

    def _jump(self, next_number: int) -> None:
        for number in [number for number in self.held if number < next_number]:
            del self.held[number]
        self._advance(next_number)

    # Sending again

    def _begin_resend(self, message: Message) -> None:
        if len(self._resends) >= RESENDS_WAITING_MAX:
            self._end("Too many ResendRequests at once")
            return
        first, last = max(1, int(message.get(Tag.BEGIN_SEQ_NO))), int(message.get(Tag.END_SEQ_NO))
        sent = self._record.next_out - 1
        self._resends.append(self._send_again(first, min(last, sent) if last else sent))

    @property
    def is_resending(self) -> bool:
        return bool(self._resends)

    def resend_more(self) -> None:
        """Send the next page of what was asked for."""
        try:
            next(self._resends[0])
        except StopIteration:
            self._resends.popleft()

    def _send_again(self, first: int, last: int) -> Iterator[None]:
        """Kept messages as possible duplicates, a gap fill for what lies between them."""
        next_number = first
        while next_number <= last:
            page = self._store.kept(self._record.session_id, next_number, last, RESEND_PAGE)
            for message in page:
                if message.number > next_number:
                    self._fill_gap(next_number, message.number)
                self._write_again(message)
                next_number = message.number + 1
            if not page:
                break
            yield
        if next_number <= last:
            self._fill_gap(next_number, last + 1)

    def _write_again(self, message: StoredMessage) -> None:
        now = utc_timestamp(self._clock.utc())
        header = self._header(message.msg_type, message.number, now, original=message.sending_time)
        self._write(frame_of(self.begin_string, header, message.body))

    def _fill_gap(self, first: int, next_number: int) -> None:
        now = utc_timestamp(self._clock.utc())
        header = self._header(MsgType.SEQUENCE_RESET, first, now, original=now)
        body = body_of([(Tag.NEW_SEQ_NO, str(next_number)), (Tag.GAP_FILL_FLAG, "Y")])
        self._write(frame_of(self.begin_string, header, body))

    # Sending

    def send(self, msg_type: str, fields: Fields, *, keep: bool = True) -> None:
        """Send a message under the next number. One of the layer above is kept, so that it can be asked for, unless `keep` is False."""
        number, now = self._record.next_out, utc_timestamp(self._clock.utc())
        body = body_of(fields)
        if keep and msg_type not in ADMIN:
            self._store.keep(self._record.session_id, StoredMessage(number, msg_type, now, body))
        self._record.next_out = number + 1
        self.remember()
        self._write(frame_of(self.begin_string, self._header(msg_type, number, now), body))

    def _header(self, msg_type: str, number: int, now: str, original: str = "") -> Fields:
        yield Tag.MSG_TYPE, msg_type
        yield Tag.MSG_SEQ_NUM, str(number)
        if original:
            yield Tag.POSS_DUP_FLAG, "Y"
        yield Tag.SENDER_COMP_ID, self.logon.target_comp_id
        yield Tag.SENDING_TIME, now
        yield Tag.TARGET_COMP_ID, self.logon.sender_comp_id
        if original:
            yield Tag.ORIG_SENDING_TIME, original

    def _write(self, data: bytes) -> None:
        self._last_out = self._clock.steady()
        self._driver.write(data)

    def _reject(self, message: Message, rejected: Rejected) -> None:
        fields = [(theirs, message.get(ours)) for ours, theirs in REVERSED_ROUTES.items() if message.get(ours)]
        fields += [(Tag.REF_SEQ_NUM, message.get(Tag.MSG_SEQ_NUM)), (Tag.TEXT, REASON_TEXT[rejected.reason])]
        if rejected.tag is not None:
            fields.append((Tag.REF_TAG_ID, str(rejected.tag)))
        fields += [(Tag.REF_MSG_TYPE, message.msg_type), (Tag.SESSION_REJECT_REASON, str(rejected.reason.value))]
        self.send(MsgType.REJECT, fields)

    # Leaving

    def _reject_and_leave(self, message: Message, reason: RejectReason) -> None:
        """The other side is not who it was, or its clock is wrong: say so, and wait for its Logout."""
        if self.phase is Phase.LEAVING:
            if message.msg_type == MsgType.LOGOUT:
                self._close("logged out")
            return
        self._reject(message, Rejected(reason))
        if _number_of(message) == self._next_in:
            self._advance(self._next_in + 1)
        self.leave("")

    def leave(self, reason: str) -> None:
        """Log out, and close when the other side has done so too."""
        if self.phase is Phase.ACTIVE:
            self._log_out(reason)
            self.phase = Phase.LEAVING
            self._left = self._clock.steady()
        elif self.phase is not Phase.LEAVING:
            self._close(reason)

    def _end(self, reason: str) -> None:
        """The two sides no longer agree: log out and close."""
        if self.phase is Phase.ACTIVE:
            self._log_out(reason)
        self._close(reason)

    def _log_out(self, reason: str) -> None:
        self.send(MsgType.LOGOUT, [(Tag.TEXT, reason)] if reason else [])

    def _close(self, reason: str) -> None:
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._resends.clear()
            self._driver.close(reason)

    # Time

    def tick(self) -> None:
        """Called about once a second."""
        now = self._clock.steady()
        if self.phase in (Phase.WAITING, Phase.AUTHENTICATING):
            if now - self._began >= LOGON_WAIT_S:
                self._close("no Logon in time")
        elif self.phase is Phase.LEAVING:
            if now - self._left >= LOGOUT_WAIT_S:
                self._close("no answer to the Logout")
        elif self.phase is Phase.ACTIVE:
            self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        silent_s = now - self._last_in
        if silent_s >= 2 * SILENCE_TOLERATED * self._heartbeat_s:
            self._end("No answer to a TestRequest")
            return
        if silent_s >= SILENCE_TOLERATED * self._heartbeat_s and not self._test_was_sent:
            self._test_was_sent = True
            self.send(MsgType.TEST_REQUEST, [(Tag.TEST_REQ_ID, utc_timestamp(self._clock.utc()))])
        if self._next_in <= self._gap_end and now - self._gap_asked >= self._heartbeat_s:
            self._ask_for_gap()
        if now - self._last_out >= self._heartbeat_s:
            self.send(MsgType.HEARTBEAT, [])


def _number_of(message: Message) -> int:
    """MsgSeqNum; 0 where there is none, or none that a message may have."""
    text = message.get(Tag.MSG_SEQ_NUM)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
