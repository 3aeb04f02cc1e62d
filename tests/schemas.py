"""The schema that GitHub publishes of its `workflow_job` webhooks."""

from typing import Any

import jsonschema

from tests.npm import package_file


def validate_workflow_job(payload: dict[str, Any]) -> None:
    """Check a payload against the schema of its action; skip the test where the schema cannot be fetched.

    Raises:
        jsonschema.ValidationError: It is not what GitHub would send.
    """
    document = package_file("@octokit/openapi-webhooks", "12.1.0", "generated/api.github.com.json")
    schema = {
        "$ref": f"#/components/schemas/webhook-workflow-job-{payload['action'].replace('_', '-')}",
        "components": document["components"],
    }
    jsonschema.Draft202012Validator(schema).validate(payload)
