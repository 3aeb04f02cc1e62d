"""The language of autoscale formulas.

"The page" is "Create an automatic formula for scaling compute nodes in a Batch pool",
https://learn.microsoft.com/azure/batch/batch-automatic-scaling.
"""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arm.autoscale.formula import MAX_CHARACTERS, MAX_STATEMENTS, Decision, Formula, Situation
from arm.autoscale.values import FormulaError, Samples

NOW = datetime(2024, 1, 8, 13, 5, 7, tzinfo=UTC).timestamp()  # a Monday
KEEP = "$NodeDeallocationOption = taskcompletion;"


def samples(*values: float, last: float = 30) -> Samples:
    """Return samples 30 seconds apart, the last one `last` seconds old."""
    return Samples([NOW - last - 30 * (len(values) - 1 - number) for number in range(len(values))], list(values))


def situation(pending: Samples | None = None) -> Situation:
    """Return a situation at `NOW`."""
    return Situation(NOW, {"$PendingTasks": pending or Samples()}, 4, 2, 1, 3, 5)


def value(expression: str, pending: Samples | None = None, before: str = "") -> int:
    """Return an expression's value as a target: cut to a whole number."""
    decision = Formula(f"{before} $TargetDedicatedNodes = {expression};").evaluate(situation(pending))
    assert decision.dedicated is not None
    return decision.dedicated


def error(formula: str, pending: Samples | None = None) -> FormulaError:
    """Return the error of a formula that is wrong, or whose evaluation fails."""
    with pytest.raises(FormulaError) as caught:
        Formula(formula).evaluate(situation(pending))
    return caught.value


class TestTargets:
    """What an evaluation returns."""

    def test_what_is_not_set_stays(self) -> None:
        """A formula may set one target, both or none; the page's default of the deallocation option is `requeue`."""
        assert Formula("$TargetDedicatedNodes = 2; x = 7;").evaluate(situation()) == Decision(2, None, "requeue")
        assert Formula("$TargetLowPriorityNodes = 2;" + KEEP).evaluate(situation()) == Decision(
            None, 2, "taskcompletion"
        )

    def test_targets_are_cut(self) -> None:
        """2.9 nodes are 2, and 0.5 are none (Azure/Batch issue 151, azure-docs issue 95350)."""
        assert value("2.9") == 2
        assert value("0.5") == 0

    def test_the_last_assignment_counts(self) -> None:
        """Statements run from the first to the last."""
        assert value("x", before="x = 1; x = x + 1;") == 2

    def test_what_the_pool_has_can_be_read(self) -> None:
        """The page's variables for nodes, targets and slots are numbers; a target reads as it was assigned."""
        assert value("$TaskSlotsPerNode") == 4
        assert value("$CurrentDedicatedNodes * 10 + $CurrentLowPriorityNodes") == 21
        assert value("$TargetDedicatedNodes * 10 + $TargetLowPriorityNodes") == 35
        assert value("$TargetLowPriorityNodes", before="$TargetLowPriorityNodes = 9;") == 9

    @pytest.mark.parametrize("wrong", ["0 - 2", "time()", "TimeInterval_Hour", "$PendingTasks"])
    def test_no_number_of_nodes(self, wrong: str) -> None:
        """A target that is negative or no number fails the evaluation."""
        assert error(f"$TargetDedicatedNodes = {wrong};").line == 1

    def test_no_deallocation_option(self) -> None:
        """The option is one of the page's four words."""
        assert error("$NodeDeallocationOption = 1;").line == 1
        assert error("$NodeDeallocationOption = later;").line == 1


class TestOperators:
    """The page's table of operations."""

    @settings(max_examples=30)
    @given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=4))
    def test_products_before_sums(self, terms: list[list[int]]) -> None:
        """Multiplication binds tighter than addition, whatever stands around it."""
        text = " + ".join(" * ".join(map(str, factors)) for factors in terms)
        assert value(text) == sum(math.prod(factors) for factors in terms)

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("10 - 4 - 3", 3),
            ("24 / 4 / 2", 3),
            ("7 / 2 * 2", 7),
            ("-2 + 5", 3),
            ("(2 + 3) * 4", 20),
            ("1 + 2 == 3", 1),
            ("1 + 1 >= 3", 0),
            ("2 != 2", 0),
            ("!0", 1),
            ("!3", 0),
            ("5 && 0.1", 1),
            ("0 || 0", 0),
            ("1 || 0 && 0", 1),
            ("2 > 1 && 1 > 2", 0),
            ("0.5 ? 7 : 8", 7),
            ("0 ? 7 : 0 ? 8 : 9", 9),
            ("1 < 2 ? 3 : 4", 3),
        ],
    )
    def test_doubles(self, expression: str, expected: int) -> None:
        """Operators on doubles; a condition is true if it is not zero, and comparisons give 1 or 0."""
        assert value(expression) == expected

    @pytest.mark.parametrize(
        "condition",
        [
            "2 * TimeInterval_Minute == TimeInterval_Second * 120",
            "TimeInterval_Hour / 2 == 30 * TimeInterval_Minute",
            "TimeInterval_Day + TimeInterval_Hour == 25 * TimeInterval_Hour",
            "-TimeInterval_Hour < TimeInterval_Zero",
            "TimeInterval_Week - TimeInterval_Day > 5 * TimeInterval_Day",
            "time() + TimeInterval_Hour - time() == TimeInterval_Hour",
            "TimeInterval_Hour + time() > time()",
        ],
    )
    def test_times(self, condition: str) -> None:
        """Operators on timestamps and intervals."""
        assert value(condition) == 1

    @pytest.mark.parametrize(
        "expression",
        ["time() * 2", "1 + TimeInterval_Hour", "time() - TimeInterval_Hour", "!time()", "-time()", "1 && time()",
         "TimeInterval_Hour < 1", "time() ? 1 : 0", "TimeInterval_Hour / 0", "1 / 0", "$PendingTasks > 1",
         "$PendingTasks.GetSample(2) + 1"],
    )  # fmt: skip
    def test_what_is_not_defined(self, expression: str) -> None:
        """Other types have no such operator here; the error names the line."""
        assert error(f"\n\n$TargetDedicatedNodes = {expression};", samples(1, 2)).line == 3

    def test_only_what_is_chosen_is_evaluated(self) -> None:
        """A condition guards `GetSample`, which would fail the evaluation (Azure/batch-shipyard issue 138)."""
        assert value("0 ? max($PendingTasks.GetSample(1)) : 4") == 4
        assert value("0 && 1 / 0") == 0
        assert value("1 || 1 / 0") == 1


class TestFunctions:
    """The functions that are supported."""

    def test_lists_are_put_together(self) -> None:
        """The page: `avg(v, 7)` of `v = [1,2,3]` is `avg(1,2,3,7)`."""
        v = "v = $PendingTasks.GetSample(3);"
        one_to_three = samples(9, 1, 2, 3)
        assert value("avg(v, 6)", one_to_three, v) == 3
        assert value("max(v, 7, 2)", one_to_three, v) == 7
        assert value("min(5, v)", one_to_three, v) == 1
        assert value("sum(v, v)", one_to_three, v) == 12
        assert value("len(v, 1)", one_to_three, v) == 4

    def test_no_values(self) -> None:
        """There is no largest of no values."""
        assert error("x = max();").line == 1
        assert value("len()") == 0

    def test_time(self) -> None:
        """`time()` is now, in UTC; Monday is 1 (the page) and Sunday 0 (assumed)."""
        assert value("time().hour * 10000 + time().minute * 100 + time().second") == 130507
        assert value("time().year * 10000 + time().month * 100 + time().day") == 20240108
        assert value("time().weekday") == 1
        assert value("t.weekday", before="t = time() + 6 * TimeInterval_Day;") == 0


class TestSamples:
    """The page's section "Obtain sample data"."""

    def test_the_last_ones(self) -> None:
        """`GetSample(count)` returns the last samples, or fewer if there are fewer."""
        assert value("sum($PendingTasks.GetSample(2))", samples(1, 2, 4)) == 6
        assert value("len($PendingTasks.GetSample(9))", samples(1, 2, 4)) == 3
        assert "no sample" in str(error("x = $PendingTasks.GetSample(1);"))

    def test_the_page_s_example(self) -> None:
        """Ten minutes are 20 samples; 18 of them are 90 percent, enough for 80 and not for 95."""
        pending = samples(*[1] * 18, last=60)
        assert value("len($PendingTasks.GetSample(TimeInterval_Minute * 10, 80))", pending) == 18
        assert value("$PendingTasks.GetSamplePercent(TimeInterval_Minute * 10)", pending) == 90
        assert "received 90%" in str(error("x = $PendingTasks.GetSample(TimeInterval_Minute * 10, 95);", pending))

    def test_seventy_percent_unless_told(self) -> None:
        """Without a percentage 70 are wanted: the service's message (Azure/batch-shipyard issue 138)."""
        assert value("len($PendingTasks.GetSample(TimeInterval_Minute * 5))", samples(*[1] * 7)) == 7
        message = str(error("x =\n $PendingTasks.GetSample(TimeInterval_Minute * 5);", samples(*[1] * 6)))
        assert message == "line 2: wanted 70% of the samples, received 60%"

    def test_a_frame_in_the_past(self) -> None:
        """Two times, intervals before now or timestamps, in any order, bound a frame on both sides."""
        pending = samples(1, 2, 3, 4, 5, 6)  # the last one is half a minute old
        expected = 2 + 3
        assert (
            value("sum($PendingTasks.GetSample(151 * TimeInterval_Second, 91 * TimeInterval_Second))", pending)
            == expected
        )
        assert (
            value("sum($PendingTasks.GetSample(91 * TimeInterval_Second, 151 * TimeInterval_Second, 1))", pending)
            == expected
        )
        assert value("$PendingTasks.GetSamplePercent(2 * TimeInterval_Minute, TimeInterval_Minute)", pending) == 100
        assert value("$PendingTasks.GetSamplePercent(time(), time() + -TimeInterval_Minute)", pending) == 50

    @settings(max_examples=50)
    @given(st.lists(st.booleans(), max_size=30), st.integers(1, 20), st.integers(1, 100))
    def test_a_check_foretells_the_failure(self, there: list[bool], minutes: int, wanted: int) -> None:
        """`GetSample` fails exactly where `GetSamplePercent` is below what it wants; so one can check first."""
        pending = Samples(
            [NOW - 30 * age for age, known in reversed(list(enumerate(there))) if known], [1.0] * sum(there)
        )
        frame = f"{minutes} * TimeInterval_Minute"
        guarded = (
            f"$PendingTasks.GetSamplePercent({frame}) < {wanted} ? 0 : len($PendingTasks.GetSample({frame}, {wanted}))"
        )
        received = min(100.0, 100 * sum(there[: 2 * minutes]) / (2 * minutes))
        assert value(guarded, pending) == (sum(there[: 2 * minutes]) if received >= wanted else 0)
        if received < wanted:
            assert "wanted" in str(error(f"x = $PendingTasks.GetSample({frame}, {wanted});", pending))

    @pytest.mark.parametrize(
        "call",
        ["GetSample()", "GetSample(0)", "GetSample(1, 2)", "GetSample(time(), time(), time())", "GetSamplePercent(1)",
         "GetSamplePercent()", "GetSamplePercent(TimeInterval_Zero)", "Count()", "hour"],
    )  # fmt: skip
    def test_what_is_not_supported(self, call: str) -> None:
        """Other arguments and methods are errors."""
        assert error(f"x = $PendingTasks.{call};", samples(1, 2)).line == 1

    def test_samples_are_a_metric_s(self) -> None:
        """Nothing but a metric has samples."""
        assert "a double" in str(error("x = $TaskSlotsPerNode.GetSample(1);"))


class TestForm:
    """What is a formula."""

    def test_comments_and_line_breaks(self) -> None:
        """Both are allowed anywhere, and the last semicolon may be missing."""
        assert value("1 /* one\n*/ + // and\n 2", before="// first\n") == 3
        assert Formula("$TargetDedicatedNodes = 1").evaluate(situation()).dedicated == 1

    @pytest.mark.parametrize(
        ("formula", "line", "what"),
        [
            ("x = 1;\ny = x § 2;", 2, "'§'"),
            ("x = \u00a01;", 1, "not part"),
            ("x = 1;\n\nx + 1;", 3, "expected ="),
            ("x = (1;", 1, "expected )"),
            ("x = max(1,);", 1, "expected a name"),
            ("x = 1 ? 2;", 1, "expected :"),
            ("x = 1 y = 2;", 1, "expected ;"),
            ("x = ", 1, "the end"),
            ("x = y;", 1, "y is not known"),
            ("x = $CPUPercent.GetSample(1);", 1, "$CPUPercent is not known"),
            ("x = median(1);", 1, "median"),
            ("x = time(1);", 1, "time"),
            ("x = time().era;", 1, "era"),
            ("x = 1;\nx = x.hour;", 2, "timestamps"),
            ("$PendingTasks = 1;", 1, "only be read"),
            ('x = "1";', 1, "not part"),
        ],
    )  # fmt: skip
    def test_errors_name_the_line(self, formula: str, line: int, what: str) -> None:
        """What is wrong or not supported is told with its line."""
        found = error(formula)
        assert found.line == line
        assert what in str(found)

    def test_limits(self) -> None:
        """The page: at most 8 KB and 100 statements."""
        Formula("x = 1;" * MAX_STATEMENTS)
        assert "100 statements" in str(error("x = 1;" * (MAX_STATEMENTS + 1)))
        assert "8192 characters" in str(error("//" + "x" * (MAX_CHARACTERS - 1)))
