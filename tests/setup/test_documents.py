"""What the start page links to is in the wheel too, not only in the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SHOW = """
import re, sys
from pathlib import Path
from dermcheck.label_app.start_page_texts import TEXTS
from dermcheck.viewer import manual

assert Path(manual.__file__).is_relative_to(sys.argv[1]), manual.__file__
names = set(re.findall(r"/viewer/docs/([\\w-]+\\.md)", TEXTS["en"]["documents_list"]))
pages = {name: manual.document(name).body.decode() for name in sorted(names | {"reference-models.md"})}
pictures = {name for page in pages.values() for name in re.findall(r'src="images/([^"]+)"', page)}
assert pictures
for name in pictures:
    assert Path(manual.picture(name).path).is_relative_to(sys.argv[1])
assert b"DermCheck" in manual.document_beside("README").body
print(*pages)
"""


def test_an_installed_wheel_shows_the_documents(tmp_path):
    build = f"import hatchling.build as b; b.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=REPOSITORY, check=True, capture_output=True)
    (file,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(file) as wheel:
        wheel.extractall(installed)
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(installed)],
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "clinician.md" in done.stdout
