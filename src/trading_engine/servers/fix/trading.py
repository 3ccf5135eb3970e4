"""What a session that is logged on does with orders: requests go to the venue's native API, its events come back as reports.

Each session is one client of the native API with its own login and WebSocket, and so has exactly the rights, limits and safeguards that
this login has there. Requests are sent in the order in which they came and not waited for one by one. **What happened to an order is told
from the event stream alone**, also to who asked for it: there is one source and one order of things, and after a break it goes on at the
event that was told last. Answers to requests only tell what was refused.

A report has to name the request that brought it about, which the venue's events do not know. So a request to change an order is kept
in the store before it leaves, until its answer has come and the stream has come to the event that the answer knows of. When the
connection or the process dies in between, the event is told at the next Logon under the request's ClOrdID, and the request, should it be
sent again, has been answered by that.

ClOrdIDs: the venue knows an order by the one it was entered with. The names that replaces give are the gateway's, and kept in its store.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trading_engine.clients.sdk.async_client import AsyncClient
from trading_engine.clients.sdk.async_stream import AsyncStream
from trading_engine.clients.sdk.errors import (
    FellBehind,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Refused,
    ServerFailed,
    TradingError,
)
from trading_engine.clients.sdk.views import Me, Order, OrderUpdate, StreamEvent
from trading_engine.servers.fix import reports
from trading_engine.servers.fix.clock import Clock
from trading_engine.servers.fix.orders import Unsupported, check_replace, order_terms, replace_terms, side_of
from trading_engine.servers.fix.session import Session
from trading_engine.servers.fix.store import (
    CANCEL,
    NEWEST,
    REPLACE,
    Change,
    SessionRecord,
    SessionStore,
    StoreUnusable,
    Told,
)
from trading_engine.servers.fix.tags import MsgType, Tag
from trading_engine.servers.fix.wire import Message
from trading_engine.venue.shards import shard_of_number

OF_SECURITY, OF_ALL = "1", "7"
"""MassCancelRequestType(530), MassStatusReqType(585)."""
ROLES_OF_THE_MARKET = ("operator", "admin")
"""Whose copies are of all accounts."""
ORDERS_REMEMBERED_MAX = 10_000
"""Open orders that a session knows by heart; others it asks for."""


log = logging.getLogger(__name__)

StartTask = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""What the task raises ends the server."""
Handler = Callable[[dict[int, str]], Coroutine[Any, Any, None]]


def explains(change: Change, update: OrderUpdate) -> bool:
    """Whether this request, of which no event is known yet, is what brought the update about."""
    order = update.order
    if change.response_to == CANCEL:
        return update.event == "canceled" and order.reason == "REQUESTED"
    if update.event == "canceled":
        return order.reason == "REDUCED_TO_FILLED"
    quantity, price = (None if text is None else Decimal(text) for text in (change.quantity, change.price))
    is_as_asked = quantity in (None, order.quantity) and (price in (None, order.price) or order.type == "pegged")
    return update.event == "replaced" and is_as_asked


class Trading:
    """The orders of one session."""

    def __init__(
        self,
        session: Session,
        client: AsyncClient,
        stream: AsyncStream,
        me: Me,
        store: SessionStore,
        next_commit: Callable[[], asyncio.Event],
        clock: Clock,
        answered: Callable[[Message], None],
        start_task: StartTask,
        *,
        is_copy: bool,
    ) -> None:
        self._session = session
        self._client = client
        self._stream = stream
        self._account_id = me.portfolios[0].portfolio_id if me.portfolios else ""
        self._accounts = {name for folder in me.portfolios for name in (folder.portfolio_id, folder.name)}
        self._store = store
        self._next_commit = next_commit
        self._clock = clock
        self._answered = answered
        self._start_task = start_task
        self._is_copy = is_copy
        self._follows_all = is_copy and me.role in ROLES_OF_THE_MARKET
        self._orders: dict[str, Order] = {}
        self._ids: dict[str, str] = {}
        """ClOrdID with which it was entered → id, of those orders."""
        self._placing: dict[str, bool] = {}
        """ClOrdIDs of orders on their way → whether the venue has told of the order."""
        self._naming: dict[str, asyncio.Event] = {}
        """ClOrdIDs that a request on its way gives, for those that refer to it."""
        self._left_open: dict[str, Change] = {}
        """Requests of earlier connections that may or may not have been carried out, by ClOrdID."""
        self._leaving = asyncio.Event()
        """Set when the last request that had to be safe before it left has left."""
        self._leaving.set()
        self._kept: list[StreamEvent] = []
        self._waiting: list[tuple[int, asyncio.Event]] = []
        """Event sequences, and what is set when the stream has come there."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Handler] = {
            MsgType.NEW_ORDER_SINGLE: self._place,
            MsgType.ORDER_CANCEL_REQUEST: self._cancel,
            MsgType.ORDER_CANCEL_REPLACE_REQUEST: self._replace,
            MsgType.ORDER_STATUS_REQUEST: self._tell_status,
            MsgType.ORDER_MASS_STATUS_REQUEST: self._tell_mass_status,
            MsgType.ORDER_MASS_CANCEL_REQUEST: self._cancel_all,
        }

    # Life

    async def follow(self, record: SessionRecord) -> None:
        """Have the stream begin where the session was told last; at its first Logon, now. Raises `TradingError`.

        What comes is kept until `begin`: the Logon is answered first, and nothing that happens after that is missed.
        """
        # Some reports of the last event may not have been sent: it is told again.
        since = [told.event_sequence - 1 if told.orders else told.event_sequence for told in record.told.values()]
        self._stream.on_event = self._kept.append
        self._left_open = {change.cl_ord_id: change for change in self._store.open_changes(record.session_id)}
        await self._stream.subscribe_orders(since or None, all_accounts=self._follows_all)

    def begin(self) -> None:
        """The Logon was answered: tell what has come, and all that comes."""
        self._stream.on_event = self._on_event
        for event in self._kept:
            self._on_event(event)
        self._kept.clear()
        record = self._session.record
        for sequence in self._stream.order_sequences:
            record.told.setdefault(shard_of_number(sequence), Told(sequence))
        self._session.remember()

    async def end(self) -> None:
        """The session is over: what is on its way runs on at the venue, and nobody is there to be told."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def deliver(self, message: Message) -> None:
        name = message.get(Tag.CL_ORD_ID)
        refers_to = message.get(Tag.ORIG_CL_ORD_ID) or name
        task = self._start_task(self._handle(message, self._naming.get(refers_to)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if message.msg_type in (MsgType.NEW_ORDER_SINGLE, MsgType.ORDER_CANCEL_REPLACE_REQUEST):
            done = self._naming[name] = asyncio.Event()
            task.add_done_callback(lambda _: self._named(name, done))

    def _named(self, name: str, done: asyncio.Event) -> None:
        done.set()
        if self._naming.get(name) is done:
            del self._naming[name]

    async def _handle(self, message: Message, earlier: asyncio.Event | None) -> None:
        """`earlier` is done when the request has been answered that gives the name to which this one refers."""
        asked = dict(reversed(message.fields))
        try:
            if earlier is not None:
                await earlier.wait()
            if self._is_copy:
                self.refuse_message(
                    message, reports.NOT_AUTHORIZED, "This session is a copy of what happens: it takes no orders"
                )
            else:
                await self._handlers[message.msg_type](asked)
        except OutcomeUnknown as error:
            self.refuse_message(
                message, reports.APPLICATION_NOT_AVAILABLE, f"Whether it was carried out is not known: {error.message}"
            )
        except (ServerFailed, FellBehind) as error:
            self.refuse_message(message, reports.APPLICATION_NOT_AVAILABLE, str(error))
        except MissingField as missing:
            self.refuse_message(message, reports.FIELD_MISSING, str(missing))
        except Unsupported as unsupported:
            self.refuse_message(message, reports.OTHER, str(unsupported))
        except StoreUnusable:
            raise
        except Exception:
            log.exception("request failed")
            self.refuse_message(message, reports.APPLICATION_NOT_AVAILABLE, "Internal error")
        self._answered(message)

    def refuse_message(self, message: Message, reason: str, text: str) -> None:
        """BusinessMessageReject."""
        self._session.send(MsgType.BUSINESS_MESSAGE_REJECT, reports.business_reject(message, reason, text))

    # Events

    def _on_event(self, event: StreamEvent) -> None:
        """From the stream, in its order."""
        if not isinstance(event, OrderUpdate):
            return
        told, order_id = self._session.record.told, event.order.order_id
        shard = shard_of_number(event.event_sequence)
        last = told.get(shard)
        orders: tuple[str, ...] = ()
        if last is not None and event.event_sequence == last.event_sequence:
            if order_id in last.orders or not last.orders:
                return
            orders = last.orders
        told[shard] = Told(event.event_sequence, (*orders, order_id))
        self._report(event)
        for waiting in [waiting for waiting in self._waiting if self._was_told(waiting[0])]:
            self._waiting.remove(waiting)
            waiting[1].set()

    def _was_told(self, sequence: int) -> bool:
        last = self._session.record.told.get(shard_of_number(sequence))
        return last is not None and last.event_sequence >= sequence

    async def _told_up_to(self, sequence: int) -> None:
        """Wait until the stream has come to this event. It has, save after a break, while the past is told and answers overtake it."""
        if not self._was_told(sequence):
            told = asyncio.Event()
            self._waiting.append((sequence, told))
            await told.wait()

    def _report(self, update: OrderUpdate) -> None:
        order, sequence = update.order, update.event_sequence
        change = self._explanation(update)
        if change is None:
            name, original = self.name_of(order, sequence), ""
        else:
            name, original = change.cl_ord_id, self.name_of(order, sequence - 1)
        if update.event == "new" and order.client_order_id in self._placing:
            self._placing[order.client_order_id] = True
        self._remember(order)
        self._session.send(
            MsgType.EXECUTION_REPORT,
            reports.execution_report(self._session.begin_string, update, name, original, is_copy=self._is_copy),
        )

    def _explanation(self, update: OrderUpdate) -> Change | None:
        """The request that brought a change about, if it was one of this gateway's."""
        if update.event not in ("canceled", "replaced"):
            return None
        for change in self._store.changes_at(update.order.order_id, update.event_sequence):
            if change.event_sequence or explains(change, update):
                self._store.explain(change.change_id, update.event_sequence)
                if change.session_id == self._session.record.session_id and change.number:
                    self._session.answered_before(change.number)
                return change
        return None

    def _remember(self, order: Order) -> None:
        if not order.is_open:
            self._forget(order)
            return
        self._orders[order.order_id] = order
        self._ids[order.client_order_id] = order.order_id
        if len(self._orders) > ORDERS_REMEMBERED_MAX:
            self._forget(next(iter(self._orders.values())))

    def _forget(self, order: Order) -> None:
        self._orders.pop(order.order_id, None)
        if self._ids.get(order.client_order_id) == order.order_id:
            del self._ids[order.client_order_id]

    def name_of(self, order: Order, event_sequence: int = NEWEST) -> str:
        """What the order is called, now or after an event."""
        return self._store.name_at(order.order_id, event_sequence) or order.client_order_id or reports.NONE

    # New orders

    async def _place(self, asked: dict[int, str]) -> None:
        name = asked[Tag.CL_ORD_ID]
        if Tag.ORDER_QTY not in asked:
            raise MissingField("OrderQty(38) is missing")
        if not self._is_own(asked):
            self._reject_order(asked, "UNKNOWN_ACCOUNT", f"Account(1) {asked[Tag.ACCOUNT]} is not yours")
            return
        if self._store.order_named(self._account_id, name) is not None:
            self._reject_order(asked, "DUPLICATE_CLIENT_ORDER_ID", "A replace gave an order this ClOrdID")
            return
        self._placing[name] = False
        try:
            await self._in_turn()
            order = await self._stream.place(**order_terms(asked))
            await self._told_up_to(order.event_sequence)
            if not self._placing[name]:  # It was entered before: the same order came again.
                self._send_status(order, [])
        except Unsupported as error:
            self._reject_order(asked, "UNSUPPORTED", str(error))
        except (OutcomeUnknown, ServerFailed):
            raise
        except TradingError as error:
            self._reject_order(asked, error.code, str(error))
        finally:
            self._placing.pop(name, None)

    def _is_own(self, asked: dict[int, str]) -> bool:
        return asked.get(Tag.ACCOUNT) in (None, *self._accounts)

    def _reject_order(self, asked: dict[int, str], code: str, text: str) -> None:
        self._session.send(
            MsgType.EXECUTION_REPORT,
            reports.rejected_order(self._session.begin_string, asked, code, text, self._now()),
        )

    # Changes of orders

    async def _cancel(self, asked: dict[int, str]) -> None:
        await self._change(asked, CANCEL, lambda _: {})

    async def _replace(self, asked: dict[int, str]) -> None:
        await self._change(asked, REPLACE, lambda order: self._replacement(asked, order))

    def _replacement(self, asked: dict[int, str], order: Order) -> dict[str, str]:
        """The arguments of `AsyncStream.replace`. Raises `Refused`, `Unsupported`."""
        named = self._store.order_named(self._account_id, asked[Tag.CL_ORD_ID])
        if named not in (None, order.order_id):
            raise Refused("A replace gave another order this ClOrdID", code="DUPLICATE_CLIENT_ORDER_ID")
        check_replace(asked, order)
        return replace_terms(asked, order)

    async def _change(
        self, asked: dict[int, str], response_to: str, terms_for: Callable[[Order], dict[str, str]]
    ) -> None:
        """Have a change made and told by its event, or refuse it."""
        order: Order | None = None
        try:
            if asked[Tag.CL_ORD_ID] == asked[Tag.ORIG_CL_ORD_ID]:
                raise Refused("ClOrdID and OrigClOrdID are the same", code="DUPLICATE_CLIENT_ORDER_ID")
            if await self._was_told_before(asked[Tag.CL_ORD_ID]):
                return
            order = await self._order_called(asked[Tag.ORIG_CL_ORD_ID])
            if order is None:
                text = "UNKNOWN_ORDER: no such order is open"
                self._refuse_change(asked, None, response_to, reports.CXL_UNKNOWN, text)
                return
            if not self._is_own(asked) or asked[Tag.SYMBOL] != order.symbol:
                raise Unsupported("Account(1) or Symbol(55) is not the order's")
            await self._carry_out(asked, response_to, order, terms_for(order))
        except Unsupported as error:
            self._refuse_change(asked, order, response_to, reports.CXL_VENUE_OPTION, str(error))
        except NotFound as error:
            self._refuse_change(asked, order, response_to, reports.CXL_TOO_LATE, str(error))
        except (OutcomeUnknown, ServerFailed):
            raise
        except TradingError as error:
            duplicate = error.code == "DUPLICATE_CLIENT_ORDER_ID"
            reason = reports.CXL_DUPLICATE if duplicate else reports.CXL_VENUE_OPTION
            self._refuse_change(asked, order, response_to, reason, str(error))

    async def _was_told_before(self, name: str) -> bool:
        """Whether an earlier connection left this request open, and the stream has told by now what became of it."""
        left_open = self._left_open.pop(name, None)
        if left_open is None:
            return False
        order = await self._client.order(left_open.order_id)
        await self._told_up_to(order.event_sequence)
        if self._store.is_explained(left_open.change_id):
            return True
        self._store.withdraw(left_open.change_id)
        return False

    async def _carry_out(self, asked: dict[int, str], response_to: str, order: Order, terms: dict[str, str]) -> None:
        change_id = self._store.ask(
            Change(
                0,
                self._session.record.session_id,
                int(asked[Tag.MSG_SEQ_NUM]),
                self._account_id,
                order.order_id,
                response_to,
                asked[Tag.CL_ORD_ID],
                terms.get("quantity"),
                terms.get("price"),
            )
        )
        await self._when_safe()
        try:
            if response_to == CANCEL:
                changed = await self._stream.cancel(order.order_id)
            else:
                changed = await self._stream.replace(order.order_id, **terms)
            await self._told_up_to(changed.event_sequence)
        except Exception:  # Not where the session ends: then it may have been carried out all the same.
            self._store.withdraw(change_id)
            raise
        self._store.withdraw(change_id)

    async def _when_safe(self) -> None:
        """Wait until what was written is safe; what comes later waits for this (`_in_turn`)."""
        self._leaving = leaves = asyncio.Event()
        await self._next_commit().wait()
        leaves.set()

    async def _in_turn(self) -> None:
        """Wait until what came earlier has left for the venue."""
        await self._leaving.wait()

    def _refuse_change(
        self, asked: dict[int, str], order: Order | None, response_to: str, reason: str, text: str
    ) -> None:
        if order is not None:
            order = self._orders.get(order.order_id, order)
        self._session.send(MsgType.ORDER_CANCEL_REJECT, reports.cancel_reject(asked, order, response_to, reason, text))

    async def _cancel_all(self, asked: dict[int, str]) -> None:
        kind = asked[Tag.MASS_CANCEL_REQUEST_TYPE]
        symbol = asked.get(Tag.SYMBOL) if kind == OF_SECURITY else None
        answer = [
            (Tag.CL_ORD_ID, asked[Tag.CL_ORD_ID]),
            (Tag.ORDER_ID, reports.refusal_id()),
            (Tag.MASS_CANCEL_REQUEST_TYPE, kind),
        ]
        try:
            if kind not in (OF_SECURITY, OF_ALL) or (kind == OF_SECURITY and symbol is None) or not self._is_own(asked):
                raise Unsupported("all orders (7), or those in a Symbol (1), of one's own account can be canceled")
            await self._in_turn()
            count = await self._stream.cancel_all(symbol, side_of(asked))
            answer += [(Tag.MASS_CANCEL_RESPONSE, kind), (Tag.TOTAL_AFFECTED_ORDERS, str(count))]
        except (OutcomeUnknown, ServerFailed):
            raise
        except (Unsupported, TradingError) as error:
            answer += [(Tag.MASS_CANCEL_RESPONSE, "0"), (Tag.MASS_CANCEL_REJECT_REASON, "99"), (Tag.TEXT, str(error))]
            if isinstance(error, TradingError) and error.unavailable_shards:
                answer.append((Tag.TOTAL_AFFECTED_ORDERS, str(len(error.canceled_order_ids))))
        self._session.send(MsgType.ORDER_MASS_CANCEL_REPORT, answer)

    # Questions

    async def _order_called(self, name: str, order_id: str = "") -> Order | None:
        """An order by any name that it has had, as it was told last; None where there is none."""
        order_id = order_id or self._store.order_named(self._account_id, name) or self._ids.get(name, "")
        if order_id in self._orders:
            return self._orders[order_id]
        try:
            return await self._client.order(order_id) if order_id else await self._client.order(client_order_id=name)
        except (NotFound, InvalidRequest):
            return None

    async def _tell_status(self, asked: dict[int, str]) -> None:
        extra = [(Tag.ORD_STATUS_REQ_ID, asked[Tag.ORD_STATUS_REQ_ID])] if Tag.ORD_STATUS_REQ_ID in asked else []
        try:
            order = await self._order_called(asked[Tag.CL_ORD_ID], asked.get(Tag.ORDER_ID, ""))
        except TradingError as error:
            raise ServerFailed(str(error)) from error
        if order is None:
            unknown = reports.unknown_order(self._session.begin_string, asked, extra, self._now())
            self._session.send(MsgType.EXECUTION_REPORT, unknown)
        else:
            self._send_status(order, extra)

    async def _tell_mass_status(self, asked: dict[int, str]) -> None:
        request, kind = (Tag.MASS_STATUS_REQ_ID, asked[Tag.MASS_STATUS_REQ_ID]), asked[Tag.MASS_STATUS_REQ_TYPE]
        symbol = asked.get(Tag.SYMBOL) if kind == OF_SECURITY else None
        if kind not in (OF_SECURITY, OF_ALL) or not self._is_own(asked):
            raise Unsupported("all orders (7), or those in a Symbol (1), of one's own account can be asked for")
        if kind == OF_SECURITY and symbol is None:
            raise MissingField("Symbol(55) is missing")
        try:
            orders = [order async for order in self._client.all_orders("open", symbol=symbol)]
        except NotFound:
            orders = []
        except TradingError as error:
            raise ServerFailed(str(error)) from error
        for index, order in enumerate(orders):
            is_last = "Y" if index == len(orders) - 1 else "N"
            extra = [request, (Tag.TOT_NUM_REPORTS, str(len(orders))), (Tag.LAST_RPT_REQUESTED, is_last)]
            self._send_status(order, extra)
        if not orders:
            extra = [request, (Tag.TOT_NUM_REPORTS, "0"), (Tag.LAST_RPT_REQUESTED, "Y")]
            unknown = reports.unknown_order(self._session.begin_string, asked, extra, self._now())
            self._session.send(MsgType.EXECUTION_REPORT, unknown)

    def _send_status(self, order: Order, extra: reports.FieldList) -> None:
        report = reports.status_report(self._session.begin_string, order, self.name_of(order), extra)
        self._session.send(MsgType.EXECUTION_REPORT, report)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.utc(), UTC)


class MissingField(Exception):
    """A field that FIX requires under these circumstances."""
