"""Money and lots in the compiled venue: what an order holds, what a fill costs, and whose balances a command has touched.

The arithmetic is that of `accounts.py`, in 64 bits: a value is split into whole millions and the rest before it is multiplied by a fee in
millionths, so that no product leaves them.
"""

from trading_engine.venue.fast.compiled import part
from trading_engine.venue.fast.layout import (
    K_FEE_PPM,
    K_TICK_VALUE,
    S_HELD,
    S_LOTS,
    S_STAMP,
    S_WALLET,
    SEAT_COUNT,
    SEAT_WORDS,
    SEATS,
    STAMP,
    TOUCHED_SEATS,
    TOUCHED_WALLETS,
    W_CASH,
    W_HELD,
    W_STAMP,
    WALLET_COUNT,
    WALLET_WORDS,
    WALLETS,
)
from trading_engine.venue.fast.memory import load_i64, store_i64

MILLION = 1_000_000


@part
def seat_at(h: int, number: int) -> int:
    return load_i64(h, SEATS) + number * (8 * SEAT_WORDS)


@part
def wallet_of(h: int, seat: int) -> int:
    return load_i64(h, WALLETS) + load_i64(seat, S_WALLET) * (8 * WALLET_WORDS)


@part
def touch_wallet(h: int, wallet: int) -> None:
    stamp = load_i64(h, STAMP)
    if load_i64(wallet, W_STAMP) != stamp:
        store_i64(wallet, W_STAMP, stamp)
        count = load_i64(h, WALLET_COUNT)
        store_i64(load_i64(h, TOUCHED_WALLETS), count, wallet)
        store_i64(h, WALLET_COUNT, count + 1)


@part
def touch_seat(h: int, seat: int) -> None:
    stamp = load_i64(h, STAMP)
    if load_i64(seat, S_STAMP) != stamp:
        store_i64(seat, S_STAMP, stamp)
        count = load_i64(h, SEAT_COUNT)
        store_i64(load_i64(h, TOUCHED_SEATS), count, seat)
        store_i64(h, SEAT_COUNT, count + 1)


@part
def hold_needed(k: int, side: int, price: int, leaves: int, credit: int) -> int:
    """What an order has to hold: lots for a sell (side 1), minor units with the highest fee for a buy."""
    if side != 0 or leaves == 0:
        return leaves
    value = price * leaves * load_i64(k, K_TICK_VALUE)
    ppm = load_i64(k, K_FEE_PPM)
    if ppm == 0:
        return value
    millions = value // MILLION
    rest = value - millions * MILLION
    return value + millions * ppm + (rest * ppm - credit + MILLION - 1) // MILLION


@part
def charge(value: int, ppm: int, credit: int) -> tuple[int, int]:
    """(fee to take now, credit after it)."""
    if ppm == 0 and credit == 0:
        return 0, 0
    millions = value // MILLION
    exact = (value - millions * MILLION) * ppm - credit
    whole = (exact + MILLION - 1) // MILLION
    return millions * ppm + whole, whole * MILLION - exact


@part
def change_hold(h: int, seat: int, side: int, change: int) -> None:
    if side == 0:
        wallet = wallet_of(h, seat)
        store_i64(wallet, W_HELD, load_i64(wallet, W_HELD) + change)
        touch_wallet(h, wallet)
    else:
        store_i64(seat, S_HELD, load_i64(seat, S_HELD) + change)
        touch_seat(h, seat)


@part
def settle(h: int, seat: int, side: int, lots: int, value: int, fee: int, hold_change: int) -> None:
    """One side of a trade; whose balances are touched first is what the events will show."""
    change_hold(h, seat, side, hold_change)
    wallet = wallet_of(h, seat)
    if side == 0:
        store_i64(wallet, W_CASH, load_i64(wallet, W_CASH) - value - fee)
        store_i64(seat, S_LOTS, load_i64(seat, S_LOTS) + lots)
        touch_seat(h, seat)
    else:
        store_i64(wallet, W_CASH, load_i64(wallet, W_CASH) + value - fee)
        store_i64(seat, S_LOTS, load_i64(seat, S_LOTS) - lots)
        touch_wallet(h, wallet)
