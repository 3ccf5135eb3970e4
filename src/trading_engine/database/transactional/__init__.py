"""Users, portfolios, orders, trades, positions and balances: the relational side of the venue.

`database.TransactionalDatabase` is the way in; `projection` keeps it up to date from the event stream.
"""
