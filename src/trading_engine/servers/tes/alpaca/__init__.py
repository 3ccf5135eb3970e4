"""Alpaca's trading and market data APIs over this venue: a translation of requests and answers, with no rules of its own.

Made for what its clients send (alpaca-py first): `docs/api/alpaca.md` says what is offered and what is not.

    rest.py           /v2 over HTTP                 keys.py          whose request it is
    orders.py         /v2/orders                    requests.py      bodies and queries to the venue's orders
    positions.py      /v2/positions                 views.py         orders as Alpaca shows them
    account.py        /v2/account                   versions.py      what an order is called after a replace
    activities.py     /v2/account/activities        ids.py           UUIDs from numbers and back
    assets.py         assets, clock, calendar       errors.py        refusals as its codes
    watchlists.py     /v2/watchlists                absent.py        what this venue has none of
    data.py           /v2/stocks                    data_views.py    market data in JSON and MessagePack
    sockets.py        /stream, /v2/{feed}           timeframes.py    widths of bars
    trade_updates.py  frames of /stream             data_streams.py  frames of /v2/{feed}
"""
