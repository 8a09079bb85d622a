"""How to reach NATS."""

from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class BusSettings(BaseSettings):
    """The broker's address and who we are there. The names are NATS's own."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    url: str = Field(default="nats://127.0.0.1:4222", validation_alias="NATS_URL")
    """One or more servers, separated by commas."""
    user: str | None = Field(default=None, validation_alias="NATS_USER")
    password: SecretStr | None = Field(default=None, validation_alias="NATS_PASSWORD")
    credentials: str | None = Field(default=None, validation_alias="NATS_CREDS")
    """Path of a `.creds` file, instead of user and password."""

    @property
    def servers(self) -> list[str]:
        """The servers one by one."""
        return [server.strip() for server in self.url.split(",") if server.strip()]

    @property
    def where(self) -> str:
        """The servers as they may be shown."""
        return ", ".join(map(place, self.servers))

    def options(self, name: str) -> dict[str, Any]:
        """Return the connection options of nats-py that natscope relies on.

        Reconnecting never ends (its default gives up after two minutes), a dead link is noticed within 20 s (default
        four minutes), and each user has inboxes of its own, so that permissions can tell them apart.
        """
        options: dict[str, Any] = {
            "servers": self.servers,
            "name": name,
            "allow_reconnect": True,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.25,
            "connect_timeout": 2,
            "ping_interval": 10,
            "max_outstanding_pings": 2,
            "pending_size": 16 << 20,
        }
        if self.user is not None:
            options["inbox_prefix"] = f"_INBOX.{self.user}"
        return options

    def secrets(self) -> dict[str, Any]:
        """Return the options that prove who we are."""
        if self.credentials is not None:
            return {"user_credentials": self.credentials}
        if self.user is not None:
            return {"user": self.user, "password": self.password.get_secret_value() if self.password else ""}
        return {}


def place(url: str) -> str:
    """Return scheme, host and port of a server's address: never the user and the password that it may hold."""
    scheme = url.partition("://")[0] if "://" in url else "nats"
    return f"{scheme}://{url.rpartition('@')[2].rpartition('://')[2].partition('/')[0]}"
