"""Secrets in AWS Secrets Manager; its versions are what makes a rotation without a gap possible.

Credentials and endpoint are found as boto3 finds them: variables, profile, role of the machine or container,
``AWS_ENDPOINT_URL``. Where no region is known or boto3 is not installed, nothing is looked up here.

References
----------
AWS Secrets Manager User Guide, "Rotate secrets": staging labels AWSCURRENT and AWSPREVIOUS.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, ClassVar

from pydantic import Field

from demur.config import Settings
from demur.errors import SecretUnavailableError, require
from demur.serve.secrets._source import Stage

_LABELS: dict[Stage, str] = {"current": "AWSCURRENT", "previous": "AWSPREVIOUS"}
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ATTEMPTS = 3
_REMEDIES = {
    "AccessDeniedException": "allow secretsmanager:GetSecretValue on it (and kms:Decrypt on its key) to this role",
    "DecryptionFailure": "allow kms:Decrypt on its key to this role",
    "InvalidRequestException": "it may be marked for deletion; restore it",
    "ThrottlingException": "raise secrets.ttl_s",
    "ExpiredTokenException": "renew the credentials",
    "UnrecognizedClientException": "check the credentials and the region",
    "InvalidSignatureException": "check the credentials and the clock of this machine",
}


class AwsConfig(Settings):
    """Which region, which part of the names, and for how long a version that was replaced is accepted."""

    region: str | None = Field(
        default=None, description="Region; absent: AWS_REGION, AWS_DEFAULT_REGION or the profile's."
    )
    endpoint: str | None = Field(
        default=None, description="URL of the service; absent: AWS_ENDPOINT_URL or the region's own."
    )
    prefix: str = Field(default="", description="What stands before each name, such as prod/demur/.")
    timeout_s: float = Field(default=5, gt=0, le=60, description="Seconds one request may take; three are made.")
    grace_s: float = Field(
        default=86_400, ge=0, description="Seconds after a rotation in which the value before is still accepted."
    )


class AwsSource:
    """The secret ``prefix`` + name; a binary one must be UTF-8 text."""

    config_type: ClassVar[type[Settings]] = AwsConfig

    def __init__(self, config: AwsConfig | None = None) -> None:
        self.config = config or AwsConfig()
        self._opened: Any = None

    def get(self, name: str, stage: Stage = "current") -> str | None:
        """The version in force, or the one before within ``grace_s`` of the rotation; None where there is none.

        Raises
        ------
        SecretUnavailableError
            AWS does not answer or refuses; the message says what to allow or check.
        """
        client = self._client()
        if client is None:
            return None
        if stage == "previous":
            newest = self._ask(client, name, "current")
            if newest is None or _age_s(newest) >= self.config.grace_s:
                return None
        answer = self._ask(client, name, stage)
        return None if answer is None else _text_of(answer, name)

    def where(self) -> str:
        """The region, or what is missing to look anything up."""
        if find_spec("boto3") is None:
            return "aws (boto3 is not installed; run: pip install 'demur[aws]')"
        region = self._region()
        return f"aws ({self.config.prefix}... in {region})" if region else "aws (no region; set AWS_REGION)"

    def _region(self) -> str | None:
        named = (os.environ.get(name) for name in _REGIONS)
        given = self.config.region or next((region for region in named if region), None)
        return given or require("boto3", extra="aws").session.Session().region_name

    def _client(self) -> Any:
        if self._opened is None and find_spec("boto3") is not None and self._region() is not None:
            settings = require("botocore.config", extra="aws").Config(
                connect_timeout=self.config.timeout_s,
                read_timeout=self.config.timeout_s,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            )
            session = require("boto3", extra="aws").session.Session()
            self._opened = session.client(
                "secretsmanager", region_name=self._region(), endpoint_url=self.config.endpoint, config=settings
            )
        return self._opened

    def _ask(self, client: Any, name: str, stage: Stage) -> dict[str, Any] | None:
        faults = require("botocore.exceptions", extra="aws")
        try:
            answer: dict[str, Any] = client.get_secret_value(
                SecretId=self.config.prefix + name, VersionStage=_LABELS[stage]
            )
        except client.exceptions.ResourceNotFoundException:
            return None
        except faults.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "an error")
            remedy = _REMEDIES.get(code, "see the service's own log")
            raise SecretUnavailableError(f"AWS does not give the secret '{name}' ({code}); {remedy}") from None
        except faults.BotoCoreError as error:
            raise SecretUnavailableError(
                f"AWS could not be asked for the secret '{name}' ({type(error).__name__}); "
                "check credentials, region and network"
            ) from None
        return answer


def _age_s(answer: dict[str, Any]) -> float:
    made: datetime = answer["CreatedDate"]
    return (datetime.now(UTC) - made).total_seconds()


def _text_of(answer: dict[str, Any], name: str) -> str:
    if "SecretString" in answer:
        return str(answer["SecretString"])
    try:
        return bytes(answer["SecretBinary"]).decode("utf-8")
    except UnicodeDecodeError:
        raise SecretUnavailableError(f"the secret '{name}' in AWS is not UTF-8 text; store it as text") from None
