"""Holds the template and its form against `policy.json`: `python -m arm.policy`, or with `-` a template on stdin.

Every resource is looked at as it would be sent to Azure, for sets of parameters in which every two choices meet. The
rules, with where each comes from, are data; this file has only the ways of looking.
"""

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arm.expressions import FUNCTIONS, GROUP, Function, Json, Later, Refused, evaluated, resources, text

HERE = Path(__file__).parent
POLICY: dict[str, Any] = json.loads((HERE / "policy.json").read_text(encoding="utf-8"))
_ELEMENTS_WITHOUT_VALUE = {"Microsoft.Common.Section", "Microsoft.Solutions.ArmApiControl"}


def pairwise(factors: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Return choices of one value of each factor, few of them, in which every two values of two factors meet."""
    open_pairs = {
        (one, first, other, second)
        for one, other in itertools.combinations(factors, 2)
        for first in range(len(factors[one]))
        for second in range(len(factors[other]))
    }
    while open_pairs:
        one, first, other, second = min(open_pairs)
        chosen = {one: first, other: second}
        for name in factors:
            if name not in chosen:
                news = [len(open_pairs & set(_meetings(chosen | {name: value}))) for value in range(len(factors[name]))]
                chosen[name] = news.index(max(news))
        open_pairs -= set(_meetings(chosen))
        yield {name: factors[name][value] for name, value in chosen.items()}


def _meetings(chosen: Mapping[str, int]) -> Iterator[tuple[str, int, str, int]]:
    for one, other in itertools.permutations(chosen, 2):
        yield one, chosen[one], other, chosen[other]


def parameter_sets(template: dict[str, Json]) -> Iterator[dict[str, Json]]:
    """Return sets of parameters to look at a template with; of those it does not have, none."""
    for chosen in pairwise(POLICY["sets"]):
        given = POLICY["base"] | {name: value for part in chosen.values() for name, value in part.items()}
        yield {name: value for name, value in given.items() if name in template["parameters"]}


def at(value: Json, path: str) -> Iterator[Json]:
    """Return what is at a path, None where nothing is; `*` stands for every item of a list."""
    key, _, rest = path.partition(".")
    if not path or isinstance(value, Later):
        yield value
    elif key == "*":
        for item in value or ():
            yield from at(item, rest)
    else:
        yield from at(value.get(key) if isinstance(value, dict) else None, rest)


def _breaks(rule: Mapping[str, Any], found: Json) -> str:
    """Return how a value breaks a rule, or nothing."""
    if isinstance(found, Later):
        return "" if "present" in rule or "later" in rule else f"is what only Azure knows, {found}"
    if "only" in rule or "without" in rule:
        names = set(found or ())
        return ", ".join(sorted(names - set(rule["only"]) if "only" in rule else names & set(rule["without"])))
    if "absent" in rule:
        return "is there" if found is not None else ""
    if "present" in rule:
        return "is missing" if found is None else ""
    kept = re.search(rule["matches"], str(found)) if "matches" in rule else found == rule["is"]
    return "" if kept else f"is {json.dumps(found)}"


def _holds(rule: Mapping[str, Any], given: Mapping[str, Json]) -> bool:
    named = {name: given.get(name) for name in (*rule.get("when", ()), *rule.get("unless", ()))}
    if "when" in rule:
        return named == dict(rule["when"])
    return "unless" not in rule or named != dict(rule["unless"])


def body_findings(template: dict[str, Json], given: Mapping[str, Json]) -> Iterator[str]:
    """Return how what is deployed with these parameters breaks the rules."""
    deployed = list(resources(template, given))
    for rule in filter(lambda rule: _holds(rule, given), POLICY["rules"]):
        kinds = {kind.lower() for kind in rule["types"]}
        for resource in (each for each in deployed if each["type"].lower() in kinds):
            for found in _looked_at(rule, resource):
                if broken := _breaks(rule, found):
                    yield f"{rule['name']}: {resource['type']}: {rule['path']}: {broken}. {rule['why']}"
    tagged = next(rule["types"] for rule in POLICY["rules"] if rule["name"] == "tags")
    for kind in {resource["type"] for resource in deployed} - {*tagged, *POLICY["untagged"]["types"]}:
        yield f"untagged: {kind}: is neither among the types that take tags nor among those that take none."
    yield from _spread(template, given, deployed)


def _looked_at(rule: Mapping[str, Any], resource: Json) -> Iterator[Json]:
    """Return what a rule looks at: at its path, or at that path within those items of a list that it is about."""
    for item in at(resource, rule.get("each", "")):
        if all(isinstance(item, dict) and item.get(name) == value for name, value in rule.get("where", {}).items()):
            yield from at(item, rule["path"])


def _spread(template: dict[str, Json], given: Mapping[str, Json], deployed: list[Json]) -> Iterator[str]:
    """Return the resources, beside the vault's secrets, that hold the value of a secret parameter."""
    secrets = {
        name
        for name, value in given.items()
        if value and template["parameters"].get(name, {}).get("type", "").lower() == "securestring"
    }
    for resource in deployed:
        if resource["type"] != "Microsoft.KeyVault/vaults/secrets":
            held = json.dumps({key: value for key, value in resource.items() if key != "dependsOn"})
            for name in sorted(name for name in secrets if json.dumps(given[name])[1:-1] in held):
                yield f"secure: {resource['type']} holds {name}. {POLICY['secure']['why']}"


def _reaches(template: dict[str, Json], value: Json) -> set[str]:
    """Return the parameters that a value is made of, by way of variables too."""
    variables = template.get("variables", {})
    loops = {loop["name"]: loop for loop in variables.get("copy", ())}
    written, names, seen = json.dumps(value), set[str](), set[str]()
    while True:
        names |= set(re.findall(r"parameters\('(\w+)'\)", written))
        unseen = set(re.findall(r"variables\('(\w+)'\)", written)) - seen
        if not unseen:
            return names
        seen |= unseen
        written = json.dumps([variables.get(name, loops.get(name)) for name in sorted(unseen)])


def _readable(template: dict[str, Json], resource: dict[str, Json], secure: set[str]) -> Iterator[str]:
    """Return how a resource makes readable what may be a secret."""
    if resource["type"] == "Microsoft.Web/sites/config":
        for name in sorted(_reaches(template, resource["properties"]) - secure):
            if template["parameters"][name]["type"] == "object":
                yield f"the plain object {name} becomes app settings"
    elif resource["type"] == "Microsoft.Resources/deployments":
        if resource["properties"].get("expressionEvaluationOptions", {}).get("scope", "").lower() != "inner":
            yield "a nested deployment is not evaluated in a scope of its own, so that its text shows what it is given"
        inner = resource["properties"]["template"].get("parameters", {})
        for name, given in resource["properties"].get("parameters", {}).items():
            if _reaches(template, given) & secure and not inner[name]["type"].lower().startswith("secure"):
                yield f"the nested parameter {name} is plain and is given a secret"


def secure_findings(template: dict[str, Json]) -> Iterator[str]:
    """Return the parameters that may hold a secret and are not secure, and where a secure one becomes readable."""
    parameters, why = template["parameters"], POLICY["secure"]["why"]
    secure = {name for name, parameter in parameters.items() if parameter["type"].lower().startswith("secure")}
    for name in parameters.keys() - secure:
        if re.search(POLICY["secure"]["names"], name):
            yield f"secure: parameter {name} is a plain {parameters[name]['type']}. {why}"
    for resource in template["resources"]:
        for found in _readable(template, resource, secure):
            yield f"secure: {found}. {why}"
    for read in sorted(set(re.findall(r"\blist[A-Z]\w*(?=\()", json.dumps(template)))):
        yield f"secure: {read} reads a key. {why}"
    if told := _reaches(template, template.get("outputs", {})) & secure:
        yield f"secure: outputs tell {', '.join(sorted(told))}. {why}"


def _form_functions(values: Mapping[str, Json]) -> dict[str, Function]:
    return {
        **FUNCTIONS,
        "basics": lambda name: values["basics"][name],
        "steps": lambda name: values["steps"][name],
        "location": lambda: "westeurope",
        "parse": json.loads,
    }


def controls(form: dict[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Return every control of the form that has a value, with its path: `pools.ubuntu.create`."""

    def within(elements: list[dict[str, Json]], path: str) -> Iterator[tuple[str, dict[str, Json]]]:
        for element in elements:
            name = f"{path}.{element['name']}"
            if "elements" in element:
                yield from within(element["elements"], name)
            elif element["type"] not in _ELEMENTS_WITHOUT_VALUE:
                yield name, element

    yield from within(form["parameters"]["basics"], "basics")
    for step in form["parameters"]["steps"]:
        yield from within(step["elements"], step["name"])


def filled(form: dict[str, Json], entered: Mapping[str, Json]) -> tuple[dict[str, Json], set[str]]:
    """Return what the form gives the template, and the controls that are hidden, which have no value.

    Args:
        form: `createUiDefinition.json`.
        entered: by the control's path; a control that is not named keeps its default.
    """
    values: dict[str, Any] = {"basics": {}, "steps": {step["name"]: {} for step in form["parameters"]["steps"]}}
    hidden = set()
    for path, control in controls(form):
        first, *sections, name = path.split(".")
        place = values["basics"] if first == "basics" else values["steps"][first]
        for section in sections:
            place = place.setdefault(section, {})
        allowed = control.get("constraints", {}).get("allowedValues", ())
        choices = {choice["label"]: choice["value"] for choice in allowed}
        default = control.get("defaultValue")
        shown = evaluated(control.get("visible", True), _form_functions(values))
        place[name] = entered.get(path, choices.get(default, default)) if shown else None
        if not shown:
            hidden.add(path)
    return evaluated(form["parameters"]["outputs"], _form_functions(values)), hidden


def choices_of(form: dict[str, Json]) -> dict[str, list[Json]]:
    """Return the controls that offer a choice, with what can be chosen."""
    found: dict[str, list[Json]] = {}
    for path, control in controls(form):
        if control["type"] == "Microsoft.Common.CheckBox":
            found[path] = [True, False]
        elif "allowedValues" in control.get("constraints", {}):
            found[path] = [choice["value"] for choice in control["constraints"]["allowedValues"]]
    return found


# Another value of a parameter, by its type.
_OTHER: Mapping[type, Function] = {
    bool: lambda value: not value,
    int: lambda value: value + 1,
    str: lambda value: f"{value}x",
    list: lambda value: [*value, "192.0.2.0/24"],
    dict: lambda value: {**value, "other": "x"},
}


def typed(form: dict[str, Json]) -> dict[str, Json]:
    """Return an entry for each control that demands one and has no default, and those of `policy.json`."""
    found: dict[str, Json] = {}
    for path, control in controls(form):
        if control["type"] == "Microsoft.Solutions.ResourceSelector":
            found[path] = {"id": f"{GROUP}/providers/{control['resourceType']}/{control['name']}"}
        elif control.get("constraints", {}).get("required") and not control.get("defaultValue"):
            found[path] = control["name"]
    found.update(POLICY["form"]["typed"])
    return found


def _decides(template: dict[str, Json], given: Mapping[str, Json], parameter: str, deployed: list[Json]) -> bool:
    """Whether another value of the parameter would deploy something else."""
    other = {**given, parameter: _OTHER[type(given[parameter])](given[parameter])}
    try:
        return list(resources(template, other)) != deployed
    except ValueError:
        return True


def form_findings(form: dict[str, Json], template: dict[str, Json]) -> Iterator[str]:
    """Return the controls that are off the screen while their parameter still decides what is deployed."""
    outputs = form["parameters"]["outputs"]
    for chosen in pairwise(choices_of(form)):
        given, hidden = filled(form, {**typed(form), **chosen})
        given = {name: value for name, value in given.items() if name in template["parameters"]}
        try:
            deployed = list(resources(template, given))
        except Refused as refusal:
            yield f"form: the template refuses {json.dumps(chosen)}: {refusal}"
            continue
        for path in sorted(hidden):
            name = path.rpartition(".")[2]
            if name in POLICY["form"]["hidden"]:
                continue
            section = path.replace(".", "').", 1)
            for parameter in (each for each in given if re.search(rf"{re.escape(section)}\b", text(outputs[each]))):
                if _decides(template, given, parameter, deployed):
                    yield f"form: {path} is hidden, but {parameter} decides something. {POLICY['form']['why']}"


def findings(template: dict[str, Json], form: dict[str, Json] | None = None) -> list[str]:
    """Return everything that breaks a rule, each once."""
    found = list(secure_findings(template))
    for given in parameter_sets(template):
        try:
            found += body_findings(template, given)
        except Refused as refusal:
            found.append(f"refused: {json.dumps(given)}: {refusal}")
    if form is not None:
        found += form_findings(form, template)
    return sorted(set(found))


def main() -> int:
    """Check; return the exit code."""
    parser = argparse.ArgumentParser(description="hold the template and its form against policy.json")
    parser.add_argument("template", nargs="?", type=Path, default=HERE / "azuredeploy.json", help="- for stdin")
    parser.add_argument("--form", type=Path, help="createUiDefinition.json; beside the project's own template its own")
    options = parser.parse_args()
    own = options.template == HERE / "azuredeploy.json"
    source = sys.stdin.read() if str(options.template) == "-" else options.template.read_text(encoding="utf-8")
    form = options.form or (HERE / "createUiDefinition.json" if own else None)
    found = findings(json.loads(source), json.loads(form.read_text(encoding="utf-8")) if form else None)
    print("\n".join(found) or "The template keeps every rule of policy.json.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
