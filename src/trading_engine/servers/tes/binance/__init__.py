"""Binance's spot API over this venue: a translation of requests and answers, with no rules of its own.

Made for what its clients send (ccxt, python-binance, binance-connector): `docs/api/binance.md` says what is offered and what is not.

    rest.py         /api/v3 over HTTP            signing.py    whose request it is
    sockets.py      /ws, /stream, /ws-api/v3     requests.py   parameters to the venue's orders
    streams.py      market data streams          views.py      orders, trades and balances as Binance shows them
    user_data.py    an account's stream          errors.py     refusals as its codes
    account.py      an account's own orders      limits.py     what was used, for its headers
    order_lists.py  OCO, OTO and OTOCO           symbols.py    instruments, and their rules as filters
    market.py       public market data           times.py      milliseconds or microseconds
    absent.py       what this venue has none of
"""
