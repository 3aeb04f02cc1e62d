"""What is written about the settings is complete and true."""

import json
import re
from pathlib import Path

import pytest

from orchestrator.config.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = sorted(field.alias or "" for field in Settings.model_fields.values())
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("runner-images/**/*.md")]
EXAMPLE = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))["Values"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_in_the_example(setting: str) -> None:
    """`local.settings.json.example` holds every setting."""
    assert setting in EXAMPLE


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_in_the_readme(setting: str) -> None:
    """The README's configuration table explains every setting."""
    assert f"| `{setting}` |" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(str(page.relative_to(ROOT)) for page in PAGES))
def test_links_lead_somewhere(page: str) -> None:
    """Every link to another file of the repository finds it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = {found.partition("#")[0] for found in re.findall(r"\]\(([^)\s]+)\)", text)}
    files = {target for target in targets if target and not target.startswith(("http", "mailto:"))}
    assert [target for target in files if not (ROOT / page).parent.joinpath(target).exists()] == []


def test_the_example_becomes_right_by_filling_in_the_secrets() -> None:
    """With a webhook secret and a token the example is a working configuration, and its defaults are the code's."""
    filled = Settings.from_environment(EXAMPLE | {"GithubWebhookSecret": "s", "GithubToken": "t"})
    bare = Settings.from_environment(
        {
            name: value
            for name, value in EXAMPLE.items()
            if name.startswith(("Azure", "Batch", "Container", "Ubuntu", "Windows"))
        }
        | {"GithubWebhookSecret": "s", "GithubToken": "t"}
    )
    assert filled == bare
