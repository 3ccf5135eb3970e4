"""TradingView's Universal Data Feed: charts of other front ends on this venue's market data."""
