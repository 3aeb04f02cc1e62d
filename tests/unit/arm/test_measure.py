"""The figures in docs/autoscale.md are those that the simulation gives, of these formulas and the template's pools."""

import json
from dataclasses import asdict
from xml.etree import ElementTree as ET

import pytest

from arm.autoscale import measure
from arm.autoscale.measure import DATA, DOCS, PICTURE, Section, fingerprint, percentile, sections, template_defaults
from arm.autoscale.picture import drawing
from arm.autoscale.report import BEGIN, END, means, tables, with_tables

MEASURED = json.loads(DATA.read_text(encoding="utf-8"))
FORMULAS = measure.read_formulas()


class TestKept:
    """What is kept in measured.json. `make autoscale` puts right what is told here."""

    def test_the_pools(self) -> None:
        """The figures are of the pools that the template makes now, and of those beside them."""
        kept = [{name: section[name] for name in asdict(sections()[0])} for section in MEASURED["sections"]]
        assert kept == [asdict(section) for section in sections()]

    def test_the_formulas(self) -> None:
        """The figures are those of the formulas as they are now."""
        assert MEASURED["formulas"] == {name: fingerprint(text) for name, text in FORMULAS.items()}

    @pytest.mark.parametrize("number", [0, 1])
    def test_the_simulation(self, number: int) -> None:
        """Simulated anew, a trace of the template's pools gives the same figures."""
        kept = MEASURED["sections"][number]
        anew = measure.measure(
            sections()[number], FORMULAS, kept["seeds"], lambda runs: map(measure.run, runs), ["matrix_64"]
        )
        assert anew["traces"]["matrix_64"] == kept["traces"]["matrix_64"]

    def test_the_day(self) -> None:
        """Simulated anew, the day in the picture is the same."""
        assert json.loads(json.dumps(measure.day(FORMULAS))) == MEASURED["day"]

    def test_the_docs(self) -> None:
        """Tables and picture are those that the figures make."""
        page = DOCS.read_text(encoding="utf-8")
        assert page == with_tables(page, MEASURED["sections"])
        assert page.count(BEGIN) == page.count(END) == 1
        assert f"({PICTURE.name})" in page
        assert PICTURE.read_text(encoding="utf-8") == drawing(MEASURED["day"])


class TestMeasuring:
    """How figures are made."""

    def test_the_template_s_pools_come_first(self) -> None:
        """The tables begin with the pools that the template makes."""
        first = [(section.system, section.slots, section.max_nodes) for section in sections() if section.defaults]
        assert first == [
            (system, defaults["slots"], defaults["maxNodes"])
            for system, defaults in (("linux", template_defaults("linux")), ("windows", template_defaults("windows")))
        ]

    def test_quick(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A quick measurement simulates little, in several processes, and prints the full tables."""
        measured = measure.measure_all(FORMULAS, quick=True, names=["matrix_64"])
        assert [section["full"] for section in measured["sections"]] == [True] * 3
        assert tables(measured["sections"]) == capsys.readouterr().out.strip()

    def test_the_same_formula_twice(self) -> None:
        """A formula beside itself is neither better nor worse."""
        both = dict.fromkeys(FORMULAS, FORMULAS["original"])
        section = measure.measure(
            Section("linux", 5, 16), both, [1], lambda runs: map(measure.run, runs), ["matrix_64"]
        )
        assert means(section["traces"]) == (1, 1)
        assert section["draws"] == {"p95": [1, 1], "node_hours": [1, 1]}
        assert section["used"]["original"] == section["used"]["ours"]

    def test_a_formula_of_ones_own(self) -> None:
        """It takes the place of the formulas here, and not of the original one."""
        read = measure.read_formulas(measure.HERE / "linux.txt")
        assert read == {"original": FORMULAS["original"], "linux": FORMULAS["linux"], "windows": FORMULAS["linux"]}

    def test_only_full_figures_are_kept(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Rough figures, or those of another formula, do not get into the docs."""
        for arguments in (["--write", "--quick"], ["--redo", "--formula", "MINE.txt"]):
            with pytest.raises(SystemExit):
                measure.main(arguments)
            assert "only the full figures" in capsys.readouterr().err

    def test_comments_do_not_count(self) -> None:
        """A comment or a line break does not make the figures old; a number does."""
        assert fingerprint("x = 1; // one\n\ny = 2;") == fingerprint("x = 1;\ny = 2; // two")
        assert fingerprint("x = 1;") != fingerprint("x = 2;")

    @pytest.mark.parametrize(("percent", "expected"), [(50, 2), (51, 3), (95, 4), (100, 4), (0, 1)])
    def test_percentile(self, percent: float, expected: float) -> None:
        """The nearest rank: no value between two."""
        assert percentile([3, 1, 4, 2], percent) == expected


def test_the_picture() -> None:
    """The picture is XML, reaches to the highest value, and draws both formulas."""
    day = {
        "hours": [7, 8],
        "step_s": 1800,
        "original": {"nodes": [1, 2], "waiting": [70, 0]},
        "ours": {"nodes": [3, 3], "waiting": [0, 0]},
    }
    root = ET.fromstring(drawing(day))  # noqa: S314 - our own
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"The original formula", "The formula here", "80", "7", "8"} <= set(texts)
    assert drawing(day) == drawing(day)


def test_the_original_formula() -> None:
    """It says what it stands for, and asks for no more than four nodes."""
    assert "docs/autoscale.md" in FORMULAS["original"]
    assert FORMULAS["original"].isascii()
    assert "min(4, max(nodes, 0))" in FORMULAS["original"]
