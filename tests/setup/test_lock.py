import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8")
SECTIONS = re.split(r"^# === (\w+): .*===$", LOCK, flags=re.MULTILINE)
BODIES = dict(zip(SECTIONS[1::2], SECTIONS[2::2], strict=True))


def entries(body: str) -> list[str]:
    return re.split(r"\n(?=[a-z0-9])", body.strip())


def names(section: str) -> set[str]:
    return {entry.partition("==")[0] for entry in entries(BODIES[section])}


def test_every_entry_has_one_exact_version_and_hashes():
    for body in BODIES.values():
        for entry in entries(body):
            assert re.match(r"[a-z0-9._-]+==[^\s;]+", entry), entry.splitlines()[0]
            assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_no_network_address_is_in_the_file():
    assert "://" not in LOCK
    assert "index-url" not in LOCK


def test_torch_also_allows_a_build_without_cuda():
    (torch,) = (entry for entry in entries(BODIES["run"]) if entry.startswith("torch=="))
    for digest in re.findall(r"# sha256:(\w+) is torch-\S+\+cpu-\S+\.whl", torch):
        assert f"--hash=sha256:{digest}" in torch
        return
    pytest.fail("no CPU-only build is named")


def test_cuda_libraries_are_only_in_their_section():
    cuda = re.compile(r"(nvidia|cuda)-|triton$")
    assert all(map(cuda.match, names("cuda")))
    assert not any(map(cuda.match, names("run") | names("test") | names("reference")))


@pytest.mark.parametrize(
    ("extra", "sections"),
    [("", ["run"]), ("train", ["run"]), ("test", ["run", "test"]), ("reference", ["run", "reference"])],
)
def test_every_requirement_of_the_project_is_locked(extra, sections):
    locked = set().union(*map(names, sections))
    for text in metadata.requires("dermcheck") or []:
        requirement = Requirement(text)
        if extra in text.partition("extra ==")[2] if extra else "extra ==" not in text:
            assert canonicalize_name(requirement.name) in locked


@pytest.mark.parametrize("name", ["pylibjpeg-libjpeg", "openslide-bin", "mlflow", "sam2", "gdown"])
def test_what_is_not_permissive_or_calls_home_stays_out(name):
    assert f"\n{name}==" not in LOCK
