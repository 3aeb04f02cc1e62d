"""`cost`: who pays for the runners of a month."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.pool_status import PoolStatus
from orchestrator.azure.task_model import RETENTION
from orchestrator.azure.task_runs import TaskRuns
from orchestrator.cli.cost import in_workspace
from orchestrator.cli.cost.picture import svg
from orchestrator.cli.cost.reckoning import By, Month, Pool, Use, reckon
from orchestrator.cli.cost.report import as_csv, document, text
from orchestrator.cli.options import AsJson, LocalSettings
from orchestrator.cli.output import ExitCode, note, say, say_json
from orchestrator.cli.settings_source import pool_prices, settings_for_batch
from orchestrator.clock import utc_now
from orchestrator.errors import SettingsError, UpstreamRefused

type Prices = Mapping[str, float]
# What was used, the pools of it, and what is not known.
type Known = tuple[Sequence[Use], Mapping[str, Pool], list[str]]


def cost(
    *,
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month, of UTC.")],
    by: Annotated[By, typer.Option(help="What the rows are.")] = By.REPOSITORY,
    settings: LocalSettings = None,
    workspace: Annotated[
        str | None,
        typer.Option(metavar="GUID", help="Ask this Log Analytics workspace, as `az` is logged in, and not Batch."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    picture: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw the bars into this file.")] = None,
) -> None:
    """Tell what the runners of a month cost, and whose they were.

    PoolPrices says what a node of each pool costs in an hour. Ends with 1 if there were no runners.

    Batch knows the tasks of the last seven days. With --workspace the log tells of longer, and of nodes without tasks.
    """
    if csv and as_json:
        raise SettingsError.of("--csv", "and --json exclude each other")
    prices = pool_prices(settings, os.environ)
    try:
        chosen = Month.of(month, utc_now())
    except ValueError as error:
        raise SettingsError.of("--month", str(error)) from None
    known = _of_batch(chosen, settings, prices) if workspace is None else _of_workspace(chosen, workspace, prices)
    uses, pools, notes = known
    bill = reckon(uses, chosen, by, pools)
    if as_json:
        say_json(document(bill, "batch" if workspace is None else "workspace", notes))
    else:
        say(as_csv(bill) if csv else text(bill) if bill.rows else f"There were no runners in {month}.")
        for sentence in notes:
            note(sentence)
    if picture is not None:
        _write(picture, svg(bill))
    raise typer.Exit(ExitCode.DONE if bill.rows else ExitCode.NO)


def _of_batch(month: Month, file: Path | None, prices: Prices) -> Known:
    """Return what Batch still knows."""
    oldest = utc_now() - RETENTION
    if month.end <= oldest:
        reason = "is longer ago than the seven days for which Batch keeps tasks: --workspace asks the log"
        raise SettingsError.of("--month", reason)
    found = settings_for_batch(file, os.environ)
    account = BatchAccount.of(found)
    tasks = TaskRuns(account).since(max(month.start, oldest))
    uses = _priced([use for use in map(Use.of, tasks) if use.is_in(month)], prices)
    status = PoolStatus(account)
    pools = {}
    for pool in {use.pool for use in uses}:
        size = status.size(pool)
        if size is None:
            reason = "so nobody says how many slots its nodes had: --workspace asks the log"
            raise UpstreamRefused(f"Batch has no pool {pool} any more, {reason}")
        pools[pool] = Pool(prices[pool], size.slots)
    notes = ["Nodes without tasks are not counted: Batch keeps no history of them. --workspace asks the log."]
    if month.start < oldest:
        since = f"{oldest:%Y-%m-%d %H:%M}"
        notes.append(f"Batch keeps tasks for seven days: those that ended before {since} UTC are missing.")
    return uses, pools, notes


def _of_workspace(month: Month, name: str, prices: Prices) -> Known:
    """Return what the log knows."""
    ask = in_workspace.workspace(name)
    found = in_workspace.uses(month, ask)
    uses = _priced([use for use in found if use.is_in(month)], prices)
    names = _names(prices)
    seen = {names.get(pool.lower(), pool): hours for pool, hours in in_workspace.pools(month, ask).items()}
    pools = {}
    for pool in sorted({use.pool for use in uses} | {pool for pool, hours in seen.items() if hours.node_hours}):
        _require_price(pool, prices)
        if pool not in seen or not seen[pool].slots:
            raise UpstreamRefused(f"the workspace has no line that tells how many slots a node of {pool} has")
        pools[pool] = Pool(prices[pool], *seen[pool])
    notes = []
    if not month.is_over:
        notes.append("Runners that run now are not counted: the log tells of a runner when it has ended.")
    for pool, one in pools.items():
        if one.hours_unseen >= 1:
            hours = f"{one.hours_unseen:.0f} of {month.hours:.0f} hours"
            notes.append(f"In {hours} no pass told of {pool}: its nodes without tasks are not counted then.")
    return uses, pools, notes


def _names(prices: Prices) -> Mapping[str, str]:
    """Return the pools of the setting by their ids in lower case: Batch tells ids apart without case."""
    return {name.lower(): name for name in prices}


def _priced(uses: Sequence[Use], prices: Prices) -> list[Use]:
    names = _names(prices)
    found = [replace(use, pool=names.get(use.pool.lower(), use.pool)) for use in uses]
    for use in found:
        _require_price(use.pool, prices)
    return found


def _require_price(pool: str, prices: Prices) -> None:
    if pool not in prices:
        raise SettingsError.of("PoolPrices", f"has no price for the pool {pool}")


def _write(file: Path, content: str) -> None:
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise SettingsError.of(str(file), f"cannot be written ({error.strerror})") from None
