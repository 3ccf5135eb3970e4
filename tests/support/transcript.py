"""Market scenes as text: what was said to the venue, and everything that it answered.

A transcript has a line `> command` for each command, followed by one line for each event that came of it, all of them and in order. A
line `. command` prepares the scene: it must not be refused, and its events are not shown. `play` runs the commands of a transcript and
writes it again from what happened, so a test is `play(text) == text`, and a difference reads like a mistake in a script.

    . alice sell 5@100
    > bob buy 7@101
    accepted 2: bob buy 7@101 gtc
    trade 5@100: maker 1 left 0, taker 2 left 2
    cash bob 9298 held 202
    …

Accounts start with 10,000 in cash and 100 lots each; a line `! cash=500 taker_fee_ppm=100` changes that, or fields of the instrument
and of its matching rules.
The clock stands at 6000 when a scene begins and goes on by 1000 with each command.

Every command is audited as well, so fields that the text leaves out (accounts, numbers, sides of trades) are checked there.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from support.venue_driver import VenueDriver, open_venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.auction import AuctionRules, BandRules, LimitBandRules
from trading_engine.venue.circuit_breakers import BreakerLevel, CircuitBreakers
from trading_engine.venue.instrument import Instrument, MatchingRules
from trading_engine.venue.risk_limits import DisconnectAction, MarginTerms, RiskLimits, RiskScope
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    PegPrice,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)

PLAIN = Instrument(1, "XYZ", "Plain", "USD", "0.01", "1", 1, market_protection_ticks=10)
ACCOUNTS = {"alice": 1, "bob": 2, "carol": 3, "dora": 4, "emil": 5}
OPENED = ("alice", "bob", "carol")
NAMES = {0: "venue"} | {account_id: name for name, account_id in ACCOUNTS.items()}
PREVENTION = {
    "cancel-incoming": SelfTradePrevention.CANCEL_INCOMING,
    "cancel-resting": SelfTradePrevention.CANCEL_RESTING,
    "cancel-both": SelfTradePrevention.CANCEL_BOTH,
    "decrement": SelfTradePrevention.DECREMENT,
}
PEGS = {"peg-primary": PegPrice.PRIMARY, "peg-market": PegPrice.MARKET, "peg-mid": PegPrice.MID}
ORDER_TYPES = {
    (True, False): OrderType.MARKET,
    (False, False): OrderType.LIMIT,
    (True, True): OrderType.STOP,
    (False, True): OrderType.STOP_LIMIT,
}
SCOPES = ("venue", "firm")
Rules = TypeVar("Rules", bound=msgspec.Struct)
CASH = 10_000
LOTS = 100

REFUSALS = (e.OrderGroupRejected, e.CommandRefused, e.OrderRejected, e.CancelRejected, e.ReplaceRejected)


def scene(settings: str = "") -> VenueDriver:
    """The venue at the start, with settings such as `cash=500 taker_fee_ppm=100`."""
    texts = dict(setting.split("=") for setting in settings.split())
    rules = {name: texts.pop(name) for name in MatchingRules.__struct_fields__ if name in texts}
    values: dict[str, Any] = {name: int(value) for name, value in texts.items()}
    values["matching"] = parse_rules(rules) if rules else None
    cash = values.pop("cash", CASH)
    lots = values.pop("lots", LOTS)
    values["auctions"] = part(AuctionRules, values)
    values["bands"] = part(BandRules, values)
    values["limit_bands"] = part(LimitBandRules, values)
    values["shortable"] = bool(values.pop("shortable", 0))
    return open_venue((msgspec.structs.replace(PLAIN, **values),), tuple(ACCOUNTS[name] for name in OPENED), cash, lots)


def change(texts: dict[str, str]) -> c.ChangeInstrument:
    """The plain instrument with these fields instead of its own."""
    values: dict[str, Any] = {name: int(value) for name, value in texts.items()}
    values["bands"] = part(BandRules, values)
    values |= {name: bool(values[name]) for name in ("shortable", "suspended") if name in values}
    return c.ChangeInstrument(msgspec.structs.replace(PLAIN, **values))


def parse_rules(texts: dict[str, str]) -> MatchingRules:
    """Matching rules from settings such as `algorithm=split fifo_percent=40 top=1 lead_market_makers=bob:10,carol:5`."""
    makers = (maker.split(":") for maker in texts.pop("lead_market_makers", "").split(",") if maker)
    algorithm = texts.pop("algorithm")
    return MatchingRules(
        algorithm,
        bool(int(texts.pop("top", 0))),
        lead_market_makers=tuple((ACCOUNTS[name], int(percent)) for name, percent in makers),
        leveling=bool(int(texts.pop("leveling", 0))),
        **{name: int(value) for name, value in texts.items()},
    )


def part(kind: type[Rules], values: dict[str, Any]) -> Rules | None:
    """The rules of one kind, made of the settings with their fields' names; None without any."""
    chosen = {name: values.pop(name) for name in kind.__struct_fields__ if name in values}
    return kind(**chosen) if chosen else None


def play(transcript: str) -> str:
    """The transcript as it really goes."""
    settings = next((line[1:] for line in transcript.splitlines() if line.startswith("!")), "")
    driver = scene(settings)
    lines = [f"!{settings}"] if settings else []
    for line in transcript.splitlines():
        mark, _, text = line.partition(" ")
        if mark not in (">", "."):
            continue
        lines.append(line)
        events = driver.do(parse(text))
        if mark == ">":
            lines += [tell(event) for event in events]
        else:
            assert not isinstance(events[0], REFUSALS), (line, events)
    return "\n".join(lines)


def scenes(path: Path) -> dict[str, str]:
    """The transcripts in a file, by their titles; each begins with a line `# title`."""
    blocks = (block.partition("\n") for block in path.read_text().split("# ")[1:])
    return {title.strip(): text.strip() for title, _, text in blocks}


# Commands


def parse(text: str) -> c.AnyCommand:  # noqa: C901  # One row per kind of command.
    words = text.split()
    match words:
        case ["phase", "all", phase, "day", "ends"]:
            return c.SetTradingPhase(0, TradingPhase[phase.upper()], trading_day_ends=True)
        case ["phase", phase, *rest]:
            ends_ns = int(rest[-1]) if "until" in rest else 0
            return c.SetTradingPhase(1, TradingPhase[phase.upper()], "day" in rest, ends_ns)
        case ["breakers", "none"]:
            return c.SetCircuitBreakers(None)
        case ["breakers", *levels, "call", call_ns]:
            return c.SetCircuitBreakers(parse_breakers(levels, int(call_ns)))
        case ["breakers", *levels, "call", call_ns, "until", timed_until_ns]:
            return c.SetCircuitBreakers(parse_breakers(levels, int(call_ns), int(timed_until_ns)))
        case ["instrument", *settings]:
            return change(dict(setting.split("=") for setting in settings))
        case ["clock"]:
            return c.AdvanceClock()
        case ["suspend" | "reinstate" as verb, name]:
            return c.SuspendAccount(ACCOUNTS[name], suspended=verb == "suspend")
        case ["limit", *scope] if scope[0] in SCOPES or scope[0] in ACCOUNTS:
            key, settings = parse_scope(scope)
            values = {field: int(value) for field, value in (setting.split("=") for setting in settings)}
            return c.SetRiskLimits(*key, RiskLimits(**values))
        case [name, "margin", "none"]:
            return c.SetMargin(ACCOUNTS[name], None)
        case [name, "margin", "credit", credit, "short", lots, *liquidate]:
            return c.SetMargin(ACCOUNTS[name], MarginTerms(int(credit), int(lots), bool(liquidate)))
        case [name, "disconnects"]:
            return c.ReportDisconnect(ACCOUNTS[name])
        case [name, "on", "disconnect", *action]:
            return c.SetCancelOnDisconnect(ACCOUNTS[name], DisconnectAction["_".join(action).upper()])
        case [name, "countdown", timeout, *instrument]:
            return c.SetCountdown(ACCOUNTS[name], int(timeout), int(instrument[0]) if instrument else 0)
        case ["kill" | "release" as verb, *scope]:
            return c.SetKillSwitch(*parse_scope(scope)[0], active=verb == "kill")
        case [name, "oco" | "oto" | "bracket" as kind, *_]:
            legs = tuple(parse(f"{name} {leg}") for leg in text.partition(f" {kind} ")[2].split(" / "))
            return c.PlaceOrderGroup(ACCOUNTS[name], Contingency[kind.upper()], legs)  # type: ignore[arg-type]  # Orders.
        case [name, "cancel", "group", group_id]:
            return c.CancelOrderGroup(ACCOUNTS[name], int(group_id))
        case [name, "buy" | "sell" as side, amount, *options]:
            return parse_order(ACCOUNTS[name], Side[side.upper()], amount, options)
        case [name, "cancel", "all", *side]:
            return c.MassCancel(ACCOUNTS[name], side=Side[side[0].upper()] if side else 0)
        case [name, "cancel", order]:
            return c.CancelOrder(ACCOUNTS[name], *parse_reference(order))
        case [name, "replace", order, amount, *options]:
            lots, _, price = amount.partition("@")
            stop = int(options[1]) if options else 0
            return c.ReplaceOrder(ACCOUNTS[name], *parse_reference(order), int(lots or 0), int(price or 0), stop)
        case ["open", name, "group" | "firm" as kind, number]:
            opening = c.OpenAccount(ACCOUNTS[name], (("USD", CASH),), ((1, LOTS),))
            field = "trade_group_id" if kind == "group" else "firm_id"
            return msgspec.structs.replace(opening, **{field: int(number)})
        case [name, "transfer", amount, "to", shard, "as", transfer_id]:
            return c.BeginTransfer(ACCOUNTS[name], transfer_id, "USD", int(amount), int(shard))
        case ["from", shard, number, name, amount, "settled", settled]:
            return c.ReceiveTransfer(ACCOUNTS[name], "USD", int(amount), int(shard), int(number), int(settled))
        case ["from", shard, number, name, amount, *currency]:
            return c.ReceiveTransfer(ACCOUNTS[name], "".join(currency) or "USD", int(amount), int(shard), int(number))
        case ["shard", shard, "received" | "rejected" as verb, number]:
            return c.CompleteTransfer(int(shard), int(number), received=verb == "received")
        case [name, "deposit" | "withdraw" as verb, amount]:
            return c.AdjustCash(ACCOUNTS[name], "USD", int(amount) * (1 if verb == "deposit" else -1))
        case [name, "receive" | "deliver" as verb, lots]:
            return c.AdjustPosition(ACCOUNTS[name], 1, int(lots) * (1 if verb == "receive" else -1))
    raise ValueError(text)


def parse_breakers(levels: list[str], call_ns: int, timed_until_ns: int = 0) -> CircuitBreakers:
    """Levels such as `7%:5000`, with how long they halt, or `20%`, of the one instrument there is."""
    parsed = (level.partition("%") for level in levels)
    return CircuitBreakers(
        ((1, 1),),
        tuple(BreakerLevel(int(fall) * 10_000, int(halt[1:] or 0)) for fall, _, halt in parsed),
        call_ns,
        timed_until_ns,
    )


def parse_scope(words: list[str]) -> tuple[tuple[RiskScope, int], list[str]]:
    """Whom a limit is for (`alice`, `firm 1`, `venue`), and the words after that."""
    match words:
        case ["venue", *rest]:
            return (RiskScope.VENUE, 0), rest
        case ["firm", number, *rest]:
            return (RiskScope.FIRM, int(number)), rest
        case [name, *rest]:
            return (RiskScope.ACCOUNT, ACCOUNTS[name]), rest
    raise ValueError(words)


def parse_order(account_id: int, side: Side, amount: str, options: list[str]) -> c.PlaceOrder:
    lots, _, price = amount.partition("@")
    stop = int(options[options.index("stop") + 1]) if "stop" in options else 0
    display = int(options[options.index("display") + 1]) if "display" in options else 0
    expire_time_ns = int(options[options.index("gtd") + 1]) if "gtd" in options else 0
    minimum = int(options[options.index("minimum") + 1]) if "minimum" in options else 0
    trail = int(options[options.index("trail") + 1]) if "trail" in options else 0
    special = SpecialTerms(
        stop,
        display,
        "hidden" in options,
        expire_time_ns,
        minimum,
        "reprice" in options,
        trail,
        next((PEGS[option] for option in options if option in PEGS), PegPrice.NONE),
        int(options[options.index("offset") + 1]) if "offset" in options else 0,
        "all-or-none" in options,
    )
    is_market = price in ("market", "best")
    order_type = OrderType.MARKET_TO_LIMIT if price == "best" else ORDER_TYPES[is_market, stop > 0]
    names = {option.upper() for option in options} & set(TimeInForce.__members__)
    return c.PlaceOrder(
        account_id,
        options[options.index("as") + 1] if "as" in options else "",
        1,
        side,
        OrderType.PEGGED if special.peg else order_type,
        TimeInForce[names.pop()] if names else TimeInForce.GTC,
        int(lots),
        0 if is_market else int(price),
        "post-only" in options,
        next((PREVENTION[option] for option in options if option in PREVENTION), SelfTradePrevention.NONE),
        special if special != SpecialTerms() else None,
    )


def parse_reference(order: str) -> tuple[int, str]:
    """An order id, or where it is no number a client order id."""
    return (int(order), "") if order.isdigit() else (0, order)


# Events


def tell(event: e.AnyEvent) -> str:  # noqa: C901  # One row per kind of event.
    match event:
        case e.OrderAccepted():
            return tell_accepted(event)
        case e.OrderRejected(reason=reason, limit=limit):
            return f"rejected: {reason.name}{bound(limit)}"
        case e.OrderRepeated(order_id):
            return f"repeated {order_id}"
        case e.TradeExecuted():
            return tell_trade(event)
        case e.OrderCanceled(order_id, _, lots, reason):
            return f"canceled {order_id}: {lots} {reason.name}"
        case e.OrderExpired(order_id, _, lots, reason):
            return f"expired {order_id}: {lots} {reason.name}"
        case e.OrderReplaced(order_id, _, lots, left, price, keeps, stop):
            waits = f" stop {stop}" if stop else ""
            return f"replaced {order_id}: {lots}@{price}{waits} left {left}, {'keeps' if keeps else 'loses'} priority"
        case e.OrderGroupAccepted(group_id, _, _, contingency, order_ids):
            return f"group {group_id}: {contingency.name.lower()} of {', '.join(map(str, order_ids))}"
        case e.OrderGroupRejected(_, _, leg, reason, limit):
            return f"group rejected: {f'leg {leg} ' if leg else ''}{reason.name}{bound(limit)}"
        case e.LegActivated(order_id):
            return f"activated {order_id}"
        case e.LegRefused(order_id, _, reason, limit):
            return f"leg refused {order_id}: {reason.name}{bound(limit)}"
        case e.ClockAdvanced(count):
            return f"clock: {count} expired"
        case e.OrderRestated(order_id, _, price, stop):
            if not price:
                return f"restated {order_id}: waits for a price"
            return f"restated {order_id}: @{price}" + (f" stop {stop}" if stop else "")
        case e.OrderTriggered(order_id):
            return f"triggered {order_id}"
        case e.SelfTradePrevented():
            return tell_prevented(event)
        case e.CancelRejected(reason=reason):
            return f"cancel rejected: {reason.name}"
        case e.ReplaceRejected(reason=reason, limit=limit):
            return f"replace rejected: {reason.name}{bound(limit)}"
        case e.MassCancelCompleted(canceled_count=count):
            return f"mass cancel done: {count}"
        case e.CommandRefused(reason=reason):
            return f"refused: {reason.name}"
        case e.CashAdjusted(account_id, _, amount):
            return f"cash adjusted: {NAMES[account_id]} {amount:+}"
        case e.TransferBegun(account_id, _, _, amount, shard, number):
            return f"in transit: {amount} of {NAMES[account_id]}, {number} to shard {shard}"
        case e.TransferRepeated(account_id, transfer_id, shard, number, received):
            outcome = {None: "", True: ": received", False: ": returned"}[received]
            return f"repeated: {transfer_id} of {NAMES[account_id]}, {number} to shard {shard}{outcome}"
        case e.TransferReceived(account_id, _, amount, shard, number):
            return f"received: {amount} for {NAMES[account_id]}, {number} from shard {shard}"
        case e.TransferRejected(account_id, _, amount, shard, number, reason):
            return f"not received: {amount} for {NAMES[account_id]}, {number} from shard {shard}: {reason.name}"
        case e.TransferAnswered(account_id, shard, number, received):
            return (
                f"{'received' if received else 'rejected'} before: {number} from shard {shard} for {NAMES[account_id]}"
            )
        case e.TransferCompleted(account_id, _, _, amount, shard, number):
            return f"completed: {amount} of {NAMES[account_id]}, {number} to shard {shard}"
        case e.TransferReturned(account_id, _, _, amount, shard, number):
            return f"returned: {amount} of {NAMES[account_id]}, {number} to shard {shard}"
        case e.PositionAdjusted(account_id, _, lots):
            return f"lots adjusted: {NAMES[account_id]} {lots:+}"
        case e.AccountSuspended(account_id, suspended):
            return f"{'suspended' if suspended else 'reinstated'}: {NAMES[account_id]}"
        case e.RiskLimitsSet(scope, scope_id, limits):
            said = [f"{field} {value}" for field, value in msgspec.structs.asdict(limits).items() if value]
            return f"limits of {tell_scope(scope, scope_id)}: {', '.join(said) or 'none'}"
        case e.MarginSet(account_id, None):
            return f"cash account: {NAMES[account_id]}"
        case e.MarginSet(account_id, MarginTerms(credit, lots, liquidate)):
            return f"margin of {NAMES[account_id]}: credit {credit} short {lots}{' liquidate' if liquidate else ''}"
        case e.MarginCalled(account_id, _, equity, needed, liquidates):
            return f"margin call: {NAMES[account_id]} has {equity} of {needed}{', closed out' if liquidates else ''}"
        case e.MarginRestored(account_id):
            return f"margin restored: {NAMES[account_id]}"
        case e.CancelOnDisconnectSet(account_id, action):
            return f"on disconnect of {NAMES[account_id]}: {action.name}"
        case e.DisconnectReported(account_id):
            return f"disconnected: {NAMES[account_id]}"
        case e.CountdownSet(account_id, instrument_id, deadline_ns):
            return f"countdown of {NAMES[account_id]}{f' in {instrument_id}' if instrument_id else ''}: {deadline_ns or 'none'}"
        case e.CountdownElapsed(account_id, instrument_id):
            return f"countdown elapsed: {NAMES[account_id]}{f' in {instrument_id}' if instrument_id else ''}"
        case e.KillSwitchSet(scope, scope_id, active):
            return f"kill switch of {tell_scope(scope, scope_id)}: {'on' if active else 'off'}"
        case e.TradingPhaseChanged(_, phase, day_ends, ends_ns):
            until = f" until {ends_ns}" if ends_ns else ""
            return f"phase: {phase.name}{until}{', day ends' if day_ends else ''}"
        case e.AuctionUncrossed(_, phase, price, lots, surplus):
            return f"uncrossed {phase.name}: {tell_auction(price, lots, surplus)}"
        case e.AuctionIndicated(_, price, lots, surplus):
            return f"indicated: {tell_auction(price, lots, surplus)}"
        case e.AuctionExtended(_, for_market_orders, ends_ns):
            return f"extended for {'market orders' if for_market_orders else 'the price'} until {ends_ns}"
        case e.LimitBandsChanged(_, reference, lower, upper):
            return f"bands: {lower} to {upper} around {reference}"
        case e.LimitStateChanged(_, side, ends_ns):
            return f"limit state: {Side(side).name} until {ends_ns}" if side else "limit state: none"
        case e.CircuitBreakersSet(breakers):
            return f"circuit breakers: {len(breakers.levels) if breakers else 'none'}"
        case e.CircuitBreakerTripped(level, value, close, ends_ns):
            return f"circuit breaker {level}: {value} of {close}{f' until {ends_ns}' if ends_ns else ''}"
        case e.InstrumentChanged(instrument):
            fields = PLAIN.__struct_fields__
            changed = [name for name in fields if getattr(instrument, name) != getattr(PLAIN, name)]
            return f"instrument: {', '.join(f'{name} {getattr(instrument, name)}' for name in changed) or 'plain'}"
        case e.CashChanged(account_id, _, balance, held):
            return f"cash {NAMES[account_id]} {balance} held {held}"
        case e.PositionChanged(account_id, _, lots, held):
            return f"lots {NAMES[account_id]} {lots} held {held}"
        case e.BookChanged(levels=levels):
            return f"book: {', '.join(tell_level(*level) for level in levels)}"
    raise AssertionError(event)


def tell_scope(scope: RiskScope, scope_id: int) -> str:
    if scope is RiskScope.VENUE:
        return "the venue"
    return NAMES[scope_id] if scope is RiskScope.ACCOUNT else f"firm {scope_id}"


def tell_accepted(event: e.OrderAccepted) -> str:
    words = [
        f"accepted {event.order_id}:",
        NAMES[event.account_id],
        event.side.name.lower(),
        f"{event.quantity_lots}@{event.price_ticks}",
        "" if event.order_type.has_limit else "market" if event.order_type is not OrderType.MARKET_TO_LIMIT else "best",
        tell_special(event.special) if event.special else "",
        event.time_in_force.name.lower(),
        "post-only" if event.post_only else "",
        next((name for name, mode in PREVENTION.items() if mode is event.self_trade_prevention), ""),
        f"entered at {event.entered_price_ticks}" if event.entered_price_ticks else "",
        "waits" if event.is_waiting else "",
        f"as {event.client_order_id}" if event.client_order_id else "",
    ]
    return " ".join(word for word in words if word)


def tell_special(special: SpecialTerms) -> str:
    words = [
        f"stop {special.stop_price_ticks}" if special.stop_price_ticks else "",
        f"trail {special.trail_ticks}" if special.trail_ticks else "",
        f"display {special.display_lots}" if special.display_lots else "",
        "hidden" if special.hidden else "",
        next((name for name, peg in PEGS.items() if peg is special.peg), ""),
        f"offset {special.peg_offset_ticks}" if special.peg_offset_ticks else "",
        "all-or-none" if special.all_or_none else "",
        f"minimum {special.minimum_lots}" if special.minimum_lots else "",
        "reprice" if special.reprice else "",
        f"until {special.expire_time_ns}" if special.expire_time_ns else "",
    ]
    return " ".join(word for word in words if word)


def tell_trade(event: e.TradeExecuted) -> str:
    maker_fee = f" fee {event.maker_fee}" if event.maker_fee else ""
    taker_fee = f" fee {event.taker_fee}" if event.taker_fee else ""
    if event.is_auction:
        return (
            f"auction trade {event.quantity_lots}@{event.price_ticks}: "
            f"seller {event.maker_order_id} left {event.maker_leaves_lots}{maker_fee}, "
            f"buyer {event.taker_order_id} left {event.taker_leaves_lots}{taker_fee}"
        )
    return (
        f"trade {event.quantity_lots}@{event.price_ticks}: "
        f"maker {event.maker_order_id} left {event.maker_leaves_lots}{maker_fee}, "
        f"taker {event.taker_order_id} left {event.taker_leaves_lots}{taker_fee}"
    )


def tell_prevented(event: e.SelfTradePrevented) -> str:
    return (
        f"prevented {event.prevented_lots}@{event.price_ticks}: "
        f"maker {event.maker_order_id} left {event.maker_leaves_lots}, "
        f"taker {event.taker_order_id} left {event.taker_leaves_lots}"
    )


def tell_auction(price: int, lots: int, surplus: int) -> str:
    return f"{lots}@{price} surplus {surplus:+}" if lots else "nothing"


def tell_level(side: int, price: int, lots: int, orders: int) -> str:
    name = "bid" if side == Side.BUY else "ask"
    return f"{name} {price} is {lots} in {orders}" if orders else f"{name} {price} is gone"


def bound(limit: int) -> str:
    return f" (limit {limit})" if limit else ""
