"""`make bench`: what takes seconds each; `make bench-scale` has the rest.

Every figure stands beside a floor measured in the same run, because machines differ and so do days.
"""

from tests.benchmarks import asking, batch_pass, cancelling, claims, cold_start, package, runtime, upstream, use_case
from tests.benchmarks.table import show

show("One delivery through the use case", use_case.rows())
show("One delivery through the Functions runtime, over HTTP", runtime.rows())
show("A fresh process up to its first answer", cold_start.rows())
show("The code package in a fresh process, all imports from it alone", package.rows())
show("Calls to GitHub and Azure Batch for one queued job", upstream.rows())
show("A matrix is cancelled", cancelling.rows())
show("Containers that start at once", claims.rows())
show("A pass at scale", batch_pass.rows())
show("What passes ask GitHub, and how soon a lost job is found", asking.rows())
