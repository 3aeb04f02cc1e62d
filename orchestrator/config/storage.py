"""The function's own storage account, as the Functions host itself is told of it."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, model_validator

from orchestrator.config import forms

# The setting, and the first part of those that begin like it.
STORAGE = "AzureWebJobsStorage"


class FunctionStorage(BaseModel):
    """Where kept requests, claims and the passes' memory are: a connection string, or an account for an identity.

    Attributes:
        connection_string: `AzureWebJobsStorage`.
        queue_service_uri: `AzureWebJobsStorage__queueServiceUri`, or made of `AzureWebJobsStorage__accountName`.
        blob_service_uri: `AzureWebJobsStorage__blobServiceUri`, or made of `AzureWebJobsStorage__accountName`.
        client_id: `AzureWebJobsStorage__clientId`: the user-assigned identity to use.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    connection_string: SecretStr | None = None
    queue_service_uri: Annotated[str, AfterValidator(forms.url)] | None = None
    blob_service_uri: Annotated[str, AfterValidator(forms.url)] | None = None
    client_id: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "FunctionStorage":
        """Read the settings that the Functions host itself uses for its storage."""
        account = environment.get(f"{STORAGE}__accountName")

        def uri(service: str) -> str | None:
            named = environment.get(f"{STORAGE}__{service}ServiceUri")
            return named or (f"https://{account}.{service}.core.windows.net" if account else None)

        connection = environment.get(STORAGE)
        return cls(
            connection_string=SecretStr(connection) if connection else None,
            queue_service_uri=uri("queue"),
            blob_service_uri=uri("blob"),
            client_id=environment.get(f"{STORAGE}__clientId"),
        )

    @model_validator(mode="after")
    def _names_a_queue(self) -> Self:
        if self.connection_string is None and self.queue_service_uri is None:
            raise ValueError(f"is missing (a connection string, or {STORAGE}__accountName with an identity)")
        text = self.connection_string.get_secret_value() if self.connection_string else ""
        if text and not {"queueendpoint", "accountname", "usedevelopmentstorage"} & {
            part.partition("=")[0].strip().lower() for part in text.split(";")
        }:
            raise ValueError("is not a storage connection string")
        return self
