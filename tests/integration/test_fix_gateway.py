"""The FIX gateway in front of a real TES and OBS, and a client that speaks the wire."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.fix_client import FixGateway, shown
from support.tes_venue import Venue, eventually
from trading_engine.servers.fix.wire import Message

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = (11, 150, 39, 38, 151, 14, 6)
"""ClOrdID, ExecType, OrdStatus, OrderQty, LeavesQty, CumQty, AvgPx."""


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def empty_book(venue: Venue) -> AsyncIterator[None]:
    yield
    for name in ("ann", "bob"):
        await (await venue.log_in(name)).cancel_all()


async def test_order_partly_filled_amended_and_canceled_is_told_at_each_step(venue: Venue, gateway: FixGateway) -> None:
    bob = await venue.log_in("bob")
    async with gateway.client(comp_id="STEPS") as ann:
        await ann.log_on()
        ann.order("a1", "1", "100", "230.10")
        assert shown(await ann.report(), *ORDER) == ["a1", "0", "0", "100", "100", "0", "0"]
        await bob.place("sell", "40", "230.05")
        fill = await ann.report()
        assert shown(fill, *ORDER) == ["a1", "F", "1", "100", "60", "40", "230.10"]
        assert shown(fill, 31, 32, 851, 12) == ["230.10", "40", "1", "0.93"]
        ann.replace("a2", "a1", "90", "230.00")
        replaced = await ann.report()
        assert shown(replaced, *ORDER, 41, 44) == ["a2", "5", "1", "90", "50", "40", "230.10", "a1", "230.00"]
        ann.cancel("a3", "a2")
        canceled = await ann.report()
        assert shown(canceled, *ORDER, 41) == ["a3", "4", "4", "90", "0", "40", "230.10", "a2"]
        assert len({report[17] for report in (fill, replaced, canceled)}) == 3
        ann.cancel("a4", "a2")
        refusal = dict((await ann.next("9")).fields)
        assert shown(refusal, 11, 41, 39, 434, 102) == ["a4", "a2", "4", "1", "0"]
        await ann.log_out()


async def test_fix_42_tells_fills_and_replaces_in_its_own_way(venue: Venue, gateway: FixGateway) -> None:
    bob = await venue.log_in("bob")
    async with gateway.client(begin_string="FIX.4.2") as ann:
        await ann.log_on()
        ann.order("old1", "1", "10", "230.00", (21, "1"))
        assert shown(await ann.report(), *ORDER, 20) == ["old1", "0", "0", "10", "10", "0", "0", "0"]
        ann.replace("old2", "old1", "20", "230.00")
        assert shown(await ann.report(), *ORDER, 41) == ["old2", "5", "5", "20", "20", "0", "0", "old1"]
        await bob.place("sell", "5", "230.00")
        partial = await ann.report()
        assert shown(partial, *ORDER, 851) == ["old2", "1", "1", "20", "15", "5", "230.00", "-"]
        await bob.place("sell", "15", "230.00")
        assert shown(await ann.report(), *ORDER) == ["old2", "2", "2", "20", "0", "20", "230.00"]
        ann.send("H", (11, "old2"), (54, "1"), (55, "AAPL"))
        assert shown(await ann.report(), 20, 150, 39, 14, 17) == ["3", "2", "2", "20", "0"]
        ann.order("old3", "1", "10", "230.001")
        assert shown(await ann.report(), 20, 150, 39, 103) == ["0", "8", "8", "0"]


async def test_immediate_orders_end_as_fix_has_them(venue: Venue, gateway: FixGateway) -> None:
    bob = await venue.log_in("bob")
    async with gateway.client(comp_id="IMMEDIATE") as ann:
        await ann.log_on()
        await bob.place("sell", "4", "231.00")
        ann.order("i1", "1", "10", "231.00", (59, "3"))
        told = [shown(await ann.report(), 150, 39, 151, 14, 58) for _ in range(3)]
        assert told == [
            ["0", "0", "10", "0", "-"],
            ["F", "1", "6", "4", "-"],
            ["4", "4", "0", "4", "IOC_REMAINDER"],
        ]
        ann.order("i2", "1", "10", "231.00", (59, "4"))
        told = [shown(await ann.report(), 150, 39, 151, 14, 58) for _ in range(2)]
        assert told == [["0", "0", "10", "0", "-"], ["4", "4", "0", "0", "FOK_NOT_FILLABLE"]]
        ann.order("i3", "1", "10")
        assert shown(await ann.report(), 150, 39, 103, 58)[:3] == ["8", "8", "99"]


REFUSED = {
    "symbol that there is not": ([(55, "NONE")], "1", "UNKNOWN_INSTRUMENT"),
    "price between ticks": ([(44, "230.001")], "99", "PRICE_NOT_ON_TICK"),
    "quantity below one lot": ([(38, "0.5")], "13", "QUANTITY_NOT_ON_LOT"),
    "more than the cash": ([(38, "90000")], "3", "INSUFFICIENT_FUNDS"),
    "account of somebody else": ([(1, "999")], "15", "Account(1) 999 is not yours"),
    "cross order": ([(54, "8")], "11", "Side(54) 8 is not offered here"),
    "order type of the floor": ([(40, "5")], "11", "OrdType(40) 5 is not offered here"),
    "good till crossing": ([(59, "5")], "11", "TimeInForce(59) 5 is not offered here"),
    "instruction that there is not": ([(18, "6 Z")], "11", "ExecInst(18) Z is not offered here"),
    "date that is over": ([(59, "6"), (432, "20200105")], "11", "EXPIRE_TIME_IN_PAST"),
    "date and time to expire at": (
        [(59, "6"), (432, "20991231"), (126, "20991231-10:00:00")],
        "11",
        "ExpireTime(126) and ExpireDate(432) exclude one another",
    ),
    "quantity in money": ([(152, "1000")], "11", "CashOrderQty(152) is not offered here"),
    "no price": ([(44, "0")], "99", "PRICE_NOT_POSITIVE"),
    "display of more than there is": ([(111, "500")], "13", "DISPLAY_ABOVE_QUANTITY"),
    "name that is none": ([(11, "a b")], "99", "INVALID_REQUEST"),
    "expiry in the past": ([(59, "6"), (126, "20200101-00:00:00")], "11", "EXPIRE_TIME_IN_PAST"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_order_that_cannot_be_entered_is_rejected_with_its_reason(gateway: FixGateway, what: str) -> None:
    fields, reason, text = REFUSED[what]
    async with gateway.client(comp_id=f"REFUSED-{list(REFUSED).index(what)}") as ann:
        await ann.log_on()
        said = {11: "r1", 44: "230.00", 38: "10"} | dict(fields)
        ann.order(said.pop(11), said.pop(54, "1"), said.pop(38), said.pop(44), *said.items())
        report = await ann.report()
        assert shown(report, 150, 39, 37, 103, 151) == ["8", "8", "NONE", reason, "0"]
        assert report[58].startswith(text), report[58]


TERMS: dict[str, tuple[list[tuple[int, str]], dict[str, object]]] = {
    "stop": ([(40, "3"), (99, "240.00")], {"type": "stop", "stop_price": "240.00"}),
    "stop limit": ([(40, "4"), (99, "240.00"), (44, "241.00")], {"type": "stop_limit", "price": "241.00"}),
    "trailing": ([(40, "3"), (99, "240.00"), (18, "a"), (211, "5")], {"type": "stop", "trail": "5.00"}),
    "iceberg": ([(44, "200"), (111, "2")], {"display_quantity": "2"}),
    "hidden": ([(44, "200"), (111, "0")], {"hidden": True}),
    "post-only": ([(44, "200"), (18, "6")], {"post_only": True}),
    "all or none": ([(44, "200"), (18, "G"), (59, "1")], {"all_or_none": True, "time_in_force": "gtc"}),
    "good till a time": (
        [(44, "200"), (59, "6"), (126, "20991231-10:00:00")],
        {"expire_time": "2099-12-31T10:00:00.000000000Z"},
    ),
    "good till a date": (
        [(44, "200"), (59, "6"), (432, "20991231")],
        {"expire_time": "2099-12-31T23:59:59.999999000Z"},
    ),
    "pegged": ([(40, "P"), (44, "200"), (18, "R"), (211, "-0.05")], {"peg": "primary", "peg_offset": "-0.05"}),
    "self-trade prevention": ([(44, "200"), (25001, "3")], {"self_trade_prevention": "cancel_resting"}),
    "at the close": ([(44, "200"), (59, "7")], {"time_in_force": "cls"}),
}


@pytest.mark.parametrize("what", TERMS)
async def test_terms_of_an_order_are_those_of_the_venue_and_are_told_again(
    venue: Venue, gateway: FixGateway, what: str
) -> None:
    fields, expected = TERMS[what]
    trader = await venue.log_in("ann")
    async with gateway.client(comp_id=f"TERMS-{list(TERMS).index(what)}") as ann:
        await ann.log_on()
        name = f"t{list(TERMS).index(what)}"
        ann.send("D", (11, name), (55, "AAPL"), (54, "1"), (60, ann.now()), (38, "10"), *_with_type(fields))
        report = await ann.report()
        order = await trader.get(f"/v1/orders/by-client-id/{name}")
        assert expected.items() <= order.items()
        echoed = {tag: value for tag, value in fields if tag not in (25001, 40, 44, 126, 432)}
        assert {tag: _plain(report[tag]) for tag in echoed} == {tag: _plain(value) for tag, value in echoed.items()}


def _with_type(fields: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return fields if dict(fields).get(40) else [(40, "2"), *fields]


def _plain(value: str) -> object:
    try:
        return float(value)
    except ValueError:
        return value


async def test_order_that_comes_again_is_the_same_order_and_another_of_its_name_is_refused(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="AGAIN") as ann:
        await ann.log_on()
        ann.order("d1", "1", "10", "230.00")
        first = await ann.report()
        ann.order("d1", "1", "10", "230.00", (97, "Y"))
        again = await ann.report()
        assert shown(again, 37, 150, 39) == [first[37], "I", "0"]
        ann.order("d1", "1", "11", "230.00")
        assert shown(await ann.report(), 11, 150, 103) == ["d1", "8", "6"]
        ann.replace("d2", "d1", "5", "230.00")
        assert shown(await ann.report(), 11, 150) == ["d2", "5"]
        ann.order("d2", "1", "10", "230.00")
        assert shown(await ann.report(), 11, 150, 103) == ["d2", "8", "6"]


async def test_same_order_sent_twice_at_once_is_entered_once(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="AT-ONCE") as ann:
        await ann.log_on()
        for _ in range(3):
            ann.order("o1", "1", "10", "230.00")
        told = [shown(await ann.report(), 11, 37, 150) for _ in range(3)]
        assert [report[2] for report in told] == ["0", "I", "I"]
        assert len({report[1] for report in told}) == 1


async def test_requests_that_follow_each_other_at_once_refer_to_each_other(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="CHAIN") as ann:
        await ann.log_on()
        ann.order("c1", "1", "10", "230.00")
        ann.replace("c2", "c1", "20", "229.00")
        ann.replace("c3", "c2", "30", "228.00")
        ann.cancel("c4", "c3")
        told = [shown(await ann.report(), 11, 41, 150, 38, 44) for _ in range(4)]
        assert told == [
            ["c1", "-", "0", "10", "230.00"],
            ["c2", "c1", "5", "20", "229.00"],
            ["c3", "c2", "5", "30", "228.00"],
            ["c4", "c3", "4", "30", "228.00"],
        ]


async def test_replace_that_says_nothing_new_is_refused(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="NOTHING-NEW") as ann:
        await ann.log_on()
        ann.order("same1", "1", "10", "230.00")
        await ann.report()
        ann.send("G", (11, "same2"), (41, "same1"), (55, "AAPL"), (54, "1"), (60, ann.now()), (40, "2"))
        assert shown(dict((await ann.next("9")).fields), 11, 39, 434, 102) == ["same2", "0", "2", "2"]


CHANGES = {
    "of an order that there is not": ("F", [(41, "nothing")], ["NONE", "8", "1", "1"]),
    "that has the name of what it changes": ("F", [(11, "x1"), (41, "x1")], ["NONE", "8", "1", "6"]),
    "in another symbol": ("F", [(55, "COIN")], ["?", "0", "1", "2"]),
    "of the side": ("G", [(54, "2")], ["?", "0", "2", "2"]),
    "of the time in force": ("G", [(59, "1")], ["?", "0", "2", "2"]),
    "of the expiry": ("G", [(126, "20991231-10:00:00")], ["?", "0", "2", "2"]),
    "of the day of the expiry": ("G", [(432, "20991231")], ["?", "0", "2", "2"]),
    "of the instructions": ("G", [(18, "6")], ["?", "0", "2", "2"]),
    "of the offset": ("G", [(211, "1")], ["?", "0", "2", "2"]),
    "to a price between ticks": ("G", [(44, "230.001")], ["?", "0", "2", "2"]),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_change_that_cannot_be_made_is_refused(gateway: FixGateway, what: str) -> None:
    msg_type, fields, expected = CHANGES[what]
    number = list(CHANGES).index(what)
    async with gateway.client(comp_id=f"CHANGE-{number}") as ann:
        await ann.log_on()
        ann.order(f"x{number}", "1", "10", "230.00")
        order_id = (await ann.report())[37]
        said = {11: f"y{number}", 41: f"x{number}", 55: "AAPL", 54: "1", 60: ann.now()}
        said |= {40: "2", 38: "20", 44: "229.00"} if msg_type == "G" else {}
        ann.send(msg_type, *(said | dict(fields)).items())
        refusal = dict((await ann.next("9")).fields)
        assert shown(refusal, 37, 39, 434, 102) == [order_id if expected[0] == "?" else expected[0], *expected[1:]]


async def test_mass_cancel_and_mass_status_count_what_they_concern(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="MASS") as ann:
        await ann.log_on()
        for number, side in enumerate("1121"):
            ann.order(f"m{number}", side, "10", {"1": "200.00", "2": "260.00"}[side])
            await ann.report()
        ann.send("AF", (584, "S1"), (585, "7"))
        reports = [await ann.report() for _ in range(4)]
        assert {report[911] for report in reports} == {"4"}
        assert [report[912] for report in reports] == ["N", "N", "N", "Y"]
        assert sorted(report[11] for report in reports) == ["m0", "m1", "m2", "m3"]
        ann.send("q", (11, "q1"), (60, ann.now()), (530, "1"), (55, "AAPL"), (54, "1"))
        canceled = sorted([(await ann.report())[11] for _ in range(3)])
        assert canceled == ["m0", "m1", "m3"]
        assert shown(dict((await ann.next("r")).fields), 11, 530, 531, 533) == ["q1", "1", "1", "3"]
        ann.send("q", (11, "q2"), (60, ann.now()), (530, "7"))
        assert shown(await ann.report(), 11, 150, 58) == ["m2", "4", "MASS_CANCELED"]
        assert shown(dict((await ann.next("r")).fields), 531, 533) == ["7", "1"]
        for number, cannot in enumerate(([(530, "3")], [(530, "1")], [(530, "7"), (54, "7")]), start=3):
            ann.send("q", (11, f"q{number}"), (60, ann.now()), *cannot)
            assert shown(dict((await ann.next("r")).fields), 531, 532) == ["0", "99"]
        ann.send("AF", (584, "S2"), (585, "7"))
        assert shown(await ann.report(), 584, 911, 39) == ["S2", "0", "8"]
        for number, (asked, reason) in enumerate((({585: "3"}, "0"), ({585: "1"}, "5"), ({585: "7", 1: "999"}, "0"))):
            ann.send("AF", (584, f"S{number}"), *asked.items())
            assert shown(dict((await ann.next("j")).fields), 372, 380) == ["AF", reason]


async def test_what_happens_while_nobody_is_there_is_told_once_at_the_next_logon(
    venue: Venue, gateway: FixGateway
) -> None:
    bob = await venue.log_in("bob")
    async with gateway.client(comp_id="AWAY") as ann:
        await ann.log_on()
        ann.order("w1", "1", "30", "230.00")
        await ann.report()
        ann.drop()
        for _ in range(3):
            await bob.place("sell", "5", "230.00")
        await ann.log_on_again()
        fills = [await ann.report() for _ in range(3)]
        assert [report[14] for report in fills] == ["5", "10", "15"]
        assert [int(report[34]) for report in fills] == [4, 5, 6]
        ann.drop()
        await ann.log_on_again()
        ann.send("2", (7, "4"), (16, "6"))
        again = [await ann.report() for _ in range(3)]
        assert [shown(report, 17, 43) for report in again] == [[report[17], "Y"] for report in fills]
        await bob.place("sell", "5", "230.00")
        assert shown(await ann.report(), 14, 43) == ["20", "-"]


async def test_reset_of_the_numbers_does_not_lose_what_was_not_told(venue: Venue, gateway: FixGateway) -> None:
    bob = await venue.log_in("bob")
    async with gateway.client(comp_id="RESET") as ann:
        await ann.log_on()
        ann.order("z1", "1", "30", "230.00")
        await ann.report()
        await ann.log_out()
        await bob.place("sell", "5", "230.00")
        ann.next_out = 1
        assert shown(dict((await ann.log_on((141, "Y"))).fields), 34, 141) == ["1", "Y"]
        assert shown(await ann.report(), 34, 11, 14) == ["2", "z1", "5"]


async def test_logon_with_wrong_or_no_credentials_is_refused(gateway: FixGateway) -> None:
    async with gateway.client("ann", password="not-this-one", comp_id="WRONG") as client:
        answer = await client.log_on()
        assert answer.msg_type == "5"
        assert answer.get(58) == "Username(553) or Password(554) is wrong"
        await client.closed()
    async with gateway.client(comp_id="NOBODY") as client:
        await client.connect()
        client.send("A", (98, "0"), (108, "30"))
        assert (await client.next()).msg_type == "5"
        await client.closed()


async def test_session_that_is_logged_on_cannot_log_on_again(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="TWICE") as first, gateway.client(comp_id="TWICE") as second:
        await first.log_on()
        answer = await second.log_on()
        assert shown(dict(answer.fields), 35, 58) == ["5", "This session is logged on already"]
        await second.closed()
        first.send("1", (112, "STILL"))
        assert (await first.next("0")).get(112) == "STILL"


async def test_same_names_of_another_user_are_another_session(gateway: FixGateway) -> None:
    async with gateway.client("ann", comp_id="SAME") as ann, gateway.client("bob", comp_id="SAME") as bob:
        await ann.log_on()
        ann.order("s1", "1", "10", "200.00")
        await ann.report()
        await bob.log_on()
        bob.send("2", (7, "1"), (16, "0"))
        assert shown(dict((await bob.next("4")).fields), 34, 36) == ["1", "2"]
        ann.send("1", (112, "STILL"))
        assert (await ann.next("0")).get(112) == "STILL"


async def test_logon_with_an_api_key_trades(venue: Venue, gateway: FixGateway) -> None:
    trader = await venue.log_in("ann")
    key = (await trader.request("POST", "/v1/api-keys", json={"label": "fix"})).json()
    async with gateway.client(key["key_id"], password=key["secret"], comp_id="KEY") as client:
        assert (await client.log_on()).msg_type == "A"
        client.order("k1", "1", "10", "200.00")
        assert shown(await client.report(), 11, 39) == ["k1", "0"]
        await trader.request("DELETE", f"/v1/api-keys/{key['key_id']}")


async def test_drop_copy_tells_what_any_session_does_and_takes_no_orders(venue: Venue, gateway: FixGateway) -> None:
    trader = await venue.log_in("ann")
    async with gateway.client(comp_id="COPY", target="DROPCOPY") as copy, gateway.client(comp_id="ORDERS") as ann:
        await copy.log_on()
        await ann.log_on()
        ann.order("p1", "1", "10", "200.00")
        original, told = await ann.report(), await copy.report()
        assert shown(told, 17, 37, 11, 797) == [original[17], original[37], "p1", "Y"]
        placed = await trader.place("buy", "3", "200.00")
        assert shown(await copy.report(), 37, 11) == [placed["order_id"], "NONE"]
        copy.order("p2", "1", "10", "200.00")
        assert shown(dict((await copy.next("j")).fields), 372, 379, 380) == ["D", "p2", "6"]


async def test_drop_copy_names_changes_as_the_session_does_that_asked_for_them(gateway: FixGateway) -> None:
    async with (
        gateway.client(comp_id="COPY-CHANGES", target="DROPCOPY") as copy,
        gateway.client(comp_id="CHANGES") as ann,
    ):
        await copy.log_on()
        await ann.log_on()
        ann.order("n1", "1", "10", "200.00")
        ann.replace("n2", "n1", "20", "199.00")
        ann.replace("n3", "n2", "30", "198.00")
        ann.cancel("n4", "n3")
        told = [shown(await ann.report(), 17, 11, 41, 150) for _ in range(4)]
        assert [names[1:3] for names in told] == [["n1", "-"], ["n2", "n1"], ["n3", "n2"], ["n4", "n3"]]
        assert [shown(await copy.report(), 17, 11, 41, 150) for _ in range(4)] == told


async def test_drop_copy_that_was_away_is_told_the_names_of_that_time(venue: Venue, gateway: FixGateway) -> None:
    bob = await venue.log_in("bob")
    async with gateway.client(comp_id="COPY-LATE", target="DROPCOPY") as copy, gateway.client(comp_id="EARLY") as ann:
        await copy.log_on()
        await copy.log_out()
        await ann.log_on()
        ann.order("l1", "1", "10", "230.00")
        await ann.report()
        await bob.place("sell", "1", "230.00")
        ann.replace("l2", "l1", "20", "230.00")
        told = [shown(await ann.report(), 17, 11, 41) for _ in range(2)]
        await bob.place("sell", "1", "230.00")
        ann.cancel("l3", "l2")
        told += [shown(await ann.report(), 17, 11, 41) for _ in range(2)]
        assert [names[1] for names in told] == ["l1", "l2", "l2", "l3"]
        await copy.log_on()
        assert [shown(await copy.report(), 17, 11, 41) for _ in range(5)][1:] == told


async def test_requests_leave_in_the_order_in_which_they_came(gateway: FixGateway) -> None:
    """A cancel has to be safe before it leaves, an order need not: the cash that the one frees is there for the other."""
    async with gateway.client(comp_id="TURNS") as ann:
        await ann.log_on()
        for number in range(10):
            ann.order(f"turn{number}", "1", "3000", "230.00")
            assert shown(await ann.report(), 11, 39) == [f"turn{number}", "0"]
            ann.cancel(f"cancel{number}", f"turn{number}")
            ann.order(f"next{number}", "1", "3000", "230.00")
            ann.send("q", (11, f"all{number}"), (60, ann.now()), (530, "7"))
            told = [shown(await ann.report(), 11, 39) for _ in range(3)]
            assert told == [[f"cancel{number}", "4"], [f"next{number}", "0"], [f"next{number}", "4"]]


async def test_cancel_on_disconnect_that_a_logon_asks_for_cancels(venue: Venue, gateway: FixGateway) -> None:
    bob = await venue.log_in("bob")
    async with gateway.client("bob", comp_id="SAFE") as client:
        await client.log_on((9001, "Y"))
        client.order("e1", "1", "10", "200.00", (59, "1"))
        order_id = (await client.report())[37]
        client.drop()

        async def is_canceled() -> bool:
            return bool((await bob.get(f"/v1/orders/{order_id}"))["reason"] == "CONNECTION_LOST")

        await eventually(is_canceled)
        await client.log_on_again()
        assert shown(await client.report(), 37, 150, 58) == [order_id, "4", "CONNECTION_LOST"]
        await client.log_out()
        await client.log_on((9001, "N"))
        client.order("e2", "1", "10", "200.00", (59, "1"))
        assert (await client.report())[39] == "0"


async def test_market_data_keeps_a_book_right(venue: Venue, gateway: FixGateway) -> None:
    bob, trader = await venue.log_in("bob"), await venue.log_in("ann")
    async with gateway.client(comp_id="MARKET") as ann:
        await ann.log_on()
        await bob.place("sell", "10", "231.00")
        ann.send(
            "V",
            (262, "M1"),
            (263, "1"),
            (264, "2"),
            (265, "1"),
            (267, "3"),
            (269, "0"),
            (269, "1"),
            (269, "2"),
            (146, "1"),
            (55, "AAPL"),
        )
        snapshot = await ann.next("W")
        assert _entries(snapshot) == [("1", "231.00", "10")]
        assert shown(dict(snapshot.fields), 262, 55) == ["M1", "AAPL"]
        book = {(kind, price): size for kind, price, size in _entries(snapshot)}
        trades: list[tuple[str, str]] = []
        await bob.place("sell", "5", "232.00")
        await bob.place("sell", "7", "230.50")
        await trader.place("buy", "3", "230.00")
        await trader.place("buy", "9", "231.00")
        while book != {("0", "230.00"): "3", ("1", "231.00"): "8", ("1", "232.00"): "5"}:
            _apply(await ann.next("X"), book, trades)
            assert sum(kind == "1" for kind, _ in book) <= 2
        assert trades == [("230.50", "7"), ("231.00", "2")]
        ann.send("V", (262, "M1"), (263, "2"), (264, "2"), (267, "1"), (269, "0"), (146, "1"), (55, "AAPL"))
        ann.send("V", (262, "M2"), (263, "0"), (264, "1"), (267, "2"), (269, "1"), (269, "2"), (146, "1"), (55, "AAPL"))
        assert _entries(await ann.next("W")) == [("1", "231.00", "8"), ("2", "231.00", "2")]


def _entries(message: Message) -> list[tuple[str, str, str]]:
    """(type, price, size) of each entry of a snapshot."""
    values = [value for tag, value in message.fields if tag in (269, 270, 271)]
    return list(zip(*[iter(values)] * 3, strict=True))


def _apply(message: Message, book: dict[tuple[str, str], str], trades: list[tuple[str, str]]) -> None:
    entries: list[dict[int, str]] = []
    for tag, value in message.fields:
        if tag == 279:
            entries.append({})
        if entries:
            entries[-1][tag] = value
    for entry in entries:
        if entry[269] == "2":
            trades.append((entry[270], entry[271]))
        elif entry[279] == "2":
            del book[entry[269], entry[270]]
        else:
            book[entry[269], entry[270]] = entry[271]


REQUESTS = {
    "symbol that there is not": ([(263, "1"), (264, "0"), (267, "1"), (269, "0"), (146, "1"), (55, "NONE")], "0"),
    "depth beyond all": ([(263, "1"), (264, "5000"), (267, "1"), (269, "0"), (146, "1"), (55, "AAPL")], "5"),
    "entries that there are not": ([(263, "1"), (264, "0"), (267, "1"), (269, "6"), (146, "1"), (55, "AAPL")], "8"),
}


@pytest.mark.parametrize("what", REQUESTS)
async def test_market_data_that_cannot_be_had_is_refused(gateway: FixGateway, what: str) -> None:
    fields, reason = REQUESTS[what]
    async with gateway.client(comp_id=f"NO-DATA-{list(REQUESTS).index(what)}") as ann:
        await ann.log_on()
        ann.send("V", (262, "M"), *fields)
        assert shown(dict((await ann.next("Y")).fields), 262, 281) == ["M", reason]


async def test_list_of_orders_is_refused_as_a_message_that_is_not_supported(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="LIST-OF-ORDERS") as ann:
        await ann.log_on()
        order = [(11, "e1"), (67, "1"), (55, "AAPL"), (54, "1"), (60, ann.now()), (38, "10"), (40, "2"), (44, "200")]
        ann.send("E", (66, "L1"), (394, "3"), (68, "1"), (73, "1"), *order)
        assert shown(dict((await ann.next("j")).fields), 372, 380) == ["E", "3"]
        ann.order("e2", "1", "10", "200.00")
        assert shown(await ann.report(), 11, 39) == ["e2", "0"]


async def test_security_list_names_what_is_listed(gateway: FixGateway) -> None:
    async with gateway.client(comp_id="LIST") as ann:
        await ann.log_on()
        ann.send("x", (320, "L1"), (559, "4"))
        answer = await ann.next("y")
        assert [value for tag, value in answer.fields if tag in (55, 58, 561)] == [
            *("AAPL", "1", "TickSize=0.01"),
            *("COIN", "0.02", "TickSize=0.5"),
        ]
        ann.send("x", (320, "L2"), (559, "0"), (55, "NONE"))
        assert shown(dict((await ann.next("y")).fields), 320, 560, 146) == ["L2", "2", "-"]
