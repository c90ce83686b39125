"""Azure: OpenAI's images under deployments of one's own, with Azure's keys, versions and refusals.

From the code of openai 3.57 and litellm 1.110.2. Its responses, files and batches are OpenAI's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import ClassVar, Final

from attrs import evolve

from gptimage.models.catalog import Models
from gptimage.sandbox.dialect import (
    INVALID_KEY,
    JSON,
    Dialect,
    Provider,
    bearer,
)
from gptimage.sandbox.failures import ErrorReply, refusal
from gptimage.sandbox.images_api import Policy
from gptimage.sandbox.wire import is_multipart
from gptimage.transport.http import HttpReply, HttpRequest


_FIRST: Final = "2025-04-01-preview"
"""The first dated version that draws with these models."""
_DATED: Final = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_UNDATED: Final = (None, "v1", "latest", "preview")
_FILTERED: Final = {
    "hate": {"filtered": False, "severity": "safe"},
    "self_harm": {"filtered": False, "severity": "safe"},
    "sexual": {"filtered": True, "severity": "high"},
    "violence": {"filtered": False, "severity": "safe"},
}


class Azure(Dialect):
    """The dialect of a resource of Azure; each model is a deployment of its own name."""

    name: ClassVar[Provider] = "azure"
    prefix: ClassVar[str] = "/openai/v1"

    def models(self) -> Models:
        """Return the catalogue of what Azure has, with its own dates."""
        return Models.load().for_provider(self.name)

    def check_key(self, headers: Mapping[str, str], path: str) -> None:
        """Check the key: Azure's own header, or a token of Entra.

        Raises:
            ErrorReply: There is none, or a wrong one.
        """
        key = headers.get("api-key", "").strip() or bearer(headers)
        if not key or key == INVALID_KEY:
            raise refusal("azure_key")

    def arrived(
        self, request: HttpRequest, deployment: str | None, query: Mapping[str, str], policy: Policy
    ) -> HttpRequest:
        """Return the request with its model, which the path or the body names as a deployment.

        Raises:
            ErrorReply: The version is none, or there is no such deployment.
        """
        version = query.get("api-version")
        if deployment is None:
            if version not in _UNDATED:
                raise refusal("azure_resource")
            if self.draws(request.path):
                _check_deployment(str(request.body.get("model", "")), policy)
        else:
            if version is None or not _DATED.fullmatch(version) or version < _FIRST:
                raise refusal("azure_resource")
            _check_deployment(deployment, policy)
            # The SDK's client leaves the name in the body of JSON; another name is a mistake.
            if request.body.get("model", deployment) != deployment:
                raise ErrorReply("Unknown parameter: 'model'.", code="unknown_parameter")
            request = evolve(request, body={**request.body, "model": deployment})
        if request.path == "/images/edits" and not is_multipart(request):
            raise refusal("form_only")
        return request

    def refuse(self, error: ErrorReply, request_id: str) -> HttpReply:
        """Return the reply for a refusal, in Azure's own words where they are known."""
        code, headers = error.error["code"], {**JSON, **error.headers}
        found: dict[str, object] = error.named(request_id)
        if code == "moderation_blocked":
            found = {
                "code": "content_policy_violation",
                "inner_error": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_results": _FILTERED,
                },
                "message": "Your request was rejected as a result of our safety system.",
                "type": "invalid_request_error",
            }
        elif code == "rate_limit_exceeded":
            wait = error.headers.get("retry-after", "1")
            found = {
                "code": "429",
                "message": (
                    "Requests to the Images Operation under Azure OpenAI API have exceeded call"
                    f" rate limit of your current pricing tier. Please retry after {wait} seconds."
                ),
            }
        elif error.status == 503:
            found = {
                "code": "no_capacity",
                "message": "The system is currently experiencing high demand. Please try later.",
            }
        elif error.status in (401, 404):
            given = refusal("azure_key").error if error.status == 401 else found
            found = {"code": given["code"] or str(error.status), "message": given["message"]}
        body = json.dumps({"error": found}).encode()
        return HttpReply(status=error.status, headers=headers, body=body)


def _check_deployment(name: str, policy: Policy) -> None:
    """Refuse a model that Azure has not, or has no longer."""
    spec = policy.models.get(name)
    if spec is None or spec.offered != "yes" or spec.state(policy.today) == "shut_down":
        raise refusal("azure_deployment")
