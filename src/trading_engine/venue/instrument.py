"""What the venue needs to know of an instrument: everything in ticks, lots and minor currency units."""

import msgspec

from trading_engine.venue.auction import AuctionRules, BandRules, LimitBandRules

MONEY_MAX = 2**62
"""Largest balance, hold or notional in minor units: sums of two never leave a signed 64-bit integer."""
PRICE_TICKS_MAX = 2**31 - 1
QUANTITY_LOTS_MAX = 2**31 - 1
ID_MAX = 2**63 - 1
"""Largest account or instrument id: databases and other languages keep ids in signed 64-bit integers."""
TIME_NS_MAX = 2**63 - 1
"""Latest time at which an order can expire: in the year 2262."""
LEAD_MARKET_MAKERS_MAX = 16
"""Accounts that one instrument's matching rules can prefer."""
ICEBERG_SLICES_MAX = 100
"""Into so many slices an iceberg may cut its quantity: each is a trade of its own."""
PPM = 1_000_000
PERCENT = 100
FEE_PPM_MAX = 100_000
MARGIN_PPM_MAX = 10 * PPM
SYMBOL_CHARACTERS_MAX = 32
CURRENCY_CHARACTERS_MAX = 16
NAME_CHARACTERS_MAX = 200


class MatchingRules(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How the orders of one price level share what an incoming order takes, where it is not first come, first served.

    `algorithm` is the name of a strategy that the venue was given; the other fields are its parameters, and one that an algorithm has
    no step for means nothing to it. The steps are those of CME Globex: see `trading_engine.venue.matching`.
    """

    algorithm: str
    top: bool = False
    """Whether the first order that betters its side of the market is filled first."""
    top_lots_min: int = 1
    """An order that displays less is not filled first."""
    top_lots_max: int = 0
    """So much of an order is filled first; 0: all that it displays."""
    lead_market_makers: tuple[tuple[int, int], ...] = ()
    """(account id, percent of the incoming quantity that the account's orders get before the others)."""
    pro_rata_lots_min: int = 2
    """A proportional share below this is none."""
    fifo_percent: int = 0
    """Of a split algorithm: how much of the quantity goes first come, first served; the rest is shared in proportion."""
    leveling: bool = False
    """Of a split algorithm: whether orders without a proportional share get one lot each, largest first, of what rounding left."""


class Instrument(msgspec.Struct, frozen=True, array_like=True):
    """One listed instrument.

    `tick_size` and `lot_size` are the decimal strings by which the edge converts prices and quantities; inside, a price is a whole
    number of ticks and a quantity a whole number of lots. One lot at one tick is worth `tick_value` minor units of `currency`, and
    that has to be a whole number.
    """

    instrument_id: int
    symbol: str
    name: str
    currency: str
    tick_size: str
    lot_size: str
    tick_value: int
    """Minor units of `currency` that one lot is worth at a price of one tick."""
    quantity_lots_min: int = 1
    quantity_lots_max: int = 10_000_000
    price_ticks_max: int = 100_000_000
    notional_min: int = 0
    """Minor units; at the limit price, for market orders at the one that their protection gives them."""
    notional_max: int = 1_000_000_000_000_000
    market_protection_ticks: int = 500
    """A market order trades no further than this from the best opposite price (CME: market with protection)."""
    price_band_ppm: int = 0
    """Limit prices further than this from the reference price are refused, in parts per million; 0 switches the band off."""
    maker_fee_ppm: int = 0
    """Fee for adding liquidity in parts per million of the notional; a negative one is a rebate, at most the taker's fee."""
    taker_fee_ppm: int = 0
    reference_price_ticks: int = 0
    """Reference for the price band until the first trade; 0 if there is none."""
    matching: MatchingRules | None = None
    """None: price, then time."""
    auctions: AuctionRules | None = None
    """When calls are extended; None: never."""
    bands: BandRules | None = None
    """Between which prices trades happen; None: at any."""

    initial_margin_ppm: int = 0
    """Equity that a margin account needs to open a position, in parts per million of its value; 0: all of it."""
    maintenance_margin_ppm: int = 0
    """Equity that it needs to keep the position; 0: as much as to open it."""
    shortable: bool = False
    """Whether margin accounts may sell it short."""
    limit_bands: LimitBandRules | None = None
    """Limit up, limit down; None: there are no such bands. Not together with `bands`."""
    suspended: bool = False
    """A suspended instrument takes no orders and no replaces. What works in it stays, and can be canceled."""

    @property
    def initial_ppm(self) -> int:
        return self.initial_margin_ppm or PPM

    @property
    def maintenance_ppm(self) -> int:
        return self.maintenance_margin_ppm or self.initial_ppm

    @property
    def fee_ppm_max(self) -> int:
        return max(self.maker_fee_ppm, self.taker_fee_ppm)
