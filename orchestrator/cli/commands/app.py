"""`app`: the GitHub App that the function speaks to GitHub as."""

import sys
import time
import webbrowser
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.cli.address import plain_url
from orchestrator.cli.github_app import parameters, registration
from orchestrator.cli.github_app.manifest import PUBLIC_GITHUB, wish
from orchestrator.cli.output import note, say, say_json

FILE = Path("github-app.parameters.json")
# Minutes for which GitHub keeps what it gives for a manifest.
LONGEST_PATIENCE = 60

commands = typer.Typer(help="Register a GitHub App and connect it to the function.", no_args_is_help=True)


@commands.command()
def create(
    *,
    organization: Annotated[
        str | None, typer.Option(metavar="LOGIN", help="Its owner. Without: your own account.")
    ] = None,
    github_url: Annotated[
        str, typer.Option(metavar="URL", help="An Enterprise Server, or https://TENANT.ghe.com.")
    ] = PUBLIC_GITHUB,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its name, unique at GitHub. You can choose it there.")
    ] = None,
    runner_scope: Annotated[
        Literal["organization", "repository"] | None,
        typer.Option(metavar="organization|repository", help="Where its runners register: decides what it may do."),
    ] = None,
    webhook_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The function's address, if you know it already.")
    ] = None,
    public: Annotated[bool, typer.Option("--public/--private", help="Whether others may install it.")] = False,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="The parameters file for its id, key and secret.")
    ] = FILE,
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
    browser: Annotated[bool, typer.Option(help="Open the browser, or only print the address.")] = True,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Of the page on this machine; 0: any.")] = 0,
    minutes: Annotated[
        int, typer.Option(metavar="N", min=0, max=LONGEST_PATIENCE, help="How long to wait for you.")
    ] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, without secrets.")] = False,
) -> None:
    """Register a GitHub App in your browser and save its key and secret.

    An App that an enterprise owns cannot be made this way: GitHub takes no manifest for it.
    """
    wanted = wish(
        github_url=github_url,
        organization=organization,
        scope=runner_scope,
        name=name,
        webhook_url=webhook_url,
        public=public,
    )

    def show(address: str) -> None:
        note(f"Register the App in a browser on this machine: {address}")
        if browser:
            webbrowser.open(address)

    app = registration.register(
        wanted,
        output,
        force=force,
        port=port,
        patience=timedelta(minutes=minutes),
        show=show,
        sleep=time.sleep,
    )
    if as_json:
        say_json(
            {"id": app.app_id, "slug": app.slug, "url": app.html_url, "installUrl": app.install_url,
             "parametersFile": str(app.file)}
        )  # fmt: skip
        return
    say(f"The App {app.slug} is registered. Its id, key and webhook secret are in {app.file}, which only you can read.")
    say("Next:")
    steps = [f"Deploy, with this as the last of the parameters: --parameters {app.file}"]
    if webhook_url is None:
        steps.append(f"Connect it: python -m orchestrator app connect URL --parameters {app.file}")
    steps.append(f"Install it: {app.install_url}")
    for number, step in enumerate(steps, 1):
        say(f"  {number}. {step}")


@commands.command()
def connect(
    url: Annotated[str, typer.Argument(help="The function's address with its key; - reads it from standard input.")],
    *,
    file: Annotated[
        Path, typer.Option("--parameters", metavar="FILE", help="The file that `app create` wrote.")
    ] = FILE,
) -> None:
    """Send the App's webhook to the function, after the deployment."""
    app = parameters.read(file)
    given = sys.stdin.readline().strip() if url == "-" else url
    target = plain_url("URL", given, query=True)
    if "code=" not in target:
        note("The address holds no key (?code=…): the function itself refuses such deliveries with 401.")
    registration.connect(app, target)
    say("The App's webhook leads to the function, as JSON and signed with the secret.")
    say("Its deliveries stand in the App's settings under Advanced, from the first event after its installation on.")
