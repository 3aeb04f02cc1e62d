"""What the images are made of, and what is written about them."""

import ast
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import contract
import fetch
import pins
import pytest
import vendors

from orchestrator.config.profiles import default_profiles
from orchestrator.config.runner_version import MINIMUM, PINNED
from orchestrator.config.settings import Settings

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "runner-images"
VERSIONS: dict[str, Any] = json.loads((IMAGES / "versions.json").read_text(encoding="utf-8"))
README = (IMAGES / "README.md").read_text(encoding="utf-8")
TAGS = {profile.image.partition(":")[2] for profile in default_profiles("linux", "windows")}
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def release(version: str, published: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """Return a release as GitHub's API has it."""
    files = {"linux-x64": "tar.gz", "linux-arm64": "tar.gz", "win-x64": "zip"}
    sha256 = {name: hashlib.sha256(f"{name} {version}".encode()).hexdigest() for name in files}
    names = {name: f"actions-runner-{name}-{version}.{end}" for name, end in files.items()}
    made: dict[str, Any] = {
        "tag_name": f"v{version}",
        "published_at": published.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "draft": False,
        "prerelease": False,
        "body": "".join(f"- {names[n]} <!-- BEGIN SHA {n} -->{sha256[n]}<!-- END SHA {n} -->\n" for n in files),
        "assets": [
            {"name": names[n], "browser_download_url": f"https://x.test/{names[n]}", "digest": f"sha256:{sha256[n]}"}
            for n in files
        ],
    }
    return made | changes


class TestPins:
    """versions.json and pins.py."""

    def test_every_package_is_pinned(self) -> None:
        """Each package has a URL of the pinned version and a sha256; so has the Windows image's Python."""
        version = VERSIONS["runner"]["version"]
        assert set(VERSIONS["runner"]["packages"]) == {"linux-x64", "linux-arm64", "win-x64"}
        for name, package in VERSIONS["runner"]["packages"].items():
            assert package["url"].startswith(f"https://github.com/actions/runner/releases/download/v{version}/")
            assert f"actions-runner-{name}-{version}." in package["url"]
            assert re.fullmatch(r"[0-9a-f]{64}", package["sha256"])
        assert re.fullmatch(r"[0-9a-f]{64}", VERSIONS["python"]["win-x64"]["sha256"])

    def test_every_tool_has_its_place(self) -> None:
        """Each tool is pinned for the systems whose image holds it, completely or not at all."""
        linux = {"linux-x64", "linux-arm64"}
        systems = {"git": {"win-x64"}, "pwsh": linux | {"win-x64"}}
        assert set(VERSIONS["tools"]) == {*vendors.GITHUB, *vendors.DEBIAN, "node"}
        dockerfile = (IMAGES / "full/Dockerfile").read_text(encoding="utf-8")
        installed = [set(found.split()) for found in re.findall(r'ARG TOOLS="([^"]+)"', dockerfile)]
        assert installed == [set(VERSIONS["tools"]) - {"git"}] * 2
        for name, found in VERSIONS["tools"].items():
            assert set(found) - {"version"} == systems.get(name, linux)
            pinned = {value for system in set(found) - {"version"} for value in found[system].values()}
            assert (pinned == {None}) == (found["version"] is None) == (None in pinned)

    def test_the_orchestrator_knows_the_pinned_version(self) -> None:
        """The setting's default and the example name the runner that the images have, which GitHub takes."""
        version = VERSIONS["runner"]["version"]
        example = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))["Values"]
        assert Settings.model_fields["runner_version"].default == PINNED == version == example["RunnerVersion"]
        assert [int(part) for part in version.split(".")] >= [int(part) for part in MINIMUM.split(".")]

    def test_a_base_for_every_tag(self) -> None:
        """Each default profile's image has its base; the other bases are those that need a profile of one's own."""
        others = {"ubuntu-26.04", "windows-core-ltsc2019", "windows-core-ltsc2025"}
        assert {f"{name}-actionsrunner" for name in set(VERSIONS["bases"]) - others} == TAGS

    def test_a_digest_that_is_not_there(self) -> None:
        """A base without its digest is refused with what to do; with one it is named by it."""
        found = {
            "bases": {"a": {"image": "a:1", "digest": None}, "b": {"image": "b:1", "digest": f"sha256:{'0' * 64}"}}
        }
        assert pins.base(found, "b") == f"b:1@sha256:{'0' * 64}"
        with pytest.raises(pins.Unusable, match=r"a:1 is not pinned.*pins.py update"):
            pins.base(found, "a")
        with pytest.raises(pins.Unusable, match="no base is called c; there are a, b"):
            pins.base(found, "c")

    @pytest.mark.parametrize(
        ("successors", "left"),
        [
            ([], None),
            ([("2.338.0", 3)], None),
            ([("2.339.0", 3)], 27),
            ([("2.340.0", 3), ("2.339.0", 20)], 10),
            ([("2.1000.0", 40)], -10),
        ],
    )
    def test_how_long_github_takes_it(self, successors: list[tuple[str, int]], left: int | None) -> None:
        """The 30 days begin with the first successor; drafts and pre-releases are none."""
        releases = [release(version, NOW - timedelta(days=days)) for version, days in successors]
        releases += [release("2.999.0", NOW, draft=True), release("2.998.0", NOW, prerelease=True)]
        assert pins.time_left("2.338.0", releases, NOW) == (None if left is None else timedelta(days=left))

    @pytest.mark.parametrize(
        ("days", "code", "said"),
        [
            (None, 0, "is the latest"),
            (20, 0, "::warning::"),
            (7, 0, "::warning::"),
            (6, 1, "::error::"),
            (-1, 1, "::err"),
        ],
    )
    def test_warnings(self, days: int | None, code: int, said: str) -> None:
        """A successor is a warning first, and an error when a week is left."""
        found = pins.verdict("2.338.0", None if days is None else timedelta(days=days))
        assert (found[0], said in found[1]) == (code, True)

    @pytest.mark.parametrize(
        ("dates", "left"),
        [
            ({}, None),
            ({"registration_deprecates_at": None}, None),
            (
                {"registration_deprecates_at": "2026-11-11T00:00:00Z", "runtime_deprecates_at": "2026-12-01T00:00:00Z"},
                10,
            ),
            ({"runtime_deprecates_at": "2026-10-31T00:00:00Z"}, -1),
        ],
    )
    def test_how_long_by_githubs_own_dates(self, dates: dict[str, Any], left: int | None) -> None:
        """The first of GitHub's dates counts."""
        assert pins.time_left_by(dates, NOW) == (None if left is None else timedelta(days=left))

    @pytest.mark.parametrize(("status", "code", "said"), [(200, 1, "::error::"), (403, 0, "30 days are assumed")])
    def test_whoever_may_ask_gets_githubs_dates(
        self, status: int, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """GitHub's dates are asked for with a token of their own and win; where it refuses, 30 days are assumed."""
        version = VERSIONS["runner"]["version"]
        url = f"https://api.github.com/orgs/acme/actions/runners/deprecations/{version}"

        def answer(request: urllib.request.Request, timeout: float) -> io.BytesIO:
            assert timeout > 0
            if request.full_url == pins.RELEASES:
                return io.BytesIO(json.dumps([release(version)]).encode())
            assert (request.full_url, request.get_header("Authorization")) == (url, "Bearer may-read")
            if status != 200:
                raise urllib.error.HTTPError(url, status, "no", Message(), None)
            return io.BytesIO(b'{"registration_deprecates_at": "2020-01-01T00:00:00Z"}')

        monkeypatch.setattr(urllib.request, "urlopen", answer)
        monkeypatch.setenv("RUNNER_SCOPE", "orgs/acme")
        monkeypatch.setenv("RUNNER_TOKEN", "may-read")
        assert pins.main(["check"]) == code
        said_all = capsys.readouterr().out
        assert said in said_all
        assert "may-read" not in said_all

    @pytest.mark.parametrize(("token", "sent"), [("t0ken", "Bearer t0ken"), ("", None), (None, None)])
    def test_whom_github_counts(
        self, token: str | None, sent: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """GitHub is asked with the token in GH_TOKEN, or without one; the token is not printed."""
        asked: list[urllib.request.Request] = []

        def answer(request: urllib.request.Request, timeout: float) -> io.BytesIO:
            assert timeout > 0
            asked.append(request)
            return io.BytesIO(json.dumps([release(VERSIONS["runner"]["version"])]).encode())

        monkeypatch.setattr(urllib.request, "urlopen", answer)
        monkeypatch.delenv("GH_TOKEN", raising=False)
        if token is not None:
            monkeypatch.setenv("GH_TOKEN", token)
        assert pins.main(["check"]) == 0
        assert [request.get_header("Authorization") for request in asked] == [sent]
        said = capsys.readouterr()
        assert "is the latest" in said.out
        assert "t0ken" not in said.out + said.err

    def test_update(self) -> None:
        """The latest release and the bases' digests are pinned, and nothing else changes."""
        releases = [release("2.339.0"), release("2.400.0", prerelease=True), release("2.340.0"), release("2.338.0")]
        new = pins.updated(VERSIONS, pins.latest(releases), lambda image: f"digest of {image}", {"gh": "newest"})
        assert new["runner"]["version"] == "2.340.0"
        assert new["runner"]["published"] == "2026-11-01"
        assert new["runner"]["packages"]["win-x64"] == {
            "url": "https://x.test/actions-runner-win-x64-2.340.0.zip",
            "sha256": hashlib.sha256(b"win-x64 2.340.0").hexdigest(),
        }
        assert new["bases"]["ubuntu-24.04"] == {"image": "ubuntu:24.04", "digest": "digest of ubuntu:24.04"}
        assert (new["python"], new["tools"]) == (VERSIONS["python"], {"gh": "newest"})

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"assets": []}, "has no actions-runner-linux-x64"),
            ({"body": ""}, "do not confirm"),
            ({"body": release("2.341.0")["body"]}, "do not confirm"),
        ],
    )
    def test_a_checksum_in_doubt(self, changes: dict[str, Any], reason: str) -> None:
        """A package without checksum, or with two different ones, is not pinned."""
        with pytest.raises(pins.Unusable, match=reason):
            pins.packages(release("2.340.0", **changes), ["linux-x64"])

    @pytest.mark.parametrize(("docker", "said"), [
        (None, "No such file or directory: 'docker'"),
        ("echo no such plugin >&2; exit 1", "docker does not tell the digest of ubuntu:18.04: no such plugin"),
    ])  # fmt: skip
    def test_an_update_without_docker(
        self, docker: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        """An update that cannot ask a registry says why, and changes nothing."""
        if docker:
            (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n", encoding="utf-8")
            (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(pins, "_releases", lambda: [release("2.340.0")])
        monkeypatch.setattr(pins, "newest", lambda _: {})
        assert pins.main(["update"]) == 1
        assert said in capsys.readouterr().err
        assert json.loads((IMAGES / "versions.json").read_text(encoding="utf-8")) == VERSIONS

    def test_an_update_without_the_internet(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Who cannot reach GitHub is told so in a line."""

        def refuse(*_: object, **__: object) -> None:
            raise urllib.error.URLError("no route to host")

        monkeypatch.setattr(urllib.request, "urlopen", refuse)
        assert pins.main(["check"]) == pins.main(["update"]) == 1
        assert capsys.readouterr().err == "pins.py: <urlopen error no route to host>\n" * 2

    def test_the_file_is_written_as_it_is_kept(self) -> None:
        """An update changes the lines that changed, and no others."""
        assert pins.written(VERSIONS) == (IMAGES / "versions.json").read_text(encoding="utf-8")

    def test_every_place_that_names_the_version(self) -> None:
        """An update finds the version where the orchestrator and the example name it."""
        for file, pattern in pins.NAMED_IN.items():
            assert re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE) == [
                VERSIONS["runner"]["version"]
            ]


class TestVendors:
    """vendors.py."""

    SHA256 = "a" * 64

    def asset(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return a file of a release as GitHub's API has it."""
        found = {"name": name, "browser_download_url": f"https://x.test/{name}", "digest": f"sha256:{self.SHA256}"}
        return found | changes

    def test_a_release(self) -> None:
        """The one file that fits is pinned with GitHub's digest."""
        assets = [self.asset("gh_2.80.0_linux_amd64.deb", digest=None), self.asset("gh_2.80.0_linux_amd64.tar.gz")]
        patterns = {"linux-x64": vendors.GITHUB["gh"][1]["linux-x64"]}
        assert vendors.of_release({"tag_name": "v2.80.0", "assets": assets}, patterns) == {
            "version": "2.80.0",
            "linux-x64": {"url": "https://x.test/gh_2.80.0_linux_amd64.tar.gz", "sha256": self.SHA256},
        }

    @pytest.mark.parametrize("names", [[], ["a"], ["x.deb", "x.deb"]])
    def test_a_release_without_its_file(self, names: list[str]) -> None:
        """No file, or several, is no pin."""
        with pytest.raises(vendors.NotFound, match="no sha256 was found"):
            vendors.of_release({"tag_name": "1", "assets": [self.asset(name) for name in names]}, {"s": r"x\.deb"})

    def test_a_release_without_a_digest(self) -> None:
        """A file that GitHub names no digest for is no pin."""
        with pytest.raises(vendors.NotFound, match=r"no sha256 was found for https://x\.test/x"):
            vendors.of_release({"tag_name": "1", "assets": [self.asset("x", digest=None)]}, {"s": "x"})

    def test_an_index(self) -> None:
        """The newest version of the package counts, by its numbers."""
        stanza = "Package: az\nVersion: {}\nDescription: x\n more: 1\nFilename: pool/az_{}.deb\nSHA256: {}\n".format
        text = "\n".join([
            stanza("2.9.0-1~jammy", "9", "b" * 64), stanza("2.77.0-1~jammy", "77", self.SHA256),
            stanza("9.0", "x", "c" * 64).replace("Package: az", "Package: az-more"),
        ])  # fmt: skip
        assert vendors.of_index("https://x.test/", {"linux-x64": text}, "az") == {
            "version": "2.77.0-1~jammy",
            "linux-x64": {"url": "https://x.test/pool/az_77.deb", "sha256": self.SHA256},
        }
        with pytest.raises(vendors.NotFound, match="has no gh for linux-x64"):
            vendors.of_index("https://x.test/", {"linux-x64": text}, "gh")

    def test_node(self) -> None:
        """The newest version with long-term support counts."""
        releases: list[dict[str, Any]] = [
            {"version": "v25.1.0", "lts": False},
            {"version": "v9.0.0", "lts": "A"},
            {"version": "v24.2.0", "lts": "B"},
        ]
        names = [f"node-v24.2.0-{system}.tar.xz" for system in ("linux-x64", "linux-arm64")]
        found = vendors.of_node(releases, lambda _: "".join(f"{self.SHA256}  {name}\n" for name in names))
        assert found["version"] == "24.2.0"
        assert found["linux-arm64"]["url"] == "https://nodejs.org/dist/v24.2.0/node-v24.2.0-linux-arm64.tar.xz"
        with pytest.raises(vendors.NotFound):
            vendors.of_node(releases, lambda _: "")

    def test_every_tool_is_looked_for(self) -> None:
        """An update finds each tool that is pinned, for the same systems, where its vendor has it."""
        assets = [
            self.asset(name)
            for name in (
                "buildx-v0.29.1.linux-amd64", "buildx-v0.29.1.linux-arm64", "gh_2.80.0_linux_amd64.tar.gz",
                "gh_2.80.0_linux_arm64.tar.gz", "Git-2.51.0-64-bit.tar.bz2", "powershell-7.5.3-linux-x64.tar.gz",
                "powershell-7.5.3-linux-arm64.tar.gz", "PowerShell-7.5.3-win-x64.zip",
            )
        ]  # fmt: skip
        packages = "\n".join(
            f"Package: {name}\nVersion: 1\nFilename: x.deb\nSHA256: {self.SHA256}\n"
            for name in ("azure-cli", "docker-ce-cli")
        )

        def read(url: str) -> str:
            if url.endswith("/releases/latest"):
                return json.dumps({"tag_name": "v1", "assets": assets})
            if url.endswith("/index.json"):
                return json.dumps([{"version": "v24.2.0", "lts": "B"}])
            if url.endswith("/SHASUMS256.txt"):
                return "".join(
                    f"{self.SHA256}  node-v24.2.0-{system}.tar.xz\n" for system in ("linux-x64", "linux-arm64")
                )
            assert url.endswith(("amd64/Packages", "arm64/Packages"))
            return packages

        found = pins.newest(read)
        assert {name: set(tool) for name, tool in found.items()} == {
            name: set(tool) for name, tool in VERSIONS["tools"].items()
        }


class TestFetch:
    """fetch.py."""

    @pytest.fixture
    def archives(self, tmp_path: Path) -> dict[str, Path]:
        """Return archives as GitHub has them."""
        with tarfile.open(tmp_path / "r.tar.gz", "w:gz") as archive:
            entry = tarfile.TarInfo("bin/Runner.Listener")
            entry.size, entry.mode = 4, 0o755
            archive.addfile(entry, io.BytesIO(b"tar\n"))
        with zipfile.ZipFile(tmp_path / "r.zip", "w") as zipped:
            zipped.writestr("bin/Runner.Listener", "zip\n")
        return {"tar": tmp_path / "r.tar.gz", "zip": tmp_path / "r.zip"}

    @pytest.mark.parametrize("kind", ["tar", "zip"])
    def test_what_was_pinned(self, kind: str, archives: dict[str, Path], tmp_path: Path) -> None:
        """An archive with the pinned sha256 is unpacked."""
        sha256 = hashlib.sha256(archives[kind].read_bytes()).hexdigest()
        fetch.fetch({"url": archives[kind].as_uri(), "sha256": sha256}, str(tmp_path / "out"))
        assert (tmp_path / "out/bin/Runner.Listener").read_text(encoding="utf-8") == f"{kind}\n"

    def test_what_was_not(self, archives: dict[str, Path], tmp_path: Path) -> None:
        """Any other is refused with both checksums, and nothing of it is unpacked."""
        with pytest.raises(fetch.Unfit, match=f"has the sha256 [0-9a-f]{{64}}, and not {'0' * 64}, which is pinned"):
            fetch.fetch({"url": archives["tar"].as_uri(), "sha256": "0" * 64}, str(tmp_path / "out"))
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("missing", ["url", "sha256"])
    def test_what_is_not_pinned(self, missing: str, tmp_path: Path) -> None:
        """Without a checksum nothing is fetched, and the reason says what to do."""
        package = {"url": "https://127.0.0.1:9/x", "sha256": "0" * 64} | {missing: None}
        with pytest.raises(fetch.Unfit, match=r"is not pinned in versions\.json .*pins\.py update"):
            fetch.fetch(package, str(tmp_path / "out"))

    def test_a_single_file(self, tmp_path: Path) -> None:
        """What is no archive is placed as it is."""
        (tmp_path / "x.deb").write_bytes(b"package")
        pin = {"url": (tmp_path / "x.deb").as_uri(), "sha256": hashlib.sha256(b"package").hexdigest()}
        fetch.fetch(pin, str(tmp_path / "out"))
        assert (tmp_path / "out" / "x.deb").read_bytes() == b"package"

    @pytest.mark.parametrize(("tool", "code"), [("gh", 0), ("git", 1), ("unknown", 1)])
    def test_a_tool(self, tool: str, code: int, archives: dict[str, Path], tmp_path: Path) -> None:
        """A tool is fetched by its name; one that this machine has none of, or that nobody knows, ends the build."""
        shutil.copy(IMAGES / "fetch.py", tmp_path)
        sha256 = hashlib.sha256(archives["tar"].read_bytes()).hexdigest()
        package = {"url": archives["tar"].as_uri(), "sha256": sha256}
        content = {"tools": {"gh": {"linux-x64": package, "linux-arm64": package}, "git": {"win-x64": package}}}
        (tmp_path / "versions.json").write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, str(tmp_path / "fetch.py"), "--tool", tool, str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        assert (done.returncode, f"fetch: {tool}: it is not pinned" in done.stderr) == (code, code == 1)
        assert (tmp_path / "out/bin/Runner.Listener").exists() == (code == 0)

    @pytest.mark.parametrize(("pinned", "code"), [(True, 0), (False, 1)])
    def test_a_package_that_is_there(self, pinned: bool, code: int, archives: dict[str, Path], tmp_path: Path) -> None:
        """A package that was downloaded before is checked and unpacked, and nothing else is asked for."""
        shutil.copy(IMAGES / "fetch.py", tmp_path)
        sha256 = hashlib.sha256(archives["zip"].read_bytes()).hexdigest() if pinned else "0" * 64
        package = {"url": "https://127.0.0.1:9/r.zip", "sha256": sha256}
        content = {"runner": {"packages": {"linux-x64": package, "linux-arm64": package}}}
        (tmp_path / "versions.json").write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, "fetch.py", str(tmp_path / "out"), "r.zip"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        assert (done.returncode, "which is pinned" in done.stderr) == (code, not pinned)
        assert (tmp_path / "out/bin/Runner.Listener").exists() == pinned

    @pytest.mark.parametrize(
        ("system", "machine", "name"),
        [
            ("Linux", "x86_64", "linux-x64"),
            ("Linux", "aarch64", "linux-arm64"),
            ("Windows", "AMD64", "win-x64"),
        ],
    )
    def test_the_package_of_a_machine(self, system: str, machine: str, name: str) -> None:
        """Every machine that an image is built for has its package."""
        assert fetch.package_name(system, machine) == name
        assert name in VERSIONS["runner"]["packages"]

    def test_no_package_for_a_machine(self) -> None:
        """Another machine is named in the refusal."""
        with pytest.raises(fetch.Unfit, match="no runner for Linux on riscv64"):
            fetch.package_name("Linux", "riscv64")

    def test_the_command(self, archives: dict[str, Path], tmp_path: Path) -> None:
        """Run as the build runs it, a wrong checksum ends it with 1 and leaves nothing."""
        shutil.copy(IMAGES / "fetch.py", tmp_path)
        package = {"url": archives["tar"].as_uri(), "sha256": "0" * 64}
        content = {"runner": {"packages": {"linux-x64": package, "linux-arm64": package}}}
        (tmp_path / "versions.json").write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, str(tmp_path / "fetch.py"), str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        assert (done.returncode, "which is pinned" in done.stderr) == (1, True)
        assert not (tmp_path / "out").exists()


class TestWritten:
    """README.md, Dockerfiles, scripts."""

    def test_every_base_is_documented(self) -> None:
        """The table of images and the commands that build them name each base, and no other."""
        table = re.findall(r"^\| `([\w.-]+)-actionsrunner`", README, re.MULTILINE)
        built = [name for line in re.findall(r"^for base in ([^;]+);", README, re.MULTILINE) for name in line.split()]
        assert sorted(table) == sorted(built) == sorted(VERSIONS["bases"])

    def test_the_publishing_workflow_names_the_right_tags(self) -> None:
        """The workflow builds every base but the one that no hosted runner can build, and arm64 beside it."""
        workflow = (ROOT / ".github/workflows/images.yml").read_text(encoding="utf-8")
        bases = re.findall(r"\{ base: ([\w.-]+),", workflow)
        assert set(bases) == set(VERSIONS["bases"]) - {"windows-core-ltsc2019"}
        assert workflow.count("arch: -arm64") == len(bases) - len(set(bases)) == 1
        for base, image_os in re.findall(r"base: ubuntu-(\d+)\.04, system: linux, image-os: ubuntu(\d+)", workflow):
            assert base == image_os

    def test_line_ends(self) -> None:
        """A checkout on Windows leaves the line ends of what a Linux image runs."""
        scripts = [str(file.relative_to(ROOT)) for file in IMAGES.rglob("*.sh")]
        assert len(scripts) >= 2
        command = ["git", "-C", str(ROOT), "check-attr", "eol", *scripts]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
        assert done.stdout.count(": eol: lf\n") == len(scripts)

    def test_no_build_asks_for_buildkit(self) -> None:
        """Azure's build machines have Docker's older builder, which refuses what only BuildKit knows."""
        for file in IMAGES.rglob("Dockerfile"):
            assert not re.search(r"--chmod=|--mount=|<<", file.read_text(encoding="utf-8")), file

    def test_the_actions_have_their_reasons(self) -> None:
        """At least twenty actions say what they call, and why."""
        actions = json.loads((ROOT / "tests/image/actions.json").read_text(encoding="utf-8"))
        assert len({action["action"] for action in actions}) == len(actions) >= 20
        assert all(action["needs"] and action["why"] and action["image"] in ("base", "full") for action in actions)

    @pytest.mark.parametrize("code", sorted({
        contract.JOB_RAN, contract.VERSION_REFUSED, contract.NO_JOB, contract.BROKEN, contract.JOB_BROKEN_OFF,
        contract.NOT_REGISTERED, contract.CLAIM_USED, contract.BAD_SETTINGS,
    }))  # fmt: skip
    def test_every_exit_code_is_documented(self, code: int) -> None:
        """The table has every exit code."""
        assert re.search(rf"^\| {code} \|", README, re.MULTILINE)

    def test_every_variable_is_documented(self) -> None:
        """The table has every variable that the entrypoint reads, and every alias."""
        source = (IMAGES / "entrypoint/contract.py").read_text(encoding="utf-8")
        for name in sorted(set(re.findall(r'"(GHR_[A-Z_]+[A-Z])"', source)) | {"GHR_ORIGIN"}):
            assert f"| `{name}` |" in README
        for alias in contract.ALIASES.values():
            assert alias.upper() in README.upper()

    def test_oldest_python(self) -> None:
        """What runs in an image runs on Python 3.6, as far as its syntax and what it imports tell."""
        sources = [*(IMAGES / "entrypoint").glob("*.py"), IMAGES / "fetch.py"]
        for source in sources:
            ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 6))
        vermin = Path(sys.executable).with_name("vermin")
        command = [str(vermin), "--target=3.6-", "--no-tips", "--violations", *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize(
        ("tool", "file"),
        [
            ("hadolint", "runner-images/linux/Dockerfile"),
            ("hadolint", "runner-images/windows/Dockerfile"),
            ("hadolint", "runner-images/full/Dockerfile"),
            ("hadolint", "runner-images/examples/linux-java/Dockerfile"),
            ("hadolint", "runner-images/examples/linux-corporate/Dockerfile"),
            ("hadolint", "runner-images/examples/windows-net-framework/Dockerfile"),
            ("shellcheck", "runner-images/full/place.sh"),
            ("shellcheck", "runner-images/examples/linux-java/before-the-job.sh"),
            ("shellcheck", ".ci/run"),
            ("shellcheck", ".ci/podman"),
        ],
    )
    def test_linters(self, tool: str, file: str) -> None:
        """The linters of Dockerfiles and shell scripts have nothing to say."""
        program = Path(sys.executable).with_name(tool)
        done = subprocess.run([program, ROOT / file], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
        assert (done.returncode, done.stdout) == (0, "")
