"""Why the venue says no: one stable code per rule.

A refusal is an event, never an exception. Where several rules are broken at once, the one that stands first in this enumeration
is the one reported: the order of the members *is* the documented order of precedence (their numbers are only names that never change).
The edge (TES) refuses some things before they can be put into ticks and lots, with the codes from 100 to 109; all others are of the
venue.
"""

from enum import IntEnum


class Reason(IntEnum):
    """Refusal codes in order of precedence."""

    UNKNOWN_ACCOUNT = 1
    CLIENT_ORDER_ID_TOO_LONG = 22
    DUPLICATE_CLIENT_ORDER_ID = 2
    INVALID_TRANSFER = 120
    DUPLICATE_TRANSFER_ID = 121
    ACCOUNT_SUSPENDED = 3
    KILL_SWITCH = 70
    UNKNOWN_ORDER = 4
    UNKNOWN_ORDER_GROUP = 28
    UNSUPPORTED_ORDER_GROUP = 29
    UNKNOWN_INSTRUMENT = 5
    INSTRUMENT_SUSPENDED = 134
    MARKET_CLOSED = 6
    TRADING_HALTED = 7
    SESSION_DOES_NOT_ALLOW = 50
    UNSUPPORTED_ORDER_ATTRIBUTES = 8
    EXPIRE_TIME_IN_PAST = 24
    QUANTITY_NOT_POSITIVE = 9
    QUANTITY_BELOW_MINIMUM = 10
    QUANTITY_ABOVE_MAXIMUM = 11
    DISPLAY_ABOVE_QUANTITY = 25
    DISPLAY_BELOW_MINIMUM = 26
    MINIMUM_ABOVE_QUANTITY = 27
    PRICE_NOT_POSITIVE = 12
    PRICE_ABOVE_MAXIMUM = 13
    NO_LIQUIDITY = 14
    STOP_WOULD_TRIGGER_IMMEDIATELY = 23
    PRICE_OUTSIDE_BAND = 15
    NOTIONAL_BELOW_MINIMUM = 16
    NOTIONAL_ABOVE_MAXIMUM = 17
    MAX_OPEN_ORDERS = 18
    POST_ONLY_WOULD_CROSS = 19
    MESSAGE_RATE_EXCEEDED = 71
    ORDER_RATE_EXCEEDED = 72
    DUPLICATE_ORDER = 73
    ORDER_QUANTITY_ABOVE_LIMIT = 74
    ORDER_NOTIONAL_ABOVE_LIMIT = 75
    PRICE_OUTSIDE_COLLAR = 76
    OPEN_ORDERS_ABOVE_LIMIT = 77
    OPEN_NOTIONAL_ABOVE_LIMIT = 78
    POSITION_ABOVE_LIMIT = 79
    DAY_TURNOVER_ABOVE_LIMIT = 80
    DAY_LOSS_ABOVE_LIMIT = 81
    INSUFFICIENT_MARGIN = 83
    SHORT_NOT_PERMITTED = 82
    INSUFFICIENT_FUNDS = 20
    INSUFFICIENT_POSITION = 21

    ACCOUNT_EXISTS = 40
    INSTRUMENT_EXISTS = 41
    UNKNOWN_CURRENCY = 42
    AMOUNT_OUT_OF_RANGE = 43
    INVALID_INSTRUMENT = 44
    UNKNOWN_MATCHING_ALGORITHM = 60
    INSTRUMENT_FIELD_FIXED = 130
    INSTRUMENT_UNCHANGED = 131
    INSTRUMENT_IN_USE = 132
    FEES_NOT_COVERED = 133
    INVALID_ACCOUNT = 46
    INVALID_RISK_SCOPE = 84
    INVALID_RISK_LIMITS = 85
    INVALID_COUNTDOWN = 86
    INVALID_MARGIN = 87
    MARGIN_IN_USE = 88
    PHASE_UNCHANGED = 45
    CALL_END_OUT_OF_RANGE = 51
    CIRCUIT_BREAKER_IN_EFFECT = 111
    INVALID_CIRCUIT_BREAKERS = 110
    TOO_MANY_TRANSFERS = 122
    TRANSFER_OUT_OF_TURN = 123
    UNKNOWN_TRANSFER = 124

    PRICE_NOT_ON_TICK = 100
    QUANTITY_NOT_ON_LOT = 101


REASON_TEXT: dict[Reason, str] = {
    Reason.UNKNOWN_ACCOUNT: "There is no such account on this venue.",
    Reason.CLIENT_ORDER_ID_TOO_LONG: "The client order id has too many characters.",
    Reason.DUPLICATE_CLIENT_ORDER_ID: "This client order id was used before in this account, for a different order.",
    Reason.INVALID_TRANSFER: "The transfer's id has no or too many characters, or its shard, number or amount is out of range.",
    Reason.DUPLICATE_TRANSFER_ID: "This transfer id was used before in this account, for a different transfer.",
    Reason.ACCOUNT_SUSPENDED: "The account is suspended: it may cancel, not trade.",
    Reason.KILL_SWITCH: "The kill switch of the account, its firm or the venue is on: orders may be canceled, not entered or changed.",
    Reason.UNKNOWN_ORDER: "No working order with this id belongs to this account.",
    Reason.UNKNOWN_ORDER_GROUP: "No group with this id and open orders belongs to this account.",
    Reason.UNSUPPORTED_ORDER_GROUP: "These orders cannot form a group of this kind.",
    Reason.UNKNOWN_INSTRUMENT: "The venue does not list this instrument.",
    Reason.INSTRUMENT_SUSPENDED: "The venue takes no orders in this instrument for the time being.",
    Reason.MARKET_CLOSED: "The market is closed.",
    Reason.TRADING_HALTED: "Trading in this instrument is halted: orders may be canceled, not entered or changed.",
    Reason.SESSION_DOES_NOT_ALLOW: "The market's phase does not take this: a replace, or an order of this type or time in force.",
    Reason.UNSUPPORTED_ORDER_ATTRIBUTES: "This combination of side, order type, time in force, price and flags is not supported.",
    Reason.EXPIRE_TIME_IN_PAST: "The time at which the order is to expire is not in the future.",
    Reason.QUANTITY_NOT_POSITIVE: "The quantity must be greater than zero.",
    Reason.QUANTITY_BELOW_MINIMUM: "The quantity is below the instrument's minimum.",
    Reason.QUANTITY_ABOVE_MAXIMUM: "The quantity is above the instrument's maximum.",
    Reason.DISPLAY_ABOVE_QUANTITY: "The quantity to display is greater than the order's.",
    Reason.DISPLAY_BELOW_MINIMUM: "The quantity to display is too small: it would cut the order into too many slices.",
    Reason.MINIMUM_ABOVE_QUANTITY: "The quantity that has to trade at once is greater than the order's.",
    Reason.PRICE_NOT_POSITIVE: "The price must be greater than zero.",
    Reason.PRICE_ABOVE_MAXIMUM: "The price is above the instrument's maximum.",
    Reason.NO_LIQUIDITY: "A market order needs a price on the other side of the book, and there is none.",
    Reason.STOP_WOULD_TRIGGER_IMMEDIATELY: "The last trade's price is at or beyond the stop price already.",
    Reason.PRICE_OUTSIDE_BAND: "The price is too far from the reference price.",
    Reason.NOTIONAL_BELOW_MINIMUM: "The order's value is below the instrument's minimum.",
    Reason.NOTIONAL_ABOVE_MAXIMUM: "The order's value is above the instrument's maximum.",
    Reason.MAX_OPEN_ORDERS: "The account has as many working orders as it may have.",
    Reason.POST_ONLY_WOULD_CROSS: "A post-only order would trade at once at this price.",
    Reason.MESSAGE_RATE_EXCEEDED: "There were as many messages in this time as the risk limits allow.",
    Reason.ORDER_RATE_EXCEEDED: "There were as many orders in this time as the risk limits allow.",
    Reason.DUPLICATE_ORDER: "An order of the same content was entered a moment ago.",
    Reason.ORDER_QUANTITY_ABOVE_LIMIT: "The quantity is above the risk limit for one order.",
    Reason.ORDER_NOTIONAL_ABOVE_LIMIT: "The order's value is above the risk limit for one order.",
    Reason.PRICE_OUTSIDE_COLLAR: "The price is further from the reference price than the risk limits allow.",
    Reason.OPEN_ORDERS_ABOVE_LIMIT: "There are as many working orders as the risk limits allow.",
    Reason.OPEN_NOTIONAL_ABOVE_LIMIT: "The working orders would be worth more than the risk limits allow.",
    Reason.POSITION_ABOVE_LIMIT: "The position would be greater than the risk limits allow, were all working orders filled.",
    Reason.DAY_TURNOVER_ABOVE_LIMIT: "What was traded today, and what is working, would be worth more than the risk limits allow.",
    Reason.DAY_LOSS_ABOVE_LIMIT: "Today's loss has reached the risk limit: only orders that close a position are taken.",
    Reason.INSUFFICIENT_MARGIN: "The account's equity would be below the initial margin with this order.",
    Reason.SHORT_NOT_PERMITTED: "The position does not cover the quantity to sell, and it may not be sold short.",
    Reason.INSUFFICIENT_FUNDS: "The available cash does not cover the order at its limit price with the highest fee.",
    Reason.INSUFFICIENT_POSITION: "The available position does not cover the quantity to sell.",
    Reason.ACCOUNT_EXISTS: "An account with this id is open already.",
    Reason.INSTRUMENT_EXISTS: "An instrument with this id or symbol is listed already.",
    Reason.UNKNOWN_CURRENCY: "No instrument of this venue trades in this currency.",
    Reason.AMOUNT_OUT_OF_RANGE: "The amount would take the balance below what open orders hold, or beyond the largest balance.",
    Reason.INVALID_INSTRUMENT: "The instrument's definition breaks a rule.",
    Reason.UNKNOWN_MATCHING_ALGORITHM: "This venue has no matching algorithm of this name.",
    Reason.INSTRUMENT_FIELD_FIXED: "What prices, quantities and the queue rest on stays as it was listed.",
    Reason.INSTRUMENT_UNCHANGED: "The instrument is defined like this already.",
    Reason.INSTRUMENT_IN_USE: "This can change only while no order works in the instrument, and nobody has sold it short.",
    Reason.FEES_NOT_COVERED: "An account could not pay its working orders with these fees.",
    Reason.INVALID_ACCOUNT: "The account's id, its trade group, its firm or its number of working orders is out of range.",
    Reason.INVALID_RISK_SCOPE: "Risk limits and kill switches are for an account, a firm with an id in range, or for the venue with id 0.",
    Reason.INVALID_RISK_LIMITS: "A risk limit is out of range, or a rate and the window for it do not come together.",
    Reason.INVALID_COUNTDOWN: "The countdown is negative or ends after the latest time there is.",
    Reason.INVALID_MARGIN: "Credit or short lots are out of range, or with all other accounts' beyond the largest balance.",
    Reason.MARGIN_IN_USE: "The account owes, or has sold short, more than the new terms allow.",
    Reason.PHASE_UNCHANGED: "The market is in this phase already.",
    Reason.CALL_END_OUT_OF_RANGE: "Only a call has a planned end, and it has to lie in the future.",
    Reason.CIRCUIT_BREAKER_IN_EFFECT: "A circuit breaker has halted trading: no market takes orders until its time is over.",
    Reason.INVALID_CIRCUIT_BREAKERS: "Index, levels or times of the circuit breakers are out of range.",
    Reason.TOO_MANY_TRANSFERS: "As many of the account's transfers are in transit as may be.",
    Reason.TRANSFER_OUT_OF_TURN: "The transfer is not the next one from its shard, and none that may still be asked for.",
    Reason.UNKNOWN_TRANSFER: "No transfer with this number is in transit to this shard.",
    Reason.PRICE_NOT_ON_TICK: "The price is not a multiple of the instrument's tick size.",
    Reason.QUANTITY_NOT_ON_LOT: "The quantity is not a multiple of the instrument's lot size.",
}


class EndReason(IntEnum):
    """Why an order that was accepted ended without being filled."""

    REQUESTED = 1
    """The owner canceled it."""
    MASS_CANCELED = 2
    IOC_REMAINDER = 3
    """Immediate-or-cancel: what did not trade at once (FIX: Canceled)."""
    FOK_NOT_FILLABLE = 4
    """Fill-or-kill: the book could not fill all of it within its limit (FIX: Canceled)."""
    REDUCED_TO_FILLED = 5
    """A replace brought its quantity down to what had been filled."""
    END_OF_DAY = 6
    """A DAY order at the end of the trading day (FIX: Expired)."""
    SELF_TRADE_PREVENTED = 7
    """It would have traded with an order of the same owner (FIX: Canceled)."""
    EXPIRE_TIME_REACHED = 8
    """A GTD order, by the venue's clock (FIX: Expired)."""
    MINIMUM_NOT_FILLABLE = 9
    """The book could not fill the order's minimum quantity within its limit (FIX: Canceled)."""
    AUCTION_REMAINDER = 10
    """A market order, or one for this auction only: what the auction left of it (FIX: Canceled)."""
    OUTSIDE_BAND = 11
    """It would have traded at a price outside the instrument's execution band (FIX: Canceled)."""
    KILL_SWITCH = 18
    """The kill switch of its account, firm or venue was turned on (FIX: Canceled)."""
    CONNECTION_LOST = 19
    """Its owner was disconnected, or let a countdown elapse (FIX: Canceled)."""
    MARGIN_CALL = 20
    """Its account's equity fell below maintenance margin (FIX: Canceled)."""
    ORDER_GROUP = 15
    """Another order of its group traded or ended (FIX: Canceled)."""
    LEG_REFUSED = 16
    """It was to become active, and was refused then (FIX: Canceled)."""
