"""Statistics of a series of returns, kept up to date one return at a time: they are ratios, so they are floating point."""

import math

import msgspec

WEALTH_MAX = 1e18
"""Wealth grows no further: who withdraws all but a cent after every gain would leave the range of numbers."""


class Returns(msgspec.Struct):
    """Count, mean and sum of squared deviations, by Welford's method (Technometrics 4 (1962), p. 419), which does not cancel digits."""

    count: int = 0
    mean: float = 0.0
    deviations: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.deviations += delta * (value - self.mean)

    @property
    def sharpe(self) -> float | None:
        """Mean return over its sample standard deviation, for one period, without a risk-free rate (Sharpe, The Sharpe Ratio, 1994).

        Times the root of the periods in a year it is the annual one. None for fewer than two returns, or where all are the same.
        """
        if self.count < 2 or self.deviations <= 0.0:
            return None
        return self.mean / math.sqrt(self.deviations / (self.count - 1))


class Wealth(msgspec.Struct):
    """What 1 has become, whatever was paid in or out meanwhile (the time-weighted return of the GIPS standards), and its drawdown."""

    value: float = 1.0
    peak: float = 1.0
    drawdown_max: float = 0.0
    """Largest fall from a peak so far, as a share of the peak."""

    def grow(self, rate: float) -> None:
        """A loss of all there is, or of more, leaves nothing."""
        self.value = min(max(0.0, self.value * (1.0 + rate)), WEALTH_MAX)
        self.peak = max(self.peak, self.value)
        self.drawdown_max = max(self.drawdown_max, 1.0 - self.value / self.peak)
