"""What trading came to: P&L, traders' metrics, trades against the mid, the market's quality, latencies.

`aggregations` computes it from events, `projection` keeps the tables up to date, `database.AnalyticsDatabase` answers questions.
"""
