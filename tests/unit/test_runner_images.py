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
import urllib.request
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import contract
import fetch
import pins
import pytest

from orchestrator.config.profiles import default_profiles
from orchestrator.config.runner_version import MINIMUM, PINNED
from orchestrator.config.settings import Settings

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "runner-images"
VERSIONS: dict[str, Any] = json.loads((IMAGES / "versions.json").read_text(encoding="utf-8"))
README = (IMAGES / "README.md").read_text(encoding="utf-8")
REPOSITORY = "githubactions-runner"
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

    def test_the_orchestrator_knows_the_pinned_version(self) -> None:
        """The setting's default and the example name the runner that the images have, which GitHub takes."""
        version = VERSIONS["runner"]["version"]
        example = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))["Values"]
        assert Settings.model_fields["runner_version"].default == PINNED == version == example["RunnerVersion"]
        assert [int(part) for part in version.split(".")] >= [int(part) for part in MINIMUM.split(".")]

    def test_a_base_for_every_tag(self) -> None:
        """Each default profile's image has its base, and no base is without a profile."""
        assert {f"{name}-actionsrunner" for name in VERSIONS["bases"]} == TAGS

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
        new = pins.updated(VERSIONS, pins.latest(releases), lambda image: f"digest of {image}")
        assert new["runner"]["version"] == "2.340.0"
        assert new["runner"]["published"] == "2026-11-01"
        assert new["runner"]["packages"]["win-x64"] == {
            "url": "https://x.test/actions-runner-win-x64-2.340.0.zip",
            "sha256": hashlib.sha256(b"win-x64 2.340.0").hexdigest(),
        }
        assert new["bases"]["ubuntu-24.04"] == {"image": "ubuntu:24.04", "digest": "digest of ubuntu:24.04"}
        assert new["python"] == VERSIONS["python"]

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

    def test_the_file_is_written_as_it_is_kept(self) -> None:
        """An update changes the lines that changed, and no others."""
        assert pins.written(VERSIONS) == (IMAGES / "versions.json").read_text(encoding="utf-8")

    def test_every_place_that_names_the_version(self) -> None:
        """An update finds the version where the orchestrator and the example name it."""
        for file, pattern in pins.NAMED_IN.items():
            assert re.findall(pattern, file.read_text(encoding="utf-8"), re.MULTILINE) == [
                VERSIONS["runner"]["version"]
            ]


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

    @pytest.mark.parametrize("command", ["az acr import", "az acr build"])
    def test_the_commands_name_the_right_tags(self, command: str) -> None:
        """Each of the default profiles' images has its command, for the right system and base, and no other has."""
        lines = [line for line in README.replace("\\\n", " ").splitlines() if line.startswith(command)]
        found = {}
        for line in lines:
            tags = re.findall(rf"{REPOSITORY}:(\S+)", line)
            assert len(set(tags)) == 1
            found[tags[0]] = line
        assert set(found) == TAGS
        assert len(lines) == len(TAGS)
        if command == "az acr build":
            for tag, line in found.items():
                system = "windows" if tag.startswith("windows") else "linux"
                assert f"runner-images/{system}/Dockerfile" in line
                assert f"--platform {system}" in line
                assert f"pins.py base {tag.removesuffix('-actionsrunner')})" in line

    def test_the_publishing_workflow_names_the_right_tags(self) -> None:
        """What the workflow builds are the profiles' tags, but for the one that no hosted runner can build."""
        workflow = (ROOT / ".github/workflows/images.yml").read_text(encoding="utf-8")
        bases = set(re.findall(r"\{ base: ([\w.-]+),", workflow))
        assert {f"{base}-actionsrunner" for base in bases} == TAGS - {"windows-core-ltsc2019-actionsrunner"}
        assert f"{REPOSITORY}:${{{{ matrix.base }}}}-actionsrunner" in workflow

    @pytest.mark.parametrize("code", sorted({
        contract.JOB_RAN, contract.VERSION_REFUSED, contract.NO_JOB, contract.BROKEN, contract.JOB_BROKEN_OFF,
        contract.NOT_REGISTERED, contract.BAD_SETTINGS,
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
            ("shellcheck", ".ci/run"),
            ("shellcheck", ".ci/podman"),
        ],
    )
    def test_linters(self, tool: str, file: str) -> None:
        """The linters of Dockerfiles and shell scripts have nothing to say."""
        program = Path(sys.executable).with_name(tool)
        done = subprocess.run([program, ROOT / file], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
        assert (done.returncode, done.stdout) == (0, "")
