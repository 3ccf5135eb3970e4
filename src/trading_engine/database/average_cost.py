"""What a position cost and what its sales have earned, by the average cost method, in whole minor units.

- A buy adds price * quantity to the cost.
- A sale takes the sold share of the cost out, rounded down to a minor unit, and realizes what it brought less that share. What rounding
  leaves stays in the cost, and the last lot takes all of it: over the life of a position nothing is lost or made up.
- Fees, of buys and of sales, are realized at once as a loss. The cost is without fees, so that the average price is a market price.
- Lots delivered in come in at the last trade price (before the first trade: the instrument's reference price, without one: at no
  cost), so that a delivery is neither a profit nor a loss at that moment. Lots delivered out take their share of the cost with them
  and realize nothing.
- A position sold short has a negative cost: what its sales brought in. Buys and deliveries that cover it take their share of that.

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
        covered = min(quantity_lots, max(0, -self.quantity_lots))
        spent = value * covered // quantity_lots
        self.realized_pnl -= self._release(covered) + spent + fee
        self.quantity_lots += quantity_lots - covered
        self.cost += value - spent

    def sell(self, quantity_lots: int, value: int, fee: int) -> None:
        sold = min(quantity_lots, max(0, self.quantity_lots))
        earned = value * sold // quantity_lots
        self.realized_pnl += earned - self._release(sold) - fee
        self.quantity_lots -= quantity_lots - sold
        self.cost -= value - earned

    def deliver(self, quantity_lots: int, value: int) -> None:
        """Lots come in, worth `value`; or, with a negative quantity, go out."""
        if quantity_lots > 0:
            covered = min(quantity_lots, max(0, -self.quantity_lots))
            self._release(covered)
            self.quantity_lots += quantity_lots - covered
            self.cost += value - value * covered // quantity_lots
        else:
            self._release(-quantity_lots)

    def _release(self, quantity_lots: int) -> int:
        """Bring the position nearer to zero; returns the share of the cost, which for one sold short is negative."""
        if quantity_lots == 0:
            return 0
        held, sign = abs(self.quantity_lots), 1 if self.quantity_lots > 0 else -1
        assert 0 < quantity_lots <= held, (quantity_lots, self)
        share = sign * (abs(self.cost) * quantity_lots // held)
        self.quantity_lots -= sign * quantity_lots
        self.cost -= share
        return share
