"""In which state markets are, for who asks: of one security (SecurityStatus), and of the venue (TradingSessionStatus).

The venue has a phase for each market and none for itself, so its status is that of the market that is most open. A subscription is told
a status when it changes, not each phase: FIX has fewer of them.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.errors import InvalidRequest, NotFound, TradingError
from trading_engine.servers.fix.clock import Clock, utc_timestamp
from trading_engine.servers.fix.reports import APPLICATION_NOT_AVAILABLE, OTHER, FieldList, business_reject
from trading_engine.servers.fix.session import Session
from trading_engine.servers.fix.tags import FIX42, MsgType, Tag
from trading_engine.servers.fix.wire import Message

THE_SESSION = "1"
"""TradingSessionID(336): there is one."""
SUBSCRIBE, UNSUBSCRIBE = "1", "2"
STATUS_SUBSCRIPTIONS_MAX = 1_000
"""Of one session."""
UNKNOWN_SECURITY = "20"
HALTED, OPEN, CLOSED, PRE_OPEN, PRE_CLOSE = "1", "2", "3", "4", "5"
MOST_OPEN_FIRST = (OPEN, PRE_CLOSE, PRE_OPEN, HALTED, CLOSED)


class PhaseCodes(NamedTuple):
    security_42: str
    """SecurityTradingStatus(326) in FIX 4.2, which has no pre-open and no opening rotation."""
    security_44: str
    session: str
    """TradSesStatus(340)."""


CODES: Mapping[str, PhaseCodes] = {
    "continuous": PhaseCodes("17", "17", OPEN),
    "volatility_call": PhaseCodes("5", "5", OPEN),
    "intraday_call": PhaseCodes("5", "5", OPEN),
    "pre_open": PhaseCodes("18", "21", PRE_OPEN),
    "opening_call": PhaseCodes("5", "22", PRE_OPEN),
    "reopening_call": PhaseCodes("5", "5", PRE_OPEN),
    "closing_call": PhaseCodes("5", "5", PRE_CLOSE),
    "closing_publication": PhaseCodes("18", "18", PRE_CLOSE),
    "closing_cross": PhaseCodes("17", "17", PRE_CLOSE),
    "halted": PhaseCodes("2", "2", HALTED),
    "closed": PhaseCodes("18", "18", CLOSED),
    "post_close": PhaseCodes("18", "18", CLOSED),
}


class StatusWatcher(Protocol):
    def phase_changed(self, symbol: str, phase: str) -> None: ...

    def end(self, text: str) -> None:
        """There is nothing more to come."""


class StatusFeed(Protocol):
    """Where phases come from; `MarketFeed`."""

    async def watch_status(self, watcher: StatusWatcher) -> None:
        """Raises `TradingError`."""

    async def unwatch_status(self, watcher: StatusWatcher) -> None: ...


class Watcher:
    """One request's interest in the status of one security, or of the venue where `symbol` is empty."""

    def __init__(self, session: Session, clock: Clock, request: Message) -> None:
        self._session = session
        self._clock = clock
        self._request = request
        self._symbol = request.get(Tag.SYMBOL)
        self._phases: dict[str, str] = {}
        self._has_all = False
        self._sent = ""

    def begin(self, phases: Mapping[str, str]) -> None:
        """All phases as they were at some moment; what has been told by now is newer."""
        self._phases = {**phases, **self._phases}
        self._has_all = True
        self._tell()

    def phase_changed(self, symbol: str, phase: str) -> None:
        if self._symbol in ("", symbol):
            self._phases[symbol] = phase
            self._tell()

    def end(self, text: str) -> None:
        refusal = business_reject(self._request, APPLICATION_NOT_AVAILABLE, text)
        self._session.send(MsgType.BUSINESS_MESSAGE_REJECT, refusal)

    def _tell(self) -> None:
        status = self._status()
        if self._has_all and status != self._sent:
            told, self._sent = self._sent, status
            unsolicited = (Tag.UNSOLICITED_INDICATOR, "Y" if told else "N")
            if self._symbol:
                self._session.send(MsgType.SECURITY_STATUS, self._of_security(status, unsolicited), keep=False)
            else:
                self._session.send(MsgType.TRADING_SESSION_STATUS, self._of_venue(status, unsolicited), keep=False)

    def _status(self) -> str:
        codes = [CODES[phase] for phase in self._phases.values()]
        if not self._symbol:
            return min((code.session for code in codes), key=MOST_OPEN_FIRST.index, default=CLOSED)
        if not codes:
            return UNKNOWN_SECURITY
        return codes[0].security_42 if self._session.begin_string == FIX42 else codes[0].security_44

    def _of_security(self, status: str, unsolicited: tuple[int, str]) -> FieldList:
        """FIX 4.4 has a place for the venue's own word."""
        fields = [
            (Tag.SECURITY_STATUS_REQ_ID, self._request.get(Tag.SECURITY_STATUS_REQ_ID)),
            (Tag.SYMBOL, self._symbol),
            unsolicited,
            (Tag.SECURITY_TRADING_STATUS, status),
            (Tag.TRANSACT_TIME, utc_timestamp(self._clock.utc())),
        ]
        phase = self._phases.get(self._symbol)
        return fields if phase is None or self._session.begin_string == FIX42 else [*fields, (Tag.TEXT, phase)]

    def _of_venue(self, status: str, unsolicited: tuple[int, str]) -> FieldList:
        return [
            (Tag.TRAD_SES_REQ_ID, self._request.get(Tag.TRAD_SES_REQ_ID)),
            (Tag.TRADING_SESSION_ID, THE_SESSION),
            unsolicited,
            (Tag.TRAD_SES_STATUS, status),
        ]


class StatusRequests:
    """What one session asks about the state of markets."""

    def __init__(self, session: Session, client: AsyncClient, feed: StatusFeed, clock: Clock) -> None:
        self._session = session
        self._client = client
        self._feed = feed
        self._clock = clock
        self._watchers: dict[tuple[str, str], Watcher] = {}
        """By message type and id of the request."""
        self.handlers: dict[str, Callable[[Message], Coroutine[Any, Any, None]]] = {
            MsgType.SECURITY_STATUS_REQUEST: self._of_security,
            MsgType.TRADING_SESSION_STATUS_REQUEST: self._of_venue,
        }

    async def end(self) -> None:
        for key in list(self._watchers):
            await self._drop(key)

    async def _of_security(self, message: Message) -> None:
        async def phases() -> dict[str, str]:
            symbol = message.get(Tag.SYMBOL)
            try:
                return {symbol: (await self._client.market_session(symbol)).phase}
            except (NotFound, InvalidRequest):
                return {}

        await self._answer(message, message.get(Tag.SECURITY_STATUS_REQ_ID), phases)

    async def _of_venue(self, message: Message) -> None:
        async def phases() -> dict[str, str]:
            return {instrument.symbol: instrument.phase for instrument in await self._client.instruments()}

        await self._answer(message, message.get(Tag.TRAD_SES_REQ_ID), phases)

    async def _answer(
        self, message: Message, request_id: str, phases: Callable[[], Coroutine[Any, Any, dict[str, str]]]
    ) -> None:
        key, kind = (message.msg_type, request_id), message.get(Tag.SUBSCRIPTION_REQUEST_TYPE)
        problem = self._problem(message, key)
        if problem:
            self._refuse(message, OTHER, problem)
            return
        if kind == UNSUBSCRIBE:
            await self._drop(key)
            return
        watcher = Watcher(self._session, self._clock, message)
        try:
            if kind == SUBSCRIBE:
                self._watchers[key] = watcher
                await self._feed.watch_status(watcher)
            watcher.begin(await phases())
        except TradingError as error:
            await self._drop(key)
            self._refuse(message, APPLICATION_NOT_AVAILABLE, str(error))

    def _problem(self, message: Message, key: tuple[str, str]) -> str:
        if message.get(Tag.TRADING_SESSION_ID, THE_SESSION) != THE_SESSION:
            return f"TradingSessionID(336) is {THE_SESSION}: there is one"
        if message.get(Tag.SUBSCRIPTION_REQUEST_TYPE) != SUBSCRIBE:
            return ""
        if key in self._watchers:
            return "there is a subscription of this id already"
        if len(self._watchers) >= STATUS_SUBSCRIPTIONS_MAX:
            return f"a session has up to {STATUS_SUBSCRIPTIONS_MAX} subscriptions"
        return ""

    def _refuse(self, message: Message, reason: str, text: str) -> None:
        self._session.send(MsgType.BUSINESS_MESSAGE_REJECT, business_reject(message, reason, text))

    async def _drop(self, key: tuple[str, str]) -> None:
        watcher = self._watchers.pop(key, None)
        if watcher is not None:
            await self._feed.unwatch_status(watcher)
