"""The Python client against the real servers, over REST: both kinds of client, every endpoint, and answers that get lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from support.faulty_line import faulty_line
from support.tes_venue import PASSWORD, Venue, eventually, running_venue, venue_config
from trading_engine.clients import AsyncClient, Client
from trading_engine.clients.sdk.errors import (
    Disconnected,
    InvalidRequest,
    MatchingUnavailable,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
)
from trading_engine.shared.config import RateLimits

D = Decimal

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(loop_scope="module")
async def ann(venue: Venue) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(venue.tes.url, username="ann", password=PASSWORD) as client:
        yield client
        await client.cancel_all()


@pytest_asyncio.fixture(loop_scope="module")
async def bob(venue: Venue) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(venue.tes.url, username="bob", password=PASSWORD) as client:
        yield client
        await client.cancel_all()


# Every endpoint


async def test_client_order_lives_from_place_to_cancel(ann: AsyncClient) -> None:
    placed = await ann.place("AAPL", "buy", 100, price="229.10", client_order_id="life-1")
    assert (placed.status, placed.price, placed.time_in_force, placed.client_order_id) == (
        "new",
        D("229.10"),
        "day",
        "life-1",
    )
    replaced = await ann.replace(placed.order_id, quantity=80, price="229.20")
    assert (replaced.order_id, replaced.quantity, replaced.price) == (placed.order_id, D(80), D("229.20"))
    assert await ann.order(placed.order_id) == replaced
    assert await ann.order(client_order_id="life-1") == replaced
    assert placed.order_id in [order.order_id async for order in ann.all_orders("open")]
    canceled = await ann.cancel(placed.order_id)
    assert (canceled.status, canceled.reason, canceled.leaves_quantity, canceled.is_open) == (
        "canceled",
        "REQUESTED",
        D(0),
        False,
    )
    assert (await ann.orders("done", symbol="AAPL", limit=1)).orders == [canceled]


async def test_client_trade_reaches_fills_positions_and_portfolio(ann: AsyncClient, bob: AsyncClient) -> None:
    before = {position.symbol: position.quantity for position in await bob.positions()}
    offer = await ann.place("AAPL", "sell", 30, price="231.00", time_in_force="gtc", post_only=True)
    bought = await bob.place("AAPL", "buy", 30)
    assert (bought.type, bought.status, bought.average_price) == ("market", "filled", D("231.00"))
    fill = (await bob.fills(order_id=bought.order_id)).fills[0]
    assert (fill.price, fill.quantity, fill.liquidity, fill.side) == (D("231.00"), D(30), "taker", "buy")
    assert fill.fee > 0
    maker_fills = [fill async for fill in ann.all_fills(symbol="AAPL", order_id=offer.order_id)]
    assert [(fill.liquidity, fill.trade_id) for fill in maker_fills] == [("maker", fill.trade_id)]
    after = {position.symbol: position.quantity for position in await bob.positions()}
    assert after["AAPL"] == before["AAPL"] + 30
    portfolio = await bob.portfolio()
    assert portfolio.cash[0].balance == portfolio.cash[0].held + portfolio.cash[0].available
    assert portfolio.event_sequence >= fill.event_sequence


async def test_client_reads_market_data_without_logging_in(venue: Venue, ann: AsyncClient, bob: AsyncClient) -> None:
    await ann.place("AAPL", "buy", 5, price="228.00")
    await ann.place("AAPL", "sell", 5, price="229.00")
    await bob.place("AAPL", "buy", 2, price="229.00", time_in_force="ioc")
    async with AsyncClient(venue.tes.url) as anybody:
        assert [instrument.symbol for instrument in await anybody.instruments()] == ["AAPL", "COIN"]
        coin = await anybody.instrument("COIN")
        assert (coin.tick_size, coin.lot_size, coin.phase) == (D("0.5"), D("0.02"), "continuous")
        book = await anybody.book("AAPL", depth=1)
        assert book.best_bid is not None
        assert book.best_ask is not None
        assert (book.best_bid.price, book.best_ask.price, book.best_ask.quantity) == (D("228.00"), D("229.00"), D(3))
        page = await anybody.trades("AAPL", limit=1)
        assert (page.trades[0].price, page.trades[0].side) == (D("229.00"), "buy")
        candles = await eventually(lambda: anybody.candles("AAPL", "1m"))
        assert candles[-1].low <= candles[-1].close <= candles[-1].high
        ticker = next(ticker for ticker in await anybody.tickers() if ticker.symbol == "AAPL")
        assert (ticker.bid, ticker.ask, ticker.last) == (D("228.00"), D("229.00"), D("229.00"))
        assert (await anybody.time()).tzinfo is not None
        assert (await anybody.wait_until_ready(5)).is_ready


async def test_client_pages_through_all_orders(ann: AsyncClient) -> None:
    placed = [await ann.place("AAPL", "buy", 1, price="200.00") for _ in range(7)]
    page = await ann.orders("open", limit=3)
    assert len(page.orders) == 3
    assert page.next is not None
    older = await ann.orders("open", limit=100, before=page.next)
    ids = [order.order_id for order in [*page.orders, *older.orders]]
    assert ids == [order.order_id for order in reversed(placed)]
    assert [order.order_id async for order in ann.all_orders("open", symbol="AAPL")] == ids
    assert await ann.cancel_all("AAPL", "sell") == 0
    assert await ann.cancel_all("AAPL", "buy") == 7


async def test_client_with_an_api_key_is_the_same_trader(venue: Venue, ann: AsyncClient) -> None:
    key = await ann.create_api_key("test")
    assert key.secret
    async with AsyncClient(venue.tes.url, api_key=key.key_id, api_secret=key.secret) as by_key:
        assert (await by_key.me()).username == (await ann.me()).username == "ann"
        placed = await by_key.place("AAPL", "buy", 1, price="200.00")
    assert (await ann.order(placed.order_id)).is_open
    assert key.key_id in [shown.key_id for shown in await ann.api_keys()]
    await ann.delete_api_key(key.key_id)
    async with AsyncClient(venue.tes.url, api_key=key.key_id, api_secret=key.secret) as by_key:
        with pytest.raises(NotAuthenticated):
            await by_key.me()


async def test_blocking_client_does_the_same(venue: Venue) -> None:
    def trade() -> None:
        with Client(venue.tes.url, username="ann", password=PASSWORD) as client:
            assert client.wait_until_ready(5).is_ready
            assert client.me().username == "ann"
            order = client.place("AAPL", "buy", 3, price=D("210.00"))
            assert client.replace(order.order_id, quantity=2).quantity == 2
            assert client.order(client_order_id=order.client_order_id).quantity == 2
            assert order.order_id in [open_order.order_id for open_order in client.all_orders()]
            assert client.cancel(client_order_id=order.client_order_id).status == "canceled"
            assert client.book("AAPL").symbol == "AAPL"
            assert client.instrument("AAPL").symbol in [instrument.symbol for instrument in client.instruments()]
            assert {position.symbol for position in client.positions()} == {"AAPL", "COIN"}
            assert client.portfolio().currency == "USD"
            assert client.trades("AAPL").trades is not None
            assert client.candles("AAPL", "1h") is not None
            assert len(client.tickers()) == 2
            assert list(client.all_fills(symbol="COIN")) == []
            key = client.create_api_key("blocking")
            client.delete_api_key(key.key_id)
            assert key.key_id not in [shown.key_id for shown in client.api_keys()]
            assert client.cancel_all() == 0
            assert client.time() is not None
            client.log_out()
            with pytest.raises(NotAuthenticated):
                client.me()

    await asyncio.to_thread(trade)


# Refusals


Try = Callable[[AsyncClient], Awaitable[Any]]


@pytest.mark.parametrize(
    ("attempt", "kind", "code", "field"),
    [
        (lambda ann: ann.place("AAPL", "buy", 1, price="230.005"), Refused, "PRICE_NOT_ON_TICK", "price"),
        (lambda ann: ann.place("AAPL", "buy", 0, price="230"), Refused, "QUANTITY_NOT_POSITIVE", "quantity"),
        (lambda ann: ann.place("AAPL", "buy", "x", price="230"), InvalidRequest, "INVALID_REQUEST", "quantity"),
        (lambda ann: ann.place("NONE", "buy", 1, price="230"), Refused, "UNKNOWN_INSTRUMENT", "symbol"),
        (lambda ann: ann.place("AAPL", "buy", 90_000, price="230"), Refused, "INSUFFICIENT_FUNDS", None),
        (lambda ann: ann.cancel("999999"), NotFound, "UNKNOWN_ORDER", "order_id"),
        (lambda ann: ann.book("NONE"), NotFound, "UNKNOWN_INSTRUMENT", "symbol"),
    ],
    ids=["tick", "zero", "word", "symbol", "funds", "cancel", "book"],
)
async def test_client_refusal_is_typed_and_names_the_field(
    ann: AsyncClient, attempt: Try, kind: type[Refused], code: str, field: str | None
) -> None:
    with pytest.raises(kind) as caught:
        await attempt(ann)
    error = caught.value
    assert (error.code, error.request_id != "") == (code, True)
    if field is not None:
        assert error.field == field


async def test_client_order_of_somebody_else_is_not_found(ann: AsyncClient, bob: AsyncClient) -> None:
    order = await ann.place("AAPL", "buy", 1, price="200.00")
    with pytest.raises((NotFound, NotAllowed)):
        await bob.cancel(order.order_id)
    assert (await ann.order(order.order_id)).is_open


async def test_client_same_order_again_is_the_first_one_and_another_is_refused(ann: AsyncClient) -> None:
    first = await ann.place("AAPL", "buy", 4, price="201.00", client_order_id="twice")
    again = await ann.place("AAPL", "buy", 4, price="201.00", client_order_id="twice")
    assert again.order_id == first.order_id
    with pytest.raises(Refused, match="DUPLICATE_CLIENT_ORDER_ID"):
        await ann.place("AAPL", "buy", 5, price="201.00", client_order_id="twice")


async def test_client_with_a_wrong_password_is_not_let_in(venue: Venue) -> None:
    async with AsyncClient(venue.tes.url, username="ann", password="not-this-one") as client:
        with pytest.raises(NotAuthenticated, match="INVALID_CREDENTIALS"):
            await client.me()


async def test_client_without_credentials_may_not_trade(venue: Venue) -> None:
    async with AsyncClient(venue.tes.url) as client:
        with pytest.raises(NotAuthenticated):
            await client.place("AAPL", "buy", 1, price="200")


async def test_client_rate_limit_says_how_long(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = venue_config(tmp_path_factory.mktemp("limited"), rate_limits=RateLimits(1, 2, 1000, 1000, 1000))
    async with (
        running_venue(config) as limited,
        AsyncClient(limited.tes.url, username="ann", password=PASSWORD, repeat_for_s=0) as client,
    ):
        placing = [client.place("AAPL", "buy", 1, price="200") for _ in range(4)]
        with pytest.raises(RateLimited) as caught:
            await asyncio.gather(*placing)
        assert 0 < caught.value.retry_after <= 2


# Trouble


async def test_client_token_that_the_venue_turns_down_is_renewed(venue: Venue) -> None:
    async with AsyncClient(venue.tes.url, username="ann", password=PASSWORD) as client:
        await client.log_in()
        tokens = client._session.tokens
        assert tokens is not None
        client._session.tokens = structs.replace(tokens, access_token=tokens.access_token[:-4] + "AAAA")
        assert (await client.me()).username == "ann"
        # The refresh token was used up by that; a copy of the old one is worth nothing.
        client._session.tokens = tokens
        client._session.expire_token()
        assert (await client.me()).username == "ann"


async def test_client_lost_answer_to_a_place_makes_one_order(venue: Venue, ann: AsyncClient) -> None:
    async with (
        faulty_line(venue.tes.port) as line,
        AsyncClient(line.url, username="ann", password=PASSWORD) as client,
    ):
        await client.log_in()
        line.loses_answers = True
        placing = asyncio.create_task(client.place("AAPL", "buy", 6, price="199.00", client_order_id="lost-answer"))
        await line.answer_lost.wait()
        assert (await ann.order(client_order_id="lost-answer")).is_open
        line.cut()
        order = await placing
        same = [other async for other in ann.all_orders("all") if other.client_order_id == "lost-answer"]
        assert same == [order]


async def test_client_lost_answer_to_a_cancel_is_found_out(venue: Venue, ann: AsyncClient) -> None:
    order = await ann.place("AAPL", "buy", 6, price="199.00")
    async with faulty_line(venue.tes.port) as line, AsyncClient(line.url, username="ann", password=PASSWORD) as client:
        await client.log_in()
        line.loses_answers = True
        canceling = asyncio.create_task(client.cancel(order.order_id))
        await line.answer_lost.wait()
        line.cut()
        assert (await canceling).status == "canceled"


async def test_client_lost_answer_to_a_replace_is_said(venue: Venue, ann: AsyncClient) -> None:
    order = await ann.place("AAPL", "buy", 6, price="199.00")
    async with faulty_line(venue.tes.port) as line, AsyncClient(line.url, username="ann", password=PASSWORD) as client:
        await client.log_in()
        line.loses_answers = True
        replacing = asyncio.create_task(client.replace(order.order_id, quantity=5))
        await line.answer_lost.wait()
        line.cut()
        with pytest.raises(OutcomeUnknown):
            await replacing
    assert (await ann.order(order.order_id)).quantity == 5


async def test_client_of_a_venue_that_is_not_there_says_disconnected() -> None:
    async with AsyncClient("http://127.0.0.1:9", repeat_for_s=0) as client:
        with pytest.raises(Disconnected):
            await client.instruments()
        with pytest.raises(Disconnected):
            await client.wait_until_ready(0.1)


async def test_client_order_while_matching_is_away_is_told_so_and_works_after(venue: Venue, ann: AsyncClient) -> None:
    await venue.obs.stop()
    try:

        async def is_noticed() -> bool:
            return not (await ann.health()).is_ready

        await eventually(is_noticed)
        with pytest.raises(MatchingUnavailable):
            await ann.place("AAPL", "buy", 1, price="200")
        with pytest.raises(MatchingUnavailable):
            await ann.wait_until_ready(0.1)
        assert len(await ann.instruments()) == 2
    finally:
        await venue.obs.start()
    await ann.wait_until_ready(10)
    assert (await ann.place("AAPL", "buy", 1, price="200")).is_open
