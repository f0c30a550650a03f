"""The live line of a long task."""

import sys
from types import SimpleNamespace

from utils.progress import live_line


def test_in_a_log_a_long_task_has_few_lines(capsys):
    with live_line(1000, "predicting") as line:
        for _ in range(1000):
            line.update(1)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert lines[-1].startswith("predicting: 100%")


def test_in_a_notebook_one_output_is_updated(monkeypatch, capsys):
    shown = []
    handle = SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))

    def display(data, raw, display_id):
        shown.append(data["text/plain"])
        return handle

    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    with live_line(2, "training") as line:
        line.set_postfix(loss="0.512", refresh=False)
        line.update(2)
    assert "loss=0.512" in shown[-1]
    assert "100%" in shown[-1]
    assert capsys.readouterr() == ("", "")
