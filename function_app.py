"""The triggers, and nothing else: each takes a request, calls one use case and renders the answer."""

# ruff: noqa: E402 - see below
import gc
import logging

# Imports make no garbage to speak of. Looking for it is a twentieth of a cold start or more.
gc.disable()

import azure.functions as func

from orchestrator.application import Application
from orchestrator.delivery.answer import Answer

# The SDKs' own request logs would double every line of ours.
logging.getLogger("azure").setLevel(logging.WARNING)
# What no line says need not be looked up for each (Python's logging HOWTO, "Optimization").
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

app = func.FunctionApp()
application = Application.from_environment()
gc.freeze()  # what is there now stays
gc.enable()


@app.function_name("ProvideActionsRunner")
@app.route("ProvideActionsRunner", trigger_arg_name="request", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
async def provide_actions_runner(request: func.HttpRequest) -> func.HttpResponse:
    """Take a webhook delivery of GitHub's and start the runner that it asks for."""
    return _rendered(await application.receive(request.headers, request.get_body()))


@app.function_name("ClaimRunner")
@app.route("ClaimRunner", trigger_arg_name="request", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def claim_runner(request: func.HttpRequest) -> func.HttpResponse:
    """Hand a runner's registration to the container that has a claim to it."""
    return _rendered(await application.claim(request.headers, request.get_body()))


@app.function_name("RunnerRequests")
@app.queue_trigger(arg_name="message", queue_name="runner-requests", connection="AzureWebJobsStorage")
def runner_requests(message: func.QueueMessage) -> None:
    """Try again what GitHub or Batch could not serve at once."""
    application.retry(message.get_body())


@app.function_name("Reconcile")
@app.timer_trigger(arg_name="timer", schedule=application.schedule)
def reconcile(timer: func.TimerRequest) -> None:  # noqa: ARG001 - it asks for nothing
    """Find and mend what deliveries and the queue have missed."""
    application.reconcile()


@app.function_name("ReviveRequests")
@app.route("ReviveRequests", trigger_arg_name="request", methods=["POST"], auth_level=func.AuthLevel.ADMIN)
async def revive_requests(request: func.HttpRequest) -> func.HttpResponse:
    """Put every request that was given up back into the queue: for an operator, after an outage."""
    return _rendered(await application.revive(request.headers))


@app.function_name("Explain")
@app.route("explain", trigger_arg_name="request", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def explain(request: func.HttpRequest) -> func.HttpResponse:
    """Tell an operator why a job waits."""
    return _rendered(await application.explain(request.headers, request.params.get("job", "")))


@app.function_name("Health")
@app.route("health", trigger_arg_name="request", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def health(request: func.HttpRequest) -> func.HttpResponse:
    """Tell an operator, or a monitor, what is wrong with the set-up."""
    return _rendered(await application.health(request.headers, full=bool(request.params.get("full"))))


@app.function_name("Status")
@app.route("status", trigger_arg_name="request", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def status(request: func.HttpRequest) -> func.HttpResponse:
    """Show an operator how things are."""
    return _rendered(await application.status(request.headers, request.params))


if application.boosts_pools:

    @app.function_name("TendPools")
    @app.timer_trigger(arg_name="timer", schedule="30 * * * * *")
    def tend_pools(timer: func.TimerRequest) -> None:  # noqa: ARG001 - late or not, it looks at what there is
        """Go on with what a boost began: autoscale is switched on again as soon as the pool is steady."""
        application.tend_pools()


def _rendered(answer: Answer) -> func.HttpResponse:
    return func.HttpResponse(answer.text, headers=answer.headers, status_code=answer.status, mimetype=answer.media_type)
