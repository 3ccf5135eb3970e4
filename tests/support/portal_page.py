"""The Trader Portal as a person uses it, and a watch over what the browser did meanwhile."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, WebSocket, expect

LOOPBACK = {"127.0.0.1", "localhost"}


@dataclass
class Watch:
    """What must not happen behind anybody's back: requests to other machines, errors on the console."""

    requests: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    """Patterns of errors that the test brings about."""

    def attach(self, page: Page) -> None:
        page.on("request", self._request)
        page.on("websocket", self._socket)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _socket(self, socket: WebSocket) -> None:
        self.sockets.append(socket.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)
        elif message.type == "warning":
            self.warnings.append(message.text)

    def allow(self, *patterns: str) -> None:
        self.allowed.extend(patterns)

    def allow_lost_connection(self) -> None:
        self.allow("WebSocket connection to .* failed", "net::ERR_", "Failed to load resource: .* 503")

    def check(self) -> None:
        outside = [url for url in [*self.requests, *self.sockets] if urlsplit(url).hostname not in LOOPBACK]
        assert outside == []
        unexpected = [text for text in self.errors if not any(re.search(pattern, text) for pattern in self.allowed)]
        assert unexpected == []


class Portal:
    """One page. Locators wait by themselves; nothing here sleeps."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.symbol = ""
        self.watch = Watch()
        self.watch.attach(page)
        self.message = page.locator("#ticket-message")
        self.banner = page.locator("#banner")
        self.connection = page.locator("#connection")
        self.submit = page.locator("#ticket-submit")
        self.price = page.locator("#ticket-price")
        self.quantity = page.locator("#ticket-quantity")
        self.toasts = page.locator("#toasts")

    def open(self, symbol: str) -> None:
        self.symbol = symbol
        self.page.goto(f"{self.url}/#{symbol}")

    def sign_in(self, username: str, password: str, symbol: str) -> None:
        self.open(symbol)
        self.page.get_by_label("Username").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.ready(symbol)

    def ready(self, symbol: str) -> None:
        expect(self.page.locator("#top-symbol")).to_have_text(symbol)
        expect(self.connection).to_have_attribute("data-state", "live")
        expect(self.page.locator("#book-spread")).not_to_have_text("waiting for the book")
        expect(self.page.locator("#est-power")).not_to_have_text("—")

    def choose(self, side: str, price: str | None, quantity: str, order_type: str = "limit") -> None:
        self.page.locator(f"#side-{side}").click()
        self.page.locator("#ticket-type").select_option(order_type)
        if price is not None:
            self.price.fill(price)
        self.quantity.fill(quantity)

    def place(self, side: str, price: str, quantity: str) -> str:
        """Place a limit order that the venue takes; returns its id."""
        self.choose(side, price, quantity)
        self.submit.click()
        expect(self.message).to_have_attribute("data-kind", "good")
        found = re.match(r"Order (\d+) ", self.message.inner_text())
        assert found is not None
        return found.group(1)

    def level(self, side: str, price: str) -> Locator:
        """The ladder's row at a price; `side` is bids or asks."""
        return self.page.locator(f"#{side} .level:not([hidden])").filter(
            has=self.page.locator(".price", has_text=re.compile(rf"^{re.escape(price)}"))
        )

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=re.compile(f"^{name}")).click()

    @property
    def rows(self) -> Locator:
        """Rows of the blotter's present tab that are of the test's instrument."""
        return self.page.locator("#blotter-body tbody tr").filter(has_text=self.symbol)

    def order_row(self, order_id: str) -> Locator:
        return self.page.locator(f'#blotter-body tr[data-order-id="{order_id}"]')

    def cells(self, row: Locator) -> list[str]:
        return [text.strip() for text in row.locator("td").all_inner_texts()]
