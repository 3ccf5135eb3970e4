"""The configuration: typed, frozen on load, every key known. `config/dev.yaml` documents each of them.

Secrets are never here: they come from the environment (`TRADING_ENGINE_…`) or are made at the first start and kept in the data directory
with mode 0600.
"""

from pathlib import Path
from typing import Any

import msgspec
import yaml

SHARDS_MAX = 1_000
AUDIT_DAYS_MIN = 30
"""Who reads the log once a month misses nothing."""


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file and the key."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: an unknown key is an error."""


class CurrencyConfig(Section, frozen=True):
    decimals: int = 2


class MatchingConfig(Section, frozen=True):
    """What `MatchingRules` of the venue are made of; quantities in lots."""

    algorithm: str
    top: bool = False
    top_lots_min: int = 1
    top_lots_max: int = 0
    lead_market_makers: dict[int, int] = {}
    """Account id → percent."""
    pro_rata_lots_min: int = 2
    fifo_percent: int = 0
    leveling: bool = False


class BandsConfig(Section, frozen=True):
    """What `BandRules` of the venue are made of. Percentages are decimals in quotes; 0: no collar."""

    dynamic_percent: str = "0"
    static_percent: str = "0"
    call_s: int = 0
    """0: what would trade outside is canceled, and no call begins."""


class LimitBandsConfig(Section, frozen=True):
    """What `LimitBandRules` of the venue are made of."""

    percent: str
    width_max: str = "0"
    """In the currency; 0: no such bound."""
    change_percent: str = "1"
    window_s: int = 300
    update_s: int = 30
    limit_state_s: int = 15
    pause_s: int = 300


class InstrumentConfig(Section, frozen=True):
    symbol: str
    name: str
    reference_price: str
    currency: str = "USD"
    tick_size: str = "0.01"
    lot_size: str = "1"
    quantity_max: str = "1000000"
    notional_max: str = "10000000000"
    market_protection: str = "5.00"
    price_band_percent: int = 50
    maker_fee_bp: str = "1"
    taker_fee_bp: str = "3"
    matching: MatchingConfig | None = None
    """None: price, then time."""
    shard: int = 0
    """Whose order book server lists it."""
    bands: BandsConfig | None = None
    limit_bands: LimitBandsConfig | None = None
    initial_margin_percent: int = 0
    """0: all of the value."""
    maintenance_margin_percent: int = 0
    """0: as much as the initial margin."""
    shortable: bool = False
    suspended: bool = False


class AuctionsConfig(Section, frozen=True):
    """Calls of a market with sessions; 0 seconds: none."""

    opening_call_s: int = 0
    closing_call_s: int = 0
    random_end_s: int = 0
    """A call of the calendar ends at random within so many seconds after its time."""
    collar_percent: int = 0
    price_extensions_max: int = 0
    market_order_extensions_max: int = 0
    extension_s: int = 60

    @property
    def extensions_s(self) -> int:
        """How long all extensions take."""
        return (self.price_extensions_max + self.market_order_extensions_max) * self.extension_s


class BreakerLevelConfig(Section, frozen=True):
    fall_percent: str
    halt_s: int = 0
    """0: for the rest of the day."""


class CircuitBreakersConfig(Section, frozen=True):
    """Of the whole venue; without an index there are none."""

    index: dict[str, int] = {}
    """Symbol → weight."""
    levels: tuple[BreakerLevelConfig, ...] = (
        BreakerLevelConfig(fall_percent="7", halt_s=900),
        BreakerLevelConfig(fall_percent="13", halt_s=900),
        BreakerLevelConfig(fall_percent="20"),
    )
    call_s: int = 300
    timed_until_s: int = 0
    """So long before the trading day ends, levels that halt for a time stop doing so; 0: they never do."""


class VenueConfig(Section, frozen=True):
    name: str = "Venue"
    shards: int = 1
    """Order book servers that share the instruments."""
    calendar: str = "24/7"
    auctions: AuctionsConfig = AuctionsConfig()
    circuit_breakers: CircuitBreakersConfig = CircuitBreakersConfig()
    currencies: dict[str, CurrencyConfig] = {}
    instruments: tuple[InstrumentConfig, ...] = ()


class ObsConfig(Section, frozen=True):
    shard: int = 0
    core: str = "fast"
    """Implementation of the venue: `fast`, or `reference`; they are equal in all that they do."""
    group_commit_max: int = 1000
    snapshot_every_commands: int = 100_000
    journal_segment_bytes: int = 64 << 20
    standby: bool = False
    """Wait while another order book server serves from the same data directory, and go on when it is dead."""
    lease_s: float = 5.0
    """A standby kills one that has done nothing for so long."""
    virtual_clock: bool = False
    """For venues under test: administrators set the time and its speed over `/v1/scenarios/clock`."""


class RateLimits(Section, frozen=True):
    orders_per_second: int = 500
    orders_burst: int = 1000
    requests_per_second: int = 200
    requests_burst: int = 400
    logins_per_minute: int = 60
    market_maker_multiple: int = 5


class TesConfig(Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 8000
    tls_certificate: str = ""
    """A PEM file with the certificate and those that lead to it; empty: no TLS."""
    tls_key: str = ""
    """A PEM file; empty: the key is in the certificate's file."""
    plain_http_beyond_loopback: bool = False
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Names that the server may be called by; `*`: any. None: on loopback those of this machine, elsewhere any."""
    access_token_minutes: int = 15
    refresh_token_days: int = 7
    request_bytes_max: int = 64 << 10
    market_data_interval_ms: int = 100
    websocket_outbox_bytes_max: int = 4 << 20
    websocket_connections_max: int = 5000
    connections_per_address_max: int = 2000
    order_timeout_s: float = 5.0
    projection_process: bool = True
    """Whether the rows of orders, trades and balances are written by a process of its own, which the server starts."""
    scenarios: bool = False
    """For venues under test: administrators make things happen over `/v1/scenarios`."""
    rate_limits: RateLimits = RateLimits()


class FixConfig(Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 9878
    api_url: str = ""
    """The TES that sessions log in at; empty: the one of this configuration."""
    tls_certificate: str = ""
    tls_key: str = ""
    plain_beyond_loopback: bool = False
    comp_id: str = "VENUE"
    drop_copy_comp_id: str = "DROPCOPY"
    heartbeat_s_min: int = 1
    connections_max: int = 500
    message_bytes_max: int = 64 << 10
    outbox_bytes_max: int = 4 << 20
    messages_kept: int = 100_000
    """Of each session, to be sent again when they are asked for."""
    session_start: str = ""
    """In UTC, as 22:00; empty: sessions have no end, and their numbers go on."""
    session_end: str = ""
    """The same time as the start: a session lasts until the next one."""
    session_start_day: str = ""
    """Of weekly sessions, as `sunday`; empty: daily ones."""
    session_end_day: str = ""
    reset_on_logon: bool = False


class RabbitMQConfig(Section, frozen=True):
    url: str = "amqp://127.0.0.1:5672/"
    """Without a password: that is in `TRADING_ENGINE_RABBITMQ_URL`, which is used instead of this one."""
    prefix: str = ""
    """Begins the name of every queue, stream and exchange: so several venues can share a virtual host."""


class MessagingConfig(Section, frozen=True):
    transport: str = "embedded"
    """`embedded`: a local socket of the order book server; `rabbitmq`."""
    socket: str = ""
    rabbitmq: RabbitMQConfig = RabbitMQConfig()


class DatabaseConfig(Section, frozen=True):
    transactional_url: str = ""
    analytics_url: str = ""
    historical_url: str = ""
    historical_roll_rows: int = 100_000
    """Rows of a table that the embedded history keeps in SQLite before they become a Parquet file."""
    utilities_url: str = ""
    redis_url: str = ""
    audit_days: int = 2557
    """So long acts are kept in the audit log: seven years; 0: for ever."""
    projection_batch_max: int = 500
    projection_interval_ms: int = 50
    performance_interval_s: float = 10.0
    """How often services add what they measured to the analytics database."""


class PortalConfig(Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 8080
    api_url: str = "http://127.0.0.1:8000"
    plain_http_beyond_loopback: bool = False


class FrontendConfig(Section, frozen=True):
    trader: PortalConfig = PortalConfig()


class DemoUser(Section, frozen=True):
    username: str
    password: str
    cash: dict[str, str] = {}
    quantity_each: str = "0"
    """Quantity of every instrument that the account starts with."""


class DemoConfig(Section, frozen=True):
    users: tuple[DemoUser, ...] = ()


class BotsConfig(Section, frozen=True):
    seed: int = 1
    makers: int = 2
    takers: int = 2
    noise: int = 2
    orders_per_second: float = 30.0
    """Of all bots and instruments together, about."""
    parameters: str = "default"
    """Name of the set of model parameters that they follow, if there is one (model `simulated_traders`)."""
    cash: dict[str, str] = {}
    quantity_each: str = "0"


class LogConfig(Section, frozen=True):
    level: str = "INFO"
    format: str = "text"
    """`text` or `json`, one line per record."""


class Config(Section, frozen=True):
    data_dir: str = "var"
    venue: VenueConfig = VenueConfig()
    obs: ObsConfig = ObsConfig()
    tes: TesConfig = TesConfig()
    fix: FixConfig = FixConfig()
    messaging: MessagingConfig = MessagingConfig()
    database: DatabaseConfig = DatabaseConfig()
    frontend: FrontendConfig = FrontendConfig()
    demo: DemoConfig = DemoConfig()
    bots: BotsConfig = BotsConfig()
    log: LogConfig = LogConfig()

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).expanduser().resolve()

    @property
    def obs_path(self) -> Path:
        """Where the order book server of the shard keeps what is its own."""
        shard = self.obs.shard
        return self.data_path / f"shard-{shard}" if shard else self.data_path

    @property
    def shards(self) -> range:
        return range(self.venue.shards)

    def of_shard(self, shard: int) -> "Config":
        return msgspec.structs.replace(self, obs=msgspec.structs.replace(self.obs, shard=shard))

    def over_shards(self, shards: int) -> "Config":
        """With so many, and where it was one before, the instruments dealt out to them in turn."""
        venue = self.venue
        if venue.shards == 1:
            dealt = [
                msgspec.structs.replace(item, shard=index % shards) for index, item in enumerate(venue.instruments)
            ]
            venue = msgspec.structs.replace(venue, instruments=tuple(dealt))
        return msgspec.structs.replace(self, venue=msgspec.structs.replace(venue, shards=shards)).checked()

    def checked(self) -> "Config":
        """Raises `ConfigError` for a shard that there is not, or values out of range."""
        if self.database.audit_days and self.database.audit_days < AUDIT_DAYS_MIN:
            raise ConfigError(
                f"database.audit_days: {self.database.audit_days} is less than {AUDIT_DAYS_MIN}; 0 keeps acts for ever"
            )
        if not 0 < self.venue.shards <= SHARDS_MAX:
            raise ConfigError(f"venue.shards: {self.venue.shards} is not from 1 to {SHARDS_MAX}")
        known = f"venue.shards is {self.venue.shards}, so the last one is {self.venue.shards - 1}"
        for item in self.venue.instruments:
            if item.shard not in self.shards:
                raise ConfigError(f"venue.instruments: {item.symbol}: there is no shard {item.shard}: {known}")
        if self.obs.shard not in self.shards:
            raise ConfigError(f"obs.shard: there is no shard {self.obs.shard}: {known}")
        if self.venue.shards == 1 and (self.data_path / "shard-1").exists():
            raise ConfigError(
                f"{self.data_path} is of a venue with more shards than one: set venue.shards, or --shards"
            )
        return self


def load_config(path: Path) -> Config:
    """Read a YAML file. Raises `ConfigError`."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    try:
        return msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
