"""What can be set about the memory service."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, at the start. Nothing here changes what is remembered."""

    model_config = SettingsConfigDict(env_prefix="MEMORY_", frozen=True, extra="ignore")

    remembered_ids: int = Field(default=200_000, ge=0)
    """How many message ids this process holds ready (about 150 bytes each), so that an append is one round trip."""
    workers: int = Field(default=64, ge=1)
    """How many calls of each door run at a time."""
