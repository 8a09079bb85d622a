"""The compose file keeps what the architecture promises about containers."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = ["agent", "memory", "model-gateway", "tool-executor"]
SOCKET = "/var/run/docker.sock"


class TestCompose:
    def test_holds_nats_jaeger_the_four_services_and_who_makes_their_streams(self) -> None:
        assert sorted(SERVICES) == sorted([*OURS, "jaeger", "nats", "provision"])

    def test_only_the_tool_executor_gets_the_engines_socket(self) -> None:
        holders = [name for name, service in SERVICES.items() if SOCKET in str(service)]
        assert holders == ["tool-executor"]

    def test_nothing_listens_beyond_this_machine(self) -> None:
        ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)

    @pytest.mark.parametrize("name", [*OURS, "jaeger", "nats"])
    def test_every_container_is_bounded_restarted_and_without_privileges(self, name: str) -> None:
        service = SERVICES[name]
        assert service["restart"] == "unless-stopped"
        assert service["mem_limit"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileges", service.get("privileged", False))

    @pytest.mark.parametrize("name", OURS)
    def test_a_service_is_its_own_nats_user_and_knows_only_its_own_password(self, name: str) -> None:
        environment = SERVICES[name]["environment"]
        assert environment["NATS_USER"] == name
        passwords = [key for key in environment if "PASSWORD" in key]
        assert passwords == ["NATS_PASSWORD"]
        assert environment["NATS_PASSWORD"].startswith(f"${{NATS_{name.upper().replace('-', '_')}_PASSWORD:-")

    @pytest.mark.parametrize("name", OURS)
    def test_a_service_waits_for_nats_and_has_no_writable_root(self, name: str) -> None:
        assert SERVICES[name]["depends_on"]["nats"] == {"condition": "service_healthy"}
        assert SERVICES[name]["read_only"] is True

    def test_every_setting_it_reads_is_explained_in_the_example(self) -> None:
        example = (ROOT / ".env.example").read_text()
        read = set(re.findall(r"\$\{(\w+)", TEXT)) - {
            "COMPOSE_PROJECT_NAME",
            "DOCKER_GID",
            "NATS_VERSION",
            "NATSCOPE_LOG_LEVEL",
        }
        assert not [name for name in read if not re.search(rf"^#?{name}=", example, flags=re.MULTILINE)]
