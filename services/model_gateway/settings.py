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
    workers: int = Field(default=256, ge=1)
    """Calls answered at the same time; more wait."""
    deadline: Duration = Field(default=timedelta(seconds=CHAT.deadline_s - 10), gt=timedelta(0))
    """For one call with all its attempts; shorter than the asker's patience, so that it hears why."""
    attempts: int = Field(default=3, ge=1, le=10)
    """How often a provider is asked, in all, when it fails in a way that may pass."""
    max_media_bytes: int = Field(default=20 << 20, ge=0)
    """Media shown to a model in one call, before base64 (20 MiB)."""
