"""What an answer says it costs."""

import pytest
from pydantic import JsonValue

from services.model_gateway.wires.chat_usage import billed_in


class TestTheBill:
    @pytest.mark.parametrize(
        ("usage", "billed"),
        [
            ({"cost": 0.00005, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.00005}}, 0.00005),
            ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
            ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, 0.01),
            ({"cost": {"input_tokens_cost": 0.1, "total_cost": 0.3}}, 0.3),
            ({"cost": 0}, 0.0),
            ({"prompt_tokens": 5}, None),
            ({"cost": "free"}, None),
            ({"cost": True}, None),
            ({"cost": -1}, None),
            ({"cost": float("nan")}, None),
            (None, None),
        ],
    )
    def test_is_what_the_provider_says(self, usage: JsonValue, billed: float | None) -> None:
        found = billed_in({"usage": usage})
        assert found == (None if billed is None else pytest.approx(billed))
