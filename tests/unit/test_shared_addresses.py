"""Where the addresses of servers come from."""

import pytest

from trading_engine.shared.addresses import server_url
from trading_engine.shared.config import ConfigError

KEYS = (
    ("database.redis_url", "TRADING_ENGINE_REDIS_URL", "redis"),
    ("database.historical_url", "TRADING_ENGINE_HISTORICAL_URL", "kdb"),
    ("messaging.rabbitmq.url", "TRADING_ENGINE_RABBITMQ_URL", "amqp"),
)


@pytest.mark.parametrize(("key", "variable", "scheme"), KEYS)
def test_address_of_the_environment_overrules_the_configured_one_and_may_hold_a_password(
    key: str, variable: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server_url(key, f"{scheme}://user@host") == f"{scheme}://user@host"
    assert server_url(key, "") == ""
    monkeypatch.setenv(variable, f"{scheme}://user:open-sesame@other")
    assert server_url(key, f"{scheme}://user@host") == f"{scheme}://user:open-sesame@other"


@pytest.mark.parametrize(("key", "variable", "scheme"), KEYS)
def test_password_in_the_configuration_is_refused_and_not_repeated(key: str, variable: str, scheme: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} holds a password: set {variable}") as caught:
        server_url(key, f"{scheme}://user:open-sesame@host")
    assert "open-sesame" not in str(caught.value)
