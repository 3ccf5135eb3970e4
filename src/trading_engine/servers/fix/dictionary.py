"""What a message that is sent to the gateway may contain, and in which form.

A field that the gateway does not know is refused instead of being passed over: an order whose terms were half understood is not the
order that was meant. What a counterparty sends for its own purposes and what changes nothing here (HandlInst, parties, capacity, …) is
listed as such. The reasons are those of SessionRejectReason(373).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from trading_engine.servers.fix.clock import date_of, timestamp_of
from trading_engine.servers.fix.tags import FIX42, FIX44, MsgType
from trading_engine.servers.fix.wire import Message


class RejectReason(IntEnum):
    """SessionRejectReason(373)."""

    INVALID_TAG_NUMBER = 0
    REQUIRED_TAG_MISSING = 1
    TAG_NOT_DEFINED_FOR_MESSAGE = 2
    TAG_WITHOUT_VALUE = 4
    VALUE_INCORRECT = 5
    INCORRECT_DATA_FORMAT = 6
    COMP_ID_PROBLEM = 9
    SENDING_TIME_ACCURACY = 10
    INVALID_MSG_TYPE = 11
    TAG_REPEATED = 13
    TAG_OUT_OF_ORDER = 14
    GROUP_OUT_OF_ORDER = 15
    GROUP_COUNT_INCORRECT = 16


REASON_TEXT: dict[RejectReason, str] = {
    RejectReason.INVALID_TAG_NUMBER: "Invalid tag number",
    RejectReason.REQUIRED_TAG_MISSING: "Required tag missing",
    RejectReason.TAG_NOT_DEFINED_FOR_MESSAGE: "Tag not defined for this message type",
    RejectReason.TAG_WITHOUT_VALUE: "Tag specified without a value",
    RejectReason.VALUE_INCORRECT: "Value is incorrect (out of range) for this tag",
    RejectReason.INCORRECT_DATA_FORMAT: "Incorrect data format for value",
    RejectReason.COMP_ID_PROBLEM: "CompID problem",
    RejectReason.SENDING_TIME_ACCURACY: "SendingTime accuracy problem",
    RejectReason.INVALID_MSG_TYPE: "Invalid MsgType",
    RejectReason.TAG_REPEATED: "Tag appears more than once",
    RejectReason.TAG_OUT_OF_ORDER: "Tag specified out of required order",
    RejectReason.GROUP_OUT_OF_ORDER: "Repeating group fields out of order",
    RejectReason.GROUP_COUNT_INCORRECT: "Incorrect NumInGroup count for repeating group",
}


class Rejected(Exception):
    """The message breaks a rule of its form."""

    def __init__(self, reason: RejectReason, tag: int | None = None) -> None:
        super().__init__(REASON_TEXT[reason] if tag is None else f"{REASON_TEXT[reason]}: {tag}")
        self.reason = reason
        self.tag = tag


class UnsupportedMessage(Exception):
    """A message of FIX that this gateway has no use for."""


@dataclass(frozen=True)
class Group:
    """A repeating group: each entry begins with `first`."""

    first: int
    others: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Definition:
    """The body of one type of message."""

    required: tuple[int, ...]
    optional: frozenset[int] = frozenset()
    groups: Mapping[int, Group] = field(default_factory=dict)
    """By the tag that counts the entries."""
    begin_strings: tuple[str, ...] = (FIX42, FIX44)


HEADER = frozenset(
    {
        8,
        9,
        35,
        34,
        43,
        49,
        50,
        52,
        56,
        57,
        90,
        91,
        97,
        115,
        116,
        122,
        128,
        129,
        142,
        143,
        144,
        145,
        212,
        213,
        347,
        369,
        370,
    }
)
TAG_MAX = {FIX42: 446, FIX44: 956}
"""The last tag of each version."""
MSG_TYPES = {
    FIX42: frozenset("0123456789ABCDEFGHJKLMNPQRSTVWXYZabcdefghijklm"),
    FIX44: frozenset(
        [
            *"0123456789ABCDEFGHJKLMNPQRSTVWXYZabcdefghijklmnopqrstuvwxyz",
            *(f"A{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
            *(f"B{letter}" for letter in "ABCDEFGH"),
        ]
    ),
}
"""All types that the versions have, supported here or not."""

_ORDER_NOTES = {
    1,
    15,
    21,
    22,
    47,
    48,
    58,
    63,
    81,
    100,
    107,
    109,
    114,
    120,
    167,
    204,
    207,
    232,
    354,
    355,
    376,
    377,
    439,
    440,
}
_ORDER_NOTES |= {77, 439, 440, 460, 461, 526, 528, 529, 546, 581, 582, 583, 589, 590, 591, 660, 70, 775, 847, 848}
"""What an order may say about itself that is nobody's business but the counterparty's."""
_PARTIES = {453: Group(448, frozenset({447, 452}))}
_TRADING_SESSIONS = {386: Group(336, frozenset({625}))}

DEFINITIONS: dict[str, Definition] = {
    MsgType.HEARTBEAT: Definition((), frozenset({112})),
    MsgType.TEST_REQUEST: Definition((112,)),
    MsgType.RESEND_REQUEST: Definition((7, 16)),
    MsgType.REJECT: Definition((45,), frozenset({58, 354, 355, 371, 372, 373})),
    MsgType.SEQUENCE_RESET: Definition((36,), frozenset({123})),
    MsgType.LOGOUT: Definition((), frozenset({58, 354, 355})),
    MsgType.LOGON: Definition(
        (98, 108), frozenset({95, 96, 141, 383, 464, 553, 554, 789, 9001}), {384: Group(372, frozenset({385}))}
    ),
    MsgType.BUSINESS_MESSAGE_REJECT: Definition((372, 380), frozenset({45, 58, 354, 355, 379})),
    MsgType.NEW_ORDER_SINGLE: Definition(
        (11, 40, 54, 55, 60),
        frozenset({18, 38, 44, 59, 99, 110, 111, 126, 168, 211, 388, 389, 432, 152, 25001}) | _ORDER_NOTES,
        _PARTIES | _TRADING_SESSIONS,
    ),
    MsgType.ORDER_CANCEL_REQUEST: Definition((11, 41, 54, 55, 60), frozenset({37, 38}) | _ORDER_NOTES, _PARTIES),
    MsgType.ORDER_CANCEL_REPLACE_REQUEST: Definition(
        (11, 40, 41, 54, 55, 60),
        frozenset({18, 37, 38, 44, 59, 99, 110, 111, 126, 168, 211, 432}) | _ORDER_NOTES,
        _PARTIES | _TRADING_SESSIONS,
    ),
    MsgType.ORDER_STATUS_REQUEST: Definition((11, 54, 55), frozenset({37, 41, 790}) | _ORDER_NOTES, _PARTIES),
    MsgType.ORDER_MASS_STATUS_REQUEST: Definition((584, 585), frozenset({1, 55}), begin_strings=(FIX44,)),
    MsgType.ORDER_MASS_CANCEL_REQUEST: Definition((11, 60, 530), frozenset({1, 54, 55, 58}), begin_strings=(FIX44,)),
    MsgType.MARKET_DATA_REQUEST: Definition(
        (262, 263, 264),
        frozenset({265, 266}),
        {267: Group(269), 146: Group(55, frozenset({22, 48, 107, 167, 207, 460, 461}))},
    ),
    MsgType.SECURITY_STATUS_REQUEST: Definition(
        (324, 55, 263), frozenset({15, 22, 48, 65, 106, 107, 167, 207, 336, 460, 461, 625})
    ),
    MsgType.TRADING_SESSION_STATUS_REQUEST: Definition((335, 263), frozenset({336, 338, 339, 625})),
    MsgType.SECURITY_LIST_REQUEST: Definition((320, 559), frozenset({55, 263, 58}), begin_strings=(FIX44,)),
}

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_COUNT = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"-?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})")
_FORMS: dict[int, re.Pattern[str]] = {
    **dict.fromkeys((38, 44, 99, 110, 111, 152, 211), _DECIMAL),
    **dict.fromkeys((7, 16, 34, 36, 45, 146, 264, 267, 384, 386, 453), _COUNT),
    **dict.fromkeys((108, 585, 559, 383, 371, 380), _INTEGER),
    **dict.fromkeys((43, 97, 114, 123, 141, 266, 377, 9001), re.compile("[YN]")),
}
_TIMES = frozenset({52, 60, 122, 126, 168, 370})
_DATES = frozenset({432})
_VALUES: dict[int, frozenset[str]] = {
    21: frozenset("123"),
    40: frozenset("123456789ABCDEFGHIJKLMP"),
    54: frozenset("123456789ABCDEFG"),
    59: frozenset("01234567"),
    98: frozenset("0123456"),
    263: frozenset("012"),
    265: frozenset("01"),
    269: frozenset("0123456789ABC"),
    338: frozenset("123"),
    339: frozenset("123"),
    388: frozenset("0123456"),
    530: frozenset("1234567"),
    559: frozenset("01234"),
    585: frozenset("12345678"),
    25001: frozenset("12345"),
}
"""Values that FIX has for a tag, whether or not this venue offers what they ask for."""


def check(message: Message) -> None:
    """Raise `Rejected` for the first thing in a message that is not as it should be, or `UnsupportedMessage`."""
    definition = definition_of(message)
    seen: set[int] = set()
    in_body = False
    position = 0
    while position < len(message.fields):
        tag, value = message.fields[position]
        position += 1
        _check_tag(tag, value, message.begin_string, definition)
        if tag in seen:
            raise Rejected(RejectReason.TAG_REPEATED, tag)
        seen.add(tag)
        if in_body and tag in HEADER:
            raise Rejected(RejectReason.TAG_OUT_OF_ORDER, tag)
        in_body = in_body or tag not in HEADER
        _check_value(tag, value)
        group = definition.groups.get(tag)
        if group is not None:
            position = _check_group(message.fields, position, tag, int(value), group)
    for tag in definition.required:
        if tag not in seen:
            raise Rejected(RejectReason.REQUIRED_TAG_MISSING, tag)


def definition_of(message: Message) -> Definition:
    if message.msg_type not in MSG_TYPES[message.begin_string]:
        raise Rejected(RejectReason.INVALID_MSG_TYPE)
    definition = DEFINITIONS.get(message.msg_type)
    if definition is None or message.begin_string not in definition.begin_strings:
        raise UnsupportedMessage
    return definition


def _check_tag(tag: int, value: str, begin_string: str, definition: Definition) -> None:
    is_known = tag in HEADER or tag in definition.required or tag in definition.optional or tag in definition.groups
    if not is_known:
        if not 0 < tag <= TAG_MAX[begin_string]:
            raise Rejected(RejectReason.INVALID_TAG_NUMBER, tag)
        if any(tag == group.first or tag in group.others for group in definition.groups.values()):
            raise Rejected(RejectReason.GROUP_OUT_OF_ORDER, tag)
        raise Rejected(RejectReason.TAG_NOT_DEFINED_FOR_MESSAGE, tag)
    if not value:
        raise Rejected(RejectReason.TAG_WITHOUT_VALUE, tag)


def _check_value(tag: int, value: str) -> None:
    form = _FORMS.get(tag)
    if form is not None and form.fullmatch(value) is None:
        raise Rejected(RejectReason.INCORRECT_DATA_FORMAT, tag)
    if (tag in _TIMES and timestamp_of(value) is None) or (tag in _DATES and date_of(value) is None):
        raise Rejected(RejectReason.INCORRECT_DATA_FORMAT, tag)
    allowed = _VALUES.get(tag)
    if allowed is not None and value not in allowed:
        raise Rejected(RejectReason.VALUE_INCORRECT, tag)


def _check_group(fields: list[tuple[int, str]], position: int, count_tag: int, count: int, group: Group) -> int:
    """The position after the group's entries."""
    entries = 0
    seen: set[int] = set()
    while position < len(fields):
        tag, value = fields[position]
        if tag == group.first:
            entries += 1
            seen = {tag}
        elif tag not in group.others:
            break
        elif not entries:
            raise Rejected(RejectReason.GROUP_OUT_OF_ORDER, tag)
        elif tag in seen:
            raise Rejected(RejectReason.TAG_REPEATED, tag)
        if not value:
            raise Rejected(RejectReason.TAG_WITHOUT_VALUE, tag)
        seen.add(tag)
        _check_value(tag, value)
        position += 1
    if entries != count:
        raise Rejected(RejectReason.GROUP_COUNT_INCORRECT, count_tag)
    return position


def group_values(message: Message, first: int) -> list[str]:
    """The values of the tag that begins a group's entries."""
    return [value for tag, value in message.fields if tag == first]
