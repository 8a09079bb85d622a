"""The gateway's settings."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from natscope.contracts.contract import Duration
from natscope.contracts.model import CHAT


class Settings(BaseSettings):
    """Read from `MODEL_GATEWAY_*`. Keys are not here: deploy/models.yaml names the variables that hold them."""

    model_config = SettingsConfigDict(env_prefix="MODEL_GATEWAY_", frozen=True, extra="ignore")

    models: Path = Path("deploy/models.yaml")
    """The file of providers and aliases."""
    models_every: Duration = Field(default=timedelta(seconds=2), gt=timedelta(0))
    """How often to look whether that file has changed."""
    workers: int = Field(default=256, ge=1)
    """Calls answered at the same time; more wait."""
    deadline: Duration = Field(default=timedelta(seconds=CHAT.deadline_s - 10), gt=timedelta(0))
    """For one call with all its attempts; shorter than the asker's patience, so that it hears why."""
    attempts: int = Field(default=3, ge=1, le=10)
    """How often a target is asked, in all, when it fails in a way that may pass."""
    first_pause: Duration = Field(default=timedelta(milliseconds=250), gt=timedelta(0))
    """The longest first pause between attempts; each further one may be twice as long."""
    honoured_pause: Duration = Field(default=timedelta(seconds=5), ge=timedelta(0))
    """A provider that asks to wait longer is not waited for: the next target is asked."""
    breaker_failures: int = Field(default=5, ge=1)
    """So many failures of a key within half a minute, and at least half of its calls, keep further calls from it."""
    breaker_pause: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """After this one call tries whether it works again; each time it does not, twice as long."""
    max_media_bytes: int = Field(default=20 << 20, ge=0)
    """Media shown to a model in one call, before base64 (20 MiB)."""
    media_timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0))
    """For fetching one file from the web."""
    kept_media_bytes: int = Field(default=64 << 20, ge=0)
    """Copies of what was fetched from the web, in memory (64 MiB); 0: none, everything is fetched each time."""
    private_media: bool = False
    """Fetch also from addresses that are not public. Whoever may ask a model could look into the network by it."""
