"""Where Google's models are found, however much of the way an address names."""

import pytest

from services.model_gateway.wires.gemini import base

GOOGLE = "https://generativelanguage.googleapis.com"
VERTEX = "https://aiplatform.googleapis.com"
EUROPE = "https://europe-west4-aiplatform.googleapis.com"
PROJECT = "projects/p/locations/europe-west4"


class TestBase:
    @pytest.mark.parametrize(
        ("url", "found"),
        [
            (GOOGLE, f"{GOOGLE}/v1beta"),
            (f"{GOOGLE}/", f"{GOOGLE}/v1beta"),
            (f"{GOOGLE}/v1alpha", f"{GOOGLE}/v1alpha"),
            (f"{GOOGLE}/v1beta/models/", f"{GOOGLE}/v1beta"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1beta"),
            ("https://proxy.example/gemini", "https://proxy.example/gemini/v1beta"),
            ("https://aiplatform.googleapis.com.example", "https://aiplatform.googleapis.com.example/v1beta"),
            (VERTEX, f"{VERTEX}/v1/publishers/google"),
            (f"{VERTEX}/v1", f"{VERTEX}/v1/publishers/google"),
            (f"{VERTEX}/v1beta1/publishers/google", f"{VERTEX}/v1beta1/publishers/google"),
            (f"{VERTEX}/v1/publishers/google/models", f"{VERTEX}/v1/publishers/google"),
            (f"{EUROPE}/v1/{PROJECT}", f"{EUROPE}/v1/{PROJECT}/publishers/google"),
            (f"{EUROPE}/v1/{PROJECT}/publishers/google/", f"{EUROPE}/v1/{PROJECT}/publishers/google"),
            (
                f"https://proxy.example/v1/{PROJECT}/publishers/google",
                f"https://proxy.example/v1/{PROJECT}/publishers/google",
            ),
        ],
    )
    def test_an_address_is_taken_as_far_as_it_goes(self, url: str, found: str) -> None:
        assert base(url) == found
