"""`make bench-scale`: bursts of thousands of deliveries, hundreds of claims, passes over thousands of repositories."""

from tests.benchmarks import asking, bursts, claims
from tests.benchmarks.table import show

if __name__ == "__main__":
    show("Bursts", bursts.rows())
    show("Containers that start at once", claims.long_rows())
    show("What passes ask GitHub, and how soon a lost job is found", asking.long_rows())
