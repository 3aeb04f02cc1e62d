"""The lists of Batch, page by page, with an end."""

from collections.abc import Iterator

from azure.core.paging import ItemPaged

from orchestrator.errors import TransientError

# Pages of one list. Batch puts up to 1,000 entries on a page.
MOST_PAGES = 200


def entries[T](listed: ItemPaged[T], most_pages: int = MOST_PAGES) -> Iterator[T]:
    """Return the entries of a list, each page when it is needed.

    Args:
        listed: as the SDK returns it.
        most_pages: a list with more pages than this is an error: its last page leads back to another one.

    Raises:
        TransientError: The list has no end.
    """
    for number, page in enumerate(listed.by_page()):
        if number == most_pages:
            raise TransientError("Batch's list has no end")
        yield from page
