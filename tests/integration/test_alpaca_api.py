"""Alpaca's API as it is spoken: keys, orders and their ids, groups, positions, errors."""

import base64
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from support.alpaca_account import Account, account_of
from support.tes_venue import PLENTY, Venue, running_venue, venue_config
from trading_engine.venue.commands import SuspendAccount

pytestmark = pytest.mark.asyncio(loop_scope="module")

SYMBOL = "AAPL"
OPENING = 1_000_000 + 1000 * 230 + 1000 * 60_000
"""In cash and stock, at reference prices."""
PRICE_CHANGES = 100_000
"""More than prices change in these tests."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accounts(venue: Venue) -> tuple[Account, Account]:
    return await account_of(venue, "ann"), await account_of(venue, "bob")


@pytest_asyncio.fixture(loop_scope="module")
async def ann(accounts: tuple[Account, Account]) -> AsyncIterator[Account]:
    yield accounts[0]
    await accounts[0].send("DELETE", "orders")


@pytest_asyncio.fixture(loop_scope="module")
async def bob(accounts: tuple[Account, Account]) -> AsyncIterator[Account]:
    yield accounts[1]
    await accounts[1].send("DELETE", "orders")


# Keys


async def test_key_is_taken_in_headers_as_basic_and_as_a_token(venue: Venue, ann: Account) -> None:
    basic = base64.b64encode(f"{ann.key_id}:{ann.secret}".encode()).decode()
    trader = await venue.log_in("ann")
    ids = set()
    for headers in (ann.headers, {"Authorization": f"Basic {basic}"}, trader.headers):
        response = await venue.http.get("/v2/account", headers=headers)
        assert response.status_code == 200, response.text
        ids.add(response.json()["id"])
    assert len(ids) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"APCA-API-KEY-ID": "k" + "0" * 24, "APCA-API-SECRET-KEY": "x"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"nobody").decode()},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Digest x"},
    ],
)
async def test_request_without_a_right_key_is_not_authorized(venue: Venue, headers: dict[str, str]) -> None:
    response = await venue.http.get("/v2/account", headers=headers)
    assert (response.status_code, response.json()) == (
        401,
        {"code": 40110000, "message": "request is not authorized"},
    )


# Orders


async def test_order_is_shown_with_strings_and_what_became_of_it(ann: Account, bob: Account) -> None:
    await bob.place("sell", "2", "230.00")
    await bob.place("sell", 2, 230.5)
    placed = await ann.place("buy", 3.0, 231, client_order_id="mine-1")
    assert (placed["status"], placed["qty"], placed["filled_qty"]) == ("filled", "3", "3")
    assert (placed["filled_avg_price"], placed["limit_price"]) == ("230.166667", "231.00")
    assert placed["filled_at"] == placed["updated_at"]
    assert placed == await ann.ok("GET", f"orders/{placed['id']}")
    assert placed == await ann.ok("GET", "orders:by_client_order_id", client_order_id="mine-1")
    again = await ann.send(
        "POST", "orders",
        {"symbol": SYMBOL, "side": "buy", "type": "limit", "time_in_force": "day", "qty": 3, "limit_price": 231,
         "client_order_id": "mine-1"},
    )  # fmt: skip
    assert (again.status_code, again.json()["message"]) == (422, "client_order_id must be unique")


async def test_replaced_order_is_another_and_the_first_stays_as_it_was(ann: Account, bob: Account) -> None:
    first = await ann.place("buy", "10", "220.00")
    second = await ann.ok("PATCH", f"orders/{first['id']}", {"qty": "8"})
    third = await ann.ok("PATCH", f"orders/{second['id']}", {"limit_price": "221.00"})
    assert len({first["id"], second["id"], third["id"]}) == 3
    assert (second["replaces"], third["replaces"]) == (first["id"], second["id"])
    was = [await ann.ok("GET", f"orders/{order['id']}") for order in (first, second, third)]
    assert [(order["status"], order["qty"], order["limit_price"], order["replaced_by"]) for order in was] == [
        ("replaced", "10", "220.00", second["id"]),
        ("replaced", "8", "220.00", third["id"]),
        ("new", "8", "221.00", None),
    ]
    assert [order["id"] for order in await ann.ok("GET", "orders")] == [third["id"]]
    assert await ann.error("PATCH", f"orders/{first['id']}", {"qty": "7"}) == (422, 42210000)
    assert await ann.error("DELETE", f"orders/{first['id']}") == (422, 42210000)
    assert await bob.error("GET", f"orders/{third['id']}") == (404, 40410000)
    assert (await ann.send("DELETE", f"orders/{third['id']}")).status_code == 204
    assert await ann.error("DELETE", f"orders/{third['id']}") == (422, 42210000)
    ended = await ann.ok("GET", f"orders/{third['id']}")
    assert (ended["status"], ended["replaces"], ended["canceled_at"]) == ("canceled", second["id"], ended["updated_at"])


async def test_order_that_its_replace_or_cancel_ends_is_called_what_it_was_last(ann: Account, bob: Account) -> None:
    for _ in range(20):
        await bob.place("sell", "1", "230.00")
        placed = await ann.place("buy", "1", "229.00")
        filled = await ann.ok("PATCH", f"orders/{placed['id']}", {"limit_price": "230.00"})
        assert (filled["status"], filled["replaces"]) == ("filled", placed["id"])
        resting = await ann.place("buy", "1", "200.00")
        changed = await ann.ok("PATCH", f"orders/{resting['id']}", {"qty": "2"})
        assert [row["id"] for row in await ann.ok("DELETE", "orders")] == [changed["id"]]


@pytest.mark.parametrize(
    ("kind", "fields", "shown"),
    [
        ("stop", {"stop_price": "240"}, {"stop_price": "240.00", "limit_price": None}),
        ("stop_limit", {"stop_price": "240", "limit_price": "241"}, {"stop_price": "240.00", "limit_price": "241.00"}),
        ("trailing_stop", {"trail_price": "2.50"}, {"trail_price": "2.50"}),
        ("trailing_stop", {"trail_percent": "1"}, {"trail_price": "2.30"}),
        ("limit", {"limit_price": 199.5}, {"limit_price": "199.50"}),
    ],
)
async def test_every_type_of_order_is_placed_and_shown_as_it_was_sent(
    ann: Account, bob: Account, kind: str, fields: dict[str, Any], shown: dict[str, Any]
) -> None:
    await bob.place("sell", "1", "230.00")
    await ann.place("buy", "1", "230.00")
    order = await ann.place("buy", "1", type=kind, **fields)
    assert {"type": kind, "status": "new", **shown}.items() <= order.items()
    if kind == "trailing_stop":
        assert float(order["stop_price"]) - float(order["trail_price"]) == float(order["hwm"]) == 230


async def test_notional_order_is_so_many_whole_lots(ann: Account, bob: Account) -> None:
    await bob.place("sell", "2", "230.00")
    await bob.place("sell", "9", "232.00")
    bought = await ann.place("buy", None, notional="1000")
    assert (bought["qty"], bought["filled_qty"], bought["notional"]) == ("4", "4", None)
    resting = await ann.place("buy", None, "200.00", notional=999.99)
    assert resting["qty"] == "4"
    order = {"symbol": SYMBOL, "side": "buy", "type": "market", "time_in_force": "day"}
    for notional in ("100", "5.001"):
        assert await ann.error("POST", "orders", {**order, "notional": notional}) == (422, 42210000)


async def test_bracket_is_one_order_with_legs_that_wait(ann: Account, bob: Account) -> None:
    legs = {"order_class": "bracket", "take_profit": {"limit_price": 240}, "stop_loss": {"stop_price": 220}}
    placed = await ann.place("buy", "5", "229.00", **legs)
    assert (placed["order_class"], placed["status"]) == ("bracket", "new")
    shown = [(leg["type"], leg["side"], leg["qty"], leg["status"]) for leg in placed["legs"]]
    assert shown == [("limit", "sell", "5", "held"), ("stop", "sell", "5", "held")]
    await bob.place("sell", "5", "229.00")
    nested = await ann.ok("GET", f"orders/{placed['id']}", nested="true")
    assert [nested["status"], *(leg["status"] for leg in nested["legs"])] == ["filled", "new", "new"]
    rolled_up = await ann.ok("GET", "orders", status="all", nested="true", limit=3)
    assert next(order["id"] for order in rolled_up) == placed["id"]
    assert rolled_up[0]["legs"] == nested["legs"]
    assert await ann.ok("GET", "orders", nested="true") == [nested]
    assert await ann.ok("GET", "orders", nested="true", status="all", limit=1) == [nested]
    flat = [order["id"] for order in await ann.ok("GET", "orders")]
    assert flat == [leg["id"] for leg in placed["legs"]][::-1]
    await bob.place("buy", "5", "240.00")
    ended = await ann.ok("GET", f"orders/{placed['id']}", nested="true")
    assert [leg["status"] for leg in ended["legs"]] == ["filled", "canceled"]


async def test_exits_alone_cancel_each_other(ann: Account) -> None:
    exits = {
        "order_class": "oco",
        "take_profit": {"limit_price": 240},
        "stop_loss": {"stop_price": 220, "limit_price": 219},
    }
    placed = await ann.place("sell", "5", None, type="limit", client_order_id="exits", **exits)
    assert (placed["order_class"], placed["type"], placed["client_order_id"]) == ("oco", "limit", "exits")
    assert [(leg["type"], leg["limit_price"]) for leg in placed["legs"]] == [("stop_limit", "219.00")]
    await ann.ok("DELETE", f"orders/{placed['legs'][0]['id']}")
    assert (await ann.ok("GET", f"orders/{placed['id']}"))["status"] == "canceled"


async def test_order_triggers_one_other(ann: Account) -> None:
    placed = await ann.place("buy", "5", "229.00", order_class="oto", stop_loss={"stop_price": 220})
    assert (placed["order_class"], len(placed["legs"]), placed["legs"][0]["type"]) == ("oto", 1, "stop")
    canceled = await ann.send("DELETE", "orders")
    assert canceled.status_code == 207
    assert {row["id"] for row in canceled.json()} == {placed["id"], placed["legs"][0]["id"]}
    assert {row["status"] for row in canceled.json()} == {200}


async def test_orders_are_filtered_and_put_in_order(ann: Account) -> None:
    ids = [(await ann.place("buy", "1", f"20{n}.00"))["id"] for n in range(3)]
    sell = await ann.place("sell", "1", "260.00")
    times = {order["id"]: order["submitted_at"] for order in await ann.ok("GET", "orders")}
    assert list(times) == [sell["id"], *ids[::-1]]
    assert [order["id"] for order in await ann.ok("GET", "orders", side="buy", direction="asc")] == ids
    assert [order["id"] for order in await ann.ok("GET", "orders", after=times[ids[0]], until=times[ids[2]])] == ids[
        :0:-1
    ]
    assert [order["id"] for order in await ann.ok("GET", "orders", limit=1)] == [sell["id"]]
    assert await ann.ok("GET", "orders", symbols="COIN,NOPE") == []
    assert len(await ann.ok("GET", "orders", symbols="COIN,AAPL")) == 4
    closed = await ann.ok("GET", "orders", status="closed", after=times[ids[0]])
    assert closed == []


REFUSED: list[tuple[dict[str, Any], int, int, str]] = [
    ({"symbol": "NOPE"}, 422, 42210000, 'asset "NOPE" not found'),
    ({"side": None}, 422, 40010001, "side"),
    ({"side": "hold"}, 422, 40010001, "side"),
    ({"type": "fancy"}, 422, 40010001, "type"),
    ({"time_in_force": "gtx"}, 422, 40010001, "time_in_force"),
    ({"qty": None}, 422, 40010001, "qty or notional"),
    ({"notional": "5"}, 422, 40010001, "qty or notional"),
    ({"qty": "x"}, 422, 40010001, "qty"),
    ({"qty": "NaN"}, 422, 40010001, "qty"),
    ({"qty": 1e300}, 422, 40010001, "qty"),
    ({"qty": "1.5"}, 422, 42210000, "1.5"),
    ({"qty": -1}, 422, 42210000, "quantity"),
    ({"limit_price": "230.005"}, 422, 42210000, "230.005"),
    ({"limit_price": None}, 422, 40010001, "price"),
    ({"limit_price": "900"}, 422, 42210000, "900"),
    ({"qty": "90000"}, 403, 40310000, "insufficient buying power"),
    ({"side": "sell", "qty": "90000"}, 403, 40310000, "insufficient qty available"),
    ({"client_order_id": "a b"}, 422, 40010001, "client_order_id"),
    ({"order_class": "mleg"}, 422, 42210000, "mleg"),
    ({"order_class": "bracket"}, 422, 40010001, "take_profit.limit_price and stop_loss.stop_price"),
    ({"type": "trailing_stop", "limit_price": None}, 422, 40010001, "trail"),
    ({"type": "stop", "limit_price": None}, 422, 40010001, "stop_price"),
    ({"time_in_force": "opg"}, 422, 42210000, "phase"),
]


@pytest.mark.parametrize(("change", "status", "code", "words"), REFUSED, ids=[str(case[0])[:40] for case in REFUSED])
async def test_order_that_cannot_be_is_refused_with_alpacas_code(
    ann: Account, change: dict[str, Any], status: int, code: int, words: str
) -> None:
    order = {"symbol": SYMBOL, "side": "buy", "type": "limit", "time_in_force": "day", "qty": "1", "limit_price": "230"}
    response = await ann.send("POST", "orders", {**order, **change})
    error = response.json()
    assert (response.status_code, error["code"], words in error["message"]) == (status, code, True), error


# Positions


async def test_profit_of_the_day_is_of_what_was_held_and_of_what_was_traded(ann: Account, bob: Account) -> None:
    before = await ann.ok("GET", f"positions/{SYMBOL}")
    await bob.place("sell", "10", "231.00")
    await ann.place("buy", "10", "231.00")
    await bob.place("sell", "1", "232.00")
    await ann.place("buy", "1", "232.00")
    after = await ann.ok("GET", f"positions/{SYMBOL}")
    moved = Decimal(232) - Decimal(before["current_price"])
    gained = Decimal(after["unrealized_intraday_pl"]) - Decimal(before["unrealized_intraday_pl"])
    assert gained == moved * Decimal(before["qty"]) + 10
    assert (Decimal(after["unrealized_intraday_plpc"]) > 0) == (Decimal(after["unrealized_intraday_pl"]) > 0)


async def test_position_is_shown_and_closed_in_parts(ann: Account, bob: Account) -> None:
    held = await ann.ok("GET", f"positions/{SYMBOL}")
    assert held == await ann.ok("GET", f"positions/{held['asset_id']}")
    assert held in await ann.ok("GET", "positions")
    assert (held["side"], held["qty"]) == ("long", held["qty_available"])
    await bob.place("buy", held["qty"], "230.00")
    part = await ann.ok("DELETE", f"positions/{SYMBOL}", qty="10")
    assert (part["side"], part["type"], part["filled_qty"]) == ("sell", "market", "10")
    tenth = await ann.ok("DELETE", f"positions/{SYMBOL}", percentage="10")
    assert int(tenth["filled_qty"]) == (int(held["qty"]) - 10) // 10
    assert await ann.error("DELETE", f"positions/{SYMBOL}", qty="1000000") == (422, 42210000)
    assert await ann.error("DELETE", f"positions/{SYMBOL}", percentage="101") == (422, 42210000)
    resting = await ann.place("sell", "5", "260.00")
    closed = await ann.send("DELETE", "positions", cancel_orders="true")
    assert closed.status_code == 207
    outcome = {row["symbol"]: row["status"] for row in closed.json()}
    assert outcome == {"AAPL": 200, "COIN": 422}  # nobody buys COIN
    assert (await ann.ok("GET", f"orders/{resting['id']}"))["status"] == "canceled"
    assert await ann.error("GET", f"positions/{SYMBOL}") == (404, 40410000)
    await bob.place("sell", held["qty"], "230.00")
    await ann.place("buy", held["qty"], "230.00")


# The account, assets, the clock


async def test_account_has_what_the_portfolio_has(venue: Venue, ann: Account) -> None:
    await ann.place("buy", "10", "200.00")
    account = await ann.ok("GET", "account")
    portfolio = await (await venue.log_in("ann")).get("/v1/portfolio")
    cash = portfolio["cash"][0]
    assert (account["cash"], account["buying_power"], account["equity"]) == (
        cash["balance"],
        cash["available"],
        portfolio["equity"],
    )


async def test_suspended_account_is_told_to_be_blocked(venue: Venue, ann: Account) -> None:
    account_id = int((await ann.ok("GET", "account"))["account_number"])
    for is_suspended in (True, False):
        await venue.server.gateway.submit(SuspendAccount(account_id, is_suspended))
        assert (await ann.ok("GET", "account"))["trading_blocked"] is is_suspended
        order = {"symbol": SYMBOL, "side": "buy", "type": "market", "time_in_force": "ioc", "qty": 1}
        response = await ann.send("POST", "orders", order)
        assert (response.status_code == 403 and "not allowed to trade" in response.text) is is_suspended, response.text


async def test_assets_are_the_instruments(ann: Account) -> None:
    assets = await ann.ok("GET", "assets", status="active", asset_class="us_equity")
    assert [(asset["symbol"], asset["fractionable"]) for asset in assets] == [("AAPL", False), ("COIN", True)]
    assert await ann.ok("GET", f"assets/{assets[1]['id']}") == await ann.ok("GET", "assets/COIN") == assets[1]
    assert await ann.error("GET", "assets/NOPE") == (404, 40410000)


# Watchlists


async def shown(account: Account, path: str, **query: Any) -> tuple[str, list[str]]:
    watchlist = await account.ok("GET", path, **query)
    return watchlist["name"], [asset["symbol"] for asset in watchlist["assets"]]


async def test_watchlist_is_made_changed_and_deleted_by_id_and_by_name(ann: Account) -> None:
    made = await ann.ok("POST", "watchlists", {"name": "Été & co", "symbols": ["COIN", "AAPL", "COIN"]})
    assert [asset["symbol"] for asset in made["assets"]] == ["COIN", "AAPL"]
    assert made["assets"][1] == await ann.ok("GET", "assets/AAPL")
    assert (made["account_id"], made["created_at"]) == ((await ann.ok("GET", "account"))["id"], made["updated_at"])
    path, by_name = f"watchlists/{made['id']}", {"name": "Été & co"}
    assert await ann.ok("GET", path) == await ann.ok("GET", "watchlists:by_name", **by_name) == made
    assert await ann.ok("GET", "watchlists") == [{name: made[name] for name in made if name != "assets"}]
    await ann.ok("DELETE", f"{path}/COIN")
    assert await shown(ann, path) == ("Été & co", ["AAPL"])
    await ann.ok("POST", "watchlists:by_name", {"symbol": made["assets"][0]["id"]}, **by_name)
    await ann.ok("POST", path, {"symbol": "AAPL"})
    assert await shown(ann, path) == ("Été & co", ["AAPL", "COIN"])
    await ann.ok("PUT", "watchlists:by_name", {"name": "two", "symbols": []}, **by_name)
    assert await shown(ann, "watchlists:by_name", name="two") == ("two", [])
    changed = await ann.ok("PUT", path, {"symbols": ["COIN"]})
    assert (changed["name"], changed["created_at"]) == ("two", made["created_at"])
    assert changed["updated_at"] > made["updated_at"]
    assert (await ann.send("DELETE", "watchlists:by_name", name="two")).status_code == 204
    assert await ann.error("DELETE", path) == await ann.error("GET", path) == (404, 40410000)
    assert await ann.ok("GET", "watchlists") == []


async def test_watchlist_that_cannot_be_is_refused(ann: Account, bob: Account) -> None:
    mine = await ann.ok("POST", "watchlists", {"name": "one", "symbols": []})
    other = await ann.ok("POST", "watchlists", {"name": "two"})
    path = f"watchlists/{mine['id']}"
    missing, invalid = (404, 40410000), (422, 40010001)
    for name in ("one", "", "x" * 65, "a\x00b", None):
        assert await ann.error("POST", "watchlists", {"name": name, "symbols": []}) == invalid
    assert await ann.error("PUT", path, {"name": "two"}) == invalid
    assert await ann.error("PUT", path, {}) == invalid
    assert await ann.error("POST", "watchlists", {"name": "three", "symbols": ["NOPE"]}) == missing
    assert await ann.error("POST", path, {"symbol": "NOPE"}) == missing
    assert await ann.error("DELETE", f"{path}/AAPL") == missing
    assert await ann.error("GET", "watchlists/x") == missing
    assert await ann.error("GET", "watchlists:by_name", name="\x00") == missing
    for method, body in (("GET", None), ("PUT", {"name": "his"}), ("POST", {"symbol": "AAPL"}), ("DELETE", None)):
        assert await bob.error(method, path, body) == missing
        assert await bob.error(method, "watchlists:by_name", body, name="one") == missing
    assert await ann.ok("GET", path) == mine
    for watchlist in (mine, other):
        await ann.send("DELETE", f"watchlists/{watchlist['id']}")


ABSENT: list[tuple[str, Any]] = [
    ("/v2/options/contracts", {"option_contracts": [], "next_page_token": None}),
    ("/v2/corporate_actions/announcements", []),
    ("/v2/stocks/meta/conditions/trade", {}),
    ("/v1beta1/news", {"news": [], "next_page_token": None}),
    ("/v1beta3/crypto/us/latest/bars", {"bars": {}}),
    ("/v1beta3/crypto/us/bars", {"bars": {}, "next_page_token": None}),
]


@pytest.mark.parametrize(("path", "content"), ABSENT, ids=[path for path, _ in ABSENT])
async def test_list_of_what_the_venue_has_none_of_is_empty(venue: Venue, ann: Account, path: str, content: Any) -> None:
    response = await venue.http.get(path, headers=ann.headers, params={"symbols": "BTC/USD"})
    assert (response.status_code, response.json()) == (200, content)
    assert (await venue.http.get(path)).status_code == 401


async def test_single_one_of_what_the_venue_has_none_of_is_not_there(ann: Account) -> None:
    assert await ann.error("GET", "options/contracts/AAPL240119C00100000") == (404, 40410000)
    assert await ann.error("GET", "corporate_actions/announcements/x") == (404, 40410000)
    assert await ann.error("POST", "positions/AAPL240119C00100000/exercise") == (403, 40310000)


async def test_clock_and_calendar_of_a_market_that_never_closes(ann: Account) -> None:
    clock = await ann.ok("GET", "clock")
    assert clock["is_open"]
    assert clock["next_open"] == clock["next_close"] > clock["timestamp"]
    today = clock["timestamp"][:10]
    assert [
        (row["date"], row["open"], row["close"]) for row in await ann.ok("GET", "calendar", start=today, end=today)
    ] == [(today, "00:00", "23:59")]


async def test_settings_are_told_and_cannot_be_changed(ann: Account) -> None:
    settings = await ann.ok("GET", "account/configurations")
    assert await ann.ok("PATCH", "account/configurations", settings) == settings
    assert await ann.ok("PATCH", "account/configurations", {"suspend_trade": None}) == settings
    assert await ann.error("PATCH", "account/configurations", {"suspend_trade": True}) == (422, 42210000)
    assert await ann.error("PATCH", "account/configurations", []) == (422, 40010001)


async def test_activities_are_paged_both_ways_and_have_everything(ann: Account, bob: Account) -> None:
    placed = await ann.place("buy", "9", "230.00")
    for _ in range(3):
        await bob.place("sell", "2", "230.00")
    changed = await ann.ok("PATCH", f"orders/{placed['id']}", {"qty": 8})
    await bob.place("sell", "2", "230.00")
    fills = await ann.ok("GET", "account/activities/FILL", page_size=4)
    assert [(row["type"], row["qty"], row["cum_qty"], row["leaves_qty"]) for row in fills] == [
        ("fill", "2", "8", "0"),
        ("partial_fill", "2", "6", "3"),
        ("partial_fill", "2", "4", "5"),
        ("partial_fill", "2", "2", "7"),
    ]
    assert [row["order_id"] for row in fills] == [changed["id"], *[placed["id"]] * 3]
    for direction in ("desc", "asc"):
        whole = await ann.ok("GET", "account/activities", direction=direction)
        assert {row["activity_type"] for row in whole} >= {"FILL", "FEE"}
        pages: list[Any] = []
        while page := await ann.ok(
            "GET", "account/activities", direction=direction, page_size=3,
            **({"page_token": pages[-1]["id"]} if pages else {}),
        ):  # fmt: skip
            pages += page
        assert pages[: len(whole)] == whole
        assert len({row["id"] for row in pages}) == len(pages)
        times = [row["id"][:17] for row in pages]
        assert times == sorted(times, reverse=direction == "desc")
    fees = await ann.ok("GET", "account/activities", category="non_trade_activity", page_size=1)
    assert (fees[0]["activity_type"], float(fees[0]["net_amount"]) < 0) == ("FEE", True)
    assert await ann.ok("GET", "account/activities/DIV") == []
    assert await ann.ok("GET", "account/activities", date="2020-01-01") == []
    since = fills[1]["transaction_time"]
    assert await ann.ok("GET", "account/activities/FILL", after=since) == fills[:1]
    assert await ann.ok("GET", "account/activities/FILL", until=fills[0]["transaction_time"], page_size=3) == fills[1:]
    for query in ({"page_token": "x"}, {"direction": "up"}, {"page_size": "x"}, {"category": "x"}):
        assert await ann.error("GET", "account/activities", **query) == (422, 40010001)


async def test_portfolio_history_ends_with_the_equity_of_now(venue: Venue, ann: Account, bob: Account) -> None:
    trader = await venue.log_in("ann")
    await bob.place("sell", "7", "233.00")
    await ann.place("buy", "7", "233.00")
    for timeframe, period in (("1Min", "1D"), ("5Min", "1W"), ("15Min", "1M"), ("1H", "3M"), ("1D", "1A")):
        history = await ann.ok("GET", "account/portfolio/history", timeframe=timeframe, period=period)
        assert history["equity"][-1] == float((await trader.get("/v1/portfolio"))["equity"])
        width = history["timestamp"][1] - history["timestamp"][0]
        assert {later - time for time, later in pairwise(history["timestamp"])} == {width}
        assert history["timestamp"][-1] % width == 0
        # The account was opened with what is no profit; since then it has paid fees and seen prices change.
        assert history["profit_loss"][0] == history["base_value"] == history["equity"][0] == 0
        assert history["equity"][-1] - history["profit_loss"][-1] == pytest.approx(OPENING, abs=PRICE_CHANGES)
        assert history["profit_loss_pct"][-1] is None
    assert (await ann.ok("GET", "account/portfolio/history"))["timeframe"] == "1D"
    for query in ({"period": "9X"}, {"timeframe": "2Min"}, {"period": "1A", "timeframe": "1Min"}):
        assert (await ann.send("GET", "account/portfolio/history", **query)).status_code == 422


async def test_question_about_the_past_counts_as_ten_requests(ann: Account) -> None:
    """A bucket of a million is full again before the next request."""
    for path, cost in (("clock", 1), ("nothing", 1), ("account/portfolio/history", 10), ("stocks/AAPL/quotes", 10)):
        headers = (await ann.send("GET", path)).headers
        assert int(headers["x-ratelimit-remaining"]) == PLENTY - cost, path


async def test_path_that_is_not_there_is_not_found(ann: Account) -> None:
    for method, path in (("GET", "nothing"), ("PUT", "orders"), ("GET", "orders/"), ("GET", "orders/x/y")):
        assert await ann.error(method, path) == (404, 40410000)
    for name in ("x", "00000000-0000-0000-0000-000000000000", "10000000-0000-8000-8000-00000000ffff"):
        assert await ann.error("GET", f"orders/{name}") == (404, 40410000)
