"""The schema against pywbem's MOF compiler."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The DMTF's schema is a minute's work for pywbem: see tests/clients/conftest.py.
WEIGHT = 12

DMTF = ROOT / "target" / "dmtf-schema"
DUMP = pathlib.Path(os.environ.get("VIRTCIMD_BIN_DIR", ROOT / "target" / "debug")) / "examples" / "schema_xml"


@pytest.fixture(autouse=True, scope="module")
def example_is_built():
    assert DUMP.exists(), f"{DUMP} is missing: run `cargo build --example schema_xml` first"


@pytest.mark.parametrize("directories", [[], [DMTF]], ids=["own", "dmtf"])
def test_the_schema_is_what_pywbem_makes_of_it(tmp_path, directories):
    if directories and not DMTF.is_dir():
        pytest.skip(f"no DMTF schema at {DMTF}; `make deps` fetches it")
    names = [str(tmp_path), *map(str, directories)]
    subprocess.run([DUMP, *names], cwd=ROOT, check=True)
    compare = [sys.executable, ROOT / "tests/python/compare_schema.py", *names]
    found = subprocess.run(compare, stdout=subprocess.PIPE, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_a_difference_is_found(tmp_path):
    subprocess.run([DUMP, tmp_path], cwd=ROOT, check=True)
    classes = tmp_path / "EnumerateClasses.xml"
    text = classes.read_text()
    assert "<VALUE>Queued</VALUE>" in text
    classes.write_text(text.replace("<VALUE>Queued</VALUE>", "<VALUE>Waiting</VALUE>"))
    compare = [sys.executable, ROOT / "tests/python/compare_schema.py", tmp_path]
    found = subprocess.run(compare, stdout=subprocess.PIPE, text=True, check=False)
    assert found.returncode == 1
    assert "KVM_MigrationJob.migrationphase[values]: value: ours ['Waiting'" in found.stdout
