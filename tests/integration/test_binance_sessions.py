"""Keys whose owners sign with Ed25519, over REST, and connections that log on with one and need no signature any more."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import websockets

from support.binance_account import SYMBOL, SigningAccount, account_of, ask, receive, signing_account_of, socket
from support.tes_venue import Venue, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "200"}
HMAC_DIGITS = "0" * 64


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(venue: Venue) -> SigningAccount:
    return await signing_account_of(venue, "ann")


def timed(**parameters: Any) -> dict[str, Any]:
    return {"timestamp": int(time.time() * 1000), **parameters}


async def event_of(connection: websockets.ClientConnection, kind: str) -> Any:
    while (message := await receive(connection)).get("event", {}).get("e") != kind:
        pass
    return message


# Keys


async def test_request_signed_with_a_private_key_is_its_owners(venue: Venue, ann: SigningAccount) -> None:
    placed = await ann.ok("POST", "order", **ORDER)
    assert [order["orderId"] for order in await ann.ok("GET", "openOrders")] == [placed["orderId"]]
    bob = await signing_account_of(venue, "bob")
    ann_as_bob = SigningAccount(venue, {"key_id": ann.key_id, "secret": ""}, bob.private_key)
    assert await ann_as_bob.error("GET", "openOrders") == (400, -1022)
    await ann.ok("DELETE", "openOrders", symbol=SYMBOL)


async def test_key_with_a_public_half_has_no_secret_that_opens_anything(venue: Venue, ann: SigningAccount) -> None:
    assert ann.secret == ""
    query = f"timestamp={int(time.time() * 1000)}"
    for signature in (HMAC_DIGITS, "x", ""):
        url = f"/api/v3/account?{query}&signature={signature}"
        response = await venue.http.get(url, headers={"X-MBX-APIKEY": ann.key_id})
        assert response.json()["code"] in (-1022, -1102), response.text
    headers = {"X-API-Key": ann.key_id, "X-API-Secret": ""}
    assert (await venue.http.get("/v1/portfolio", headers=headers)).status_code == 401
    headers = {"APCA-API-KEY-ID": ann.key_id, "APCA-API-SECRET-KEY": ""}
    assert (await venue.http.get("/v2/account", headers=headers)).status_code == 401


async def test_key_with_a_public_half_is_listed_with_it(venue: Venue, ann: SigningAccount) -> None:
    trader = await venue.log_in("ann")
    public_keys = {key["key_id"]: key["public_key"] for key in (await trader.get("/v1/api-keys"))["api_keys"]}
    assert len(public_keys[ann.key_id]) == 44
    refused = await trader.request("POST", "/v1/api-keys", json={"public_key": "x"})
    assert (refused.status_code, "public_key" in refused.text) == (400, True), refused.text
    usual = (await trader.request("POST", "/v1/api-keys", json={})).json()
    assert (usual["public_key"], len(usual["secret"]) > 32) == ("", True)


# Connections


async def test_connection_that_logged_on_needs_no_key_and_no_signature(venue: Venue, ann: SigningAccount) -> None:
    async with socket(venue, "/ws-api/v3") as api:
        assert (await ask(api, "account.status", timed()))["error"]["code"] == -2014
        before = (await ask(api, "session.status"))["result"]
        assert (before["apiKey"], before["authorizedSince"], before["userDataStream"]) == (None, None, False)
        logged_on = (await ask(api, "session.logon", ann.signed()))["result"]
        assert (logged_on["apiKey"], logged_on["connectedSince"]) == (ann.key_id, before["connectedSince"])
        assert logged_on["authorizedSince"] >= logged_on["connectedSince"]
        placed = (await ask(api, "order.place", timed(**ORDER)))["result"]
        status = await ask(api, "order.status", timed(symbol=SYMBOL, orderId=placed["orderId"]))
        assert status["result"]["status"] == "NEW"
        assert (await ask(api, "account.status", {}))["error"]["code"] == -1102  # a time it needs all the same
        assert (await ask(api, "account.status", timed(timestamp=1)))["error"]["code"] == -1021
        assert (await ask(api, "account.status", timed(apiKey=ann.key_id)))["error"]["code"] == -1102
        assert (await ask(api, "openOrders.cancelAll", timed(symbol=SYMBOL)))["status"] == 200
        assert (await ask(api, "session.logout"))["result"]["apiKey"] is None
        assert (await ask(api, "account.status", timed()))["error"]["code"] == -2014


async def test_account_is_told_over_its_session_until_it_logs_out(venue: Venue, ann: SigningAccount) -> None:
    async with socket(venue, "/ws-api/v3") as api:
        assert (await ask(api, "userDataStream.subscribe"))["error"]["code"] == -2015
        await ask(api, "session.logon", ann.signed())
        assert (await ask(api, "userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
        assert (await ask(api, "userDataStream.subscribe.signature", ann.signed()))["result"] == {"subscriptionId": 1}
        assert (await ask(api, "session.subscriptions"))["result"] == [{"subscriptionId": 0}, {"subscriptionId": 1}]
        assert (await ask(api, "session.status"))["result"]["userDataStream"] is True
        await ann.ok("POST", "order", **ORDER)
        told = [await event_of(api, "executionReport") for _ in range(2)]
        assert sorted(message["subscriptionId"] for message in told) == [0, 1]
        assert (await ask(api, "session.logout"))["result"]["userDataStream"] is False
        assert (await ask(api, "session.subscriptions"))["result"] == [{"subscriptionId": 1}]
        await ann.ok("DELETE", "openOrders", symbol=SYMBOL)
        assert (await event_of(api, "executionReport"))["subscriptionId"] == 1


async def test_logon_that_proves_nothing_is_refused(venue: Venue, ann: SigningAccount) -> None:
    with_secret = await account_of(venue, "ann")
    async with socket(venue, "/ws-api/v3") as api:
        for parameters, code in [
            (with_secret.signed(), -4056),
            ({**ann.signed(), "signature": HMAC_DIGITS}, -1022),
            ({**ann.signed(), "timestamp": 1}, -1021),
            ({**ann.signed(), "timestamp": int(time.time() * 1000) + 1}, -1022),
            ({**ann.signed(), "apiKey": "k" + "0" * 24}, -2015),
            ({**ann.signed(), "apiKey": "x"}, -2015),
            (timed(), -2014),
        ]:
            assert (await ask(api, "session.logon", parameters))["error"]["code"] == code, parameters
        assert (await ask(api, "session.status"))["result"]["apiKey"] is None


async def test_connection_is_cut_when_the_key_that_it_logged_on_with_is_deleted(venue: Venue) -> None:
    bob = await signing_account_of(venue, "bob")
    async with socket(venue, "/ws-api/v3") as api:
        await ask(api, "session.logon", bob.signed())
        deleted = await (await venue.log_in("bob")).request("DELETE", f"/v1/api-keys/{bob.key_id}")
        assert deleted.status_code == 204
        async with asyncio.timeout(20):
            await api.wait_closed()
    assert await bob.error("GET", "account") == (401, -2015)
