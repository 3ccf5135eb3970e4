"""What a position cost and what its sales have earned, by the average cost method, in whole minor units.

- A buy adds price * quantity to the cost.
- A sale takes the sold share of the cost out, rounded down to a minor unit, and realizes what it brought less that share. What rounding
  leaves stays in the cost, and the last lot takes all of it: over the life of a position nothing is lost or made up.
- Fees, of buys and of sales, are realized at once as a loss. The cost is without fees, so that the average price is a market price.
- Lots delivered in come in at the last trade price (before the first trade: the instrument's reference price, without one: at no
  cost), so that a delivery is neither a profit nor a loss at that moment. Lots delivered out take their share of the cost with them
  and realize nothing.

So at any time: realized + market value - cost = what the account gained by trading since each lot came in.
"""

import msgspec


class Holding(msgspec.Struct):
    """One account's position in one instrument. Money is in minor units."""

    quantity_lots: int = 0
    held_lots: int = 0
    cost: int = 0
    realized_pnl: int = 0
    event_sequence: int = 0

    def buy(self, quantity_lots: int, value: int, fee: int) -> None:
        self.quantity_lots += quantity_lots
        self.cost += value
        self.realized_pnl -= fee

    def sell(self, quantity_lots: int, value: int, fee: int) -> None:
        self.realized_pnl += value - self._release(quantity_lots) - fee

    def deliver(self, quantity_lots: int, value: int) -> None:
        """Lots come in, worth `value`; or, with a negative quantity, go out."""
        if quantity_lots >= 0:
            self.quantity_lots += quantity_lots
            self.cost += value
        else:
            self._release(-quantity_lots)

    def _release(self, quantity_lots: int) -> int:
        """Take lots out; returns their share of the cost."""
        assert 0 < quantity_lots <= self.quantity_lots, (quantity_lots, self)
        share = self.cost * quantity_lots // self.quantity_lots
        self.quantity_lots -= quantity_lots
        self.cost -= share
        return share
