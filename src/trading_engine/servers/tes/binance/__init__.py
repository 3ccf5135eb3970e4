"""Binance's spot API over this venue: a translation of requests and answers, with no rules of its own.

Made for what its clients send (ccxt, python-binance, binance-connector): `docs/api/binance.md` says what is offered and what is not.

    rest.py       /api/v3 over HTTP           signing.py    whose request it is
    streams.py    market data streams         requests.py   parameters to the venue's orders
    user_data.py  an account's stream         views.py      orders, trades and balances as Binance shows them
    ws_api.py     /ws-api/v3                  errors.py     refusals as its codes
"""
