"""A GitHub stand-in: REST API, webhooks, and the service that hands jobs to runners."""

from sandbox.github.service import GitHub

__all__ = ("GitHub",)
