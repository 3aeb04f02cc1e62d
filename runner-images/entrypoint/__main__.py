"""Entrypoint of the runner images, Linux and Windows: one runner, one job, and a last line that says why it ended."""

import os
import signal
import sys
from typing import MutableMapping

from contract import BROKEN, Ended, introduction, job_environment, read_secret, read_settings, say
from lifecycle import Runner, StopRequest
from systems import Linux, Windows


def main(environment: MutableMapping[str, str], system: Linux) -> int:
    """Run one runner; return the exit code, after a last line that says why.

    Args:
        environment: this process's own; what a job may not see is deleted from it.
        system: Linux or Windows.
    """
    stop = StopRequest()
    for number in system.signals:
        signal.signal(number, stop)
    system.outlast_end()
    try:
        given = dict(environment)
        settings = read_settings(given, system.home)
        say(introduction(given, settings.name))
        secret = read_secret(given)
        allowed = job_environment(environment, secret.value)
        for name in set(environment) - set(allowed):
            del environment[name]
        system.become(settings, environment)
        if secret.claim:
            from claim import redeem  # noqa: PLC0415 - what speaks TLS takes long to load

            given.update(redeem(secret.value, settings, stop))
            settings, secret = read_settings(given, system.home)._replace(expires_at=None), read_secret(given)
        given.clear()
        Runner(settings, secret, environment, system, stop).run()
    except Ended as ended:
        code, reason = ended.code, str(ended)
    except Exception as error:  # noqa: BLE001 - whatever it is, the last line says that it was
        code, reason = BROKEN, f"this entrypoint broke: {type(error).__name__}"
    say(f"exit code {code}: {reason}")
    return code


if __name__ == "__main__":
    sys.exit(main(os.environ, Windows() if os.name == "nt" else Linux()))
