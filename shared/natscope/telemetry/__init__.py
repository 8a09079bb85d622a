"""How it is seen: traces, metrics and logs, by the names of OpenTelemetry's conventions."""

from natscope.telemetry.setup import Telemetry, TelemetrySettings, telemetry_for

__all__ = ["Telemetry", "TelemetrySettings", "telemetry_for"]
