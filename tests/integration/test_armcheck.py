"""The template as a checker of ARM templates evaluates it, where one is present."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKER = ROOT.parent / "shared" / "armcheck" / "armcheck.py"
NETWORK = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/providers/Microsoft.Network"
GALLERY = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.Compute/galleries/g"
ACTIONS = f"{NETWORK.removesuffix('Network')}Insights/actionGroups/operators"
EXISTING_NETWORK = [
    f"{name}SubnetId={NETWORK}/virtualNetworks/hub/subnets/{name}" for name in ("batch", "function", "endpoint")
]

COMPANY = [
    f"routeTableId={NETWORK}/routeTables/r",
    'dnsServers=["10.0.0.4"]',
    'operatorIpRanges=["198.51.100.0/24"]',
    'deploymentSiteRanges=["198.51.100.0/24"]',
    "functionPublicAccess=false",
    "httpsProxy=http://proxy.example.com:3128",
    "caCertificates=LS0tLS1CRUdJTg==",
    "secretsValidDays=90",
    'tags={"owner": "team"}',
]
CLAIMS = [*EXISTING_NETWORK, "runnerRegistration=claim", 'claimIpRanges=["203.0.113.0/28"]']
MORE = [
    {"name": "gpu", "vmSize": "Standard_NC4as_T4_v3", "spot": True, "profile": {"labels": ["gpu"], "image": "r:gpu"}},
    {"name": "big", "os": "windows", "vmSize": "Standard_D8s_v5", "profile": {"labels": ["big"], "image": "r:win"}},
]

pytestmark = pytest.mark.skipif(not CHECKER.exists(), reason="the checker is not here")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--ui", "arm/createUiDefinition.json", "--bools"], id="every combination of switches"),
        pytest.param([part for value in EXISTING_NETWORK for part in ("--set", value)], id="existing network"),
        pytest.param(["--set", f"windowsImageId={GALLERY}/images/i/versions/1.0.0"], id="Gallery image"),
        pytest.param(["--set", f"privateDnsZonesResourceGroupId={NETWORK.partition('/providers')[0]}"], id="own zones"),
        pytest.param([part for value in COMPANY for part in ("--set", value)], id="a company's network"),
        pytest.param(["--set", f"actionGroupId={ACTIONS}"], id="alerts"),
        pytest.param(["--set", "runnerRegistration=claim"], id="claims"),
        pytest.param([part for value in CLAIMS for part in ("--set", value)], id="claims in an existing network"),
        pytest.param(["--set", f"morePools={json.dumps(MORE)}", "--set", "poolsMode=create"], id="more pools"),
    ],
)
def test_the_template_is_clean(arguments: list[str]) -> None:
    """Types, references, private endpoints, roles, pools, formulas and the portal's form have no fault."""
    command = [
        sys.executable,
        str(CHECKER),
        "arm/azuredeploy.json",
        "-p",
        "arm/azuredeploy.parameters.json",
        "--strict",
    ]
    checked = subprocess.run(  # noqa: S603
        [*command, *arguments], cwd=ROOT, check=False, capture_output=True, text=True, timeout=120
    )
    assert checked.returncode == 0, checked.stdout
