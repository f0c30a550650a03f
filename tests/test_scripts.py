"""The scripts: a wrong argument and --help are answered before anything heavy is imported."""

import subprocess
import sys

from utils.paths import ROOT

HELP = """
import runpy, sys
sys.modules |= dict.fromkeys(["torch", "transformers", "datasets", "sklearn", "matplotlib"])
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (script, end.code)
"""


def test_help_is_given_without_heavy_imports():
    scripts = {path.name: str(path) for path in (ROOT / "scripts").glob("*.py")}
    scripts.pop("update_docs.py")  # whose readers wait for its tables anyway
    scripts = sorted(scripts.values())
    done = subprocess.run([sys.executable, "-c", HELP, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == len(scripts) > 8


def test_what_is_not_there_is_named_without_heavy_imports(tmp_path):
    script = ROOT / "scripts" / "model-inference.py"
    code = HELP.replace('"--help"]', f'"--model", "{tmp_path / "none"}", "good"]')
    done = subprocess.run([sys.executable, "-c", code, script], capture_output=True, text=True)
    assert "there is no such folder" in done.stderr
