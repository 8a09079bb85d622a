"""Multi-agent platform on NATS: contracts, bus, telemetry and client."""
