"""What travels: JSON bodies, claim checks for those too large, and failures."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nats.js import JetStreamContext
from pydantic import TypeAdapter, ValidationError

from natscope.bus.blobs import BODIES, Blobs
from natscope.contracts.contract import Contract
from natscope.contracts.errors import BodyInvalid, Failure
from natscope.contracts.task import UNCOMPARED, Submit

Headers = dict[str, str]
T = TypeVar("T")

CLAIM = "Natscope-Body"
"""Header that refers to a body in the object store; the message's own body is empty then."""
DIGEST = "Natscope-Body-Digest"
"""Header that says what that body must be: the store's digest of it."""
ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"
CLAIM_BYTES = 256 << 10
"""Bodies above this are claim-checked (256 KiB): NATS's own limit is 1 MiB with headers."""


Excluded = set[str] | dict[str, Any]
"""Fields, or fields of fields, as pydantic's `exclude` names them."""


def digest_of(body: Contract, *, exclude: Excluded | None = None) -> str:
    """Return the SHA-256 of what `body` says, in hexadecimal; `exclude` names fields that do not count.

    What has its default does not count either: a contract grows, and what was asked, submitted or parked before must
    stay what it was.
    """
    said = body.__pydantic_serializer__.to_json(body, exclude=exclude, exclude_defaults=True)
    return hashlib.sha256(said).hexdigest()


def digest_of_task(body: Submit) -> str:
    """Return the SHA-256 of what makes a task this task, in hexadecimal."""
    return digest_of(body, exclude=UNCOMPARED)


class Envelope:
    """Packs bodies into messages and unpacks them."""

    def __init__(self, js: JetStreamContext, blobs: Blobs) -> None:
        self._js = js
        self._blobs = blobs

    async def pack(self, body: Contract | bytes, headers: Headers) -> bytes:
        """Return the bytes to publish; what is over 256 KiB is stored and `headers` refers to it."""
        data = body if isinstance(body, bytes) else body.__pydantic_serializer__.to_json(body)
        if len(data) <= CLAIM_BYTES:
            return data
        stored = await self._blobs.store(data, "application/json", bucket=BODIES)
        headers[CLAIM], headers[DIGEST] = stored.url, stored.digest or ""
        return b""

    async def unpack(self, data: bytes, headers: Mapping[str, str] | None) -> bytes:
        """Return the body's bytes, fetched from the object store if `headers` say so.

        Raises:
            BlobNotFound: it is gone, or it is not what was sent: whoever may write to the store may rewrite it.
            BodyInvalid: `headers` do not say what it must be.
        """
        claim = headers.get(CLAIM) if headers else None
        if not headers or not claim:
            return data
        if not headers.get(DIGEST):
            raise BodyInvalid(f"the stored body {claim!r} came without its digest", remedy=f"send the header {DIGEST}")
        return await self._blobs.load(claim, digest=headers[DIGEST])


def read(kind: type[Contract] | TypeAdapter[T], data: bytes, *, where: str) -> T:
    """Return `data` as a value of `kind`.

    Raises:
        BodyInvalid: it is no JSON, or does not fit; the message names the fields.
    """
    parse: Callable[[bytes], object] = kind.validate_json if isinstance(kind, TypeAdapter) else kind.model_validate_json
    try:
        return parse(data)  # pyright: ignore[reportReturnType]
    except ValidationError as error:
        raise BodyInvalid(f"{where}: {explain(error)}", remedy="see docs/reference/subjects.md") from error


def explain(error: ValidationError) -> str:
    """Return the first three faults of a validation, one after the other, with their fields."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults[:3]]
    more = len(faults) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def failure_headers(failure: Failure) -> Headers:
    """Return the headers by which NATS tools know a failure. Header values are one line of at most 200 characters.

    Source: ADR-32, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md#error-handling
    """
    line = " ".join(failure.message.split())[:200].encode("ascii", "replace").decode()
    return {ERROR: line or failure.code, ERROR_CODE: failure.code}
