"""`make bench`: every figure stands beside a floor measured in the same run, because machines differ and so do days."""

from tests.benchmarks import cold_start, use_case
from tests.benchmarks.table import show

show("One delivery through the use case", use_case.rows())
show("A fresh process up to its first answer", cold_start.rows())
