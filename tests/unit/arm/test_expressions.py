"""The template language, as far as it is evaluated here."""

from typing import Any

import pytest

from arm.expressions import FUNCTIONS, Later, Refused, evaluated, parsed, resources


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[concat('it''s ', string(5))]", "it's 5"),
        ("[if(empty(''), 'then', variables('nowhere'))]", "then"),
        ("[createObject('a', createArray(1, 2)).a[1]]", 2),
        (
            "[union(createObject('a', createObject('b', 1)), createObject('a', createObject('c', 2)))]",
            {"a": {"b": 1, "c": 2}},
        ),
        ("[coalesce(null(), 'x')]", "x"),
        ("[string(createObject('a', true()))]", '{"a":true}'),
        ("[resourceId('Microsoft.A/b/c', 'one', 'two')]",
         "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/runners/providers/Microsoft.A/b/one/c/two"),
        ("[cidrSubnet('10.0.0.0/22', 26, 5)]", "10.0.1.64/26"),
        ("[[not an expression]", "[[not an expression]"),
        ("[contains(createObject('Key', 1), 'key')]", True),
    ],
)  # fmt: skip
def test_values(expression: str, value: Any) -> None:
    """An expression has the value that Azure gives it; of an `if` only the branch that is taken counts."""
    assert evaluated(expression, FUNCTIONS) == value


def test_what_only_azure_knows() -> None:
    """A reference and what is taken of it becomes a text that says what it is."""
    value = evaluated("[reference('id', '2025-01-01').properties.name]", FUNCTIONS)
    assert isinstance(value, Later)
    assert value == "reference(id, 2025-01-01).properties.name"


@pytest.mark.parametrize("expression", ["[createObject('a', 1).b]", "[createArray(1)[1]]"])
def test_what_is_not_there_is_refused(expression: str) -> None:
    """A property or element that is not there stops a deployment."""
    with pytest.raises(Refused):
        evaluated(expression, FUNCTIONS)


def test_no_expression() -> None:
    """A text that is no expression is told as such."""
    with pytest.raises(ValueError, match="not an expression"):
        parsed("a ? b")


def test_loops_conditions_and_nested_deployments() -> None:
    """Loops give one resource each, conditions leave some out, and a nested deployment's are there with its values."""
    inner = {
        "parameters": {"who": {"type": "string"}},
        "resources": [{"type": "A/b", "name": "[parameters('who')]"}],
    }
    template = {
        "parameters": {"all": {"type": "bool", "defaultValue": False}},
        "variables": {"copy": [{"name": "names", "count": 2, "input": "[concat('n', string(copyIndex('names')))]"}]},
        "resources": [
            {"type": "A/a", "name": "[variables('names')[copyIndex()]]", "copy": {"name": "loop", "count": 2}},
            {"type": "A/c", "name": "c", "condition": "[parameters('all')]"},
            {
                "type": "Microsoft.Resources/deployments",
                "name": "nested",
                "properties": {"parameters": {"who": {"value": "[variables('names')[1]]"}}, "template": inner},
            },
        ],
    }
    assert [each["name"] for each in resources(template, {})] == ["n0", "n1", "nested", "n1"]
    assert "c" in [each["name"] for each in resources(template, {"all": True})]
