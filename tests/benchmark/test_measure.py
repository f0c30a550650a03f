"""The benchmark measures what it says: same work for all, fresh processes, counted operations."""

import json
import os

import numpy as np
import pytest
from conftest import load_script

from utils.benchmark import inference, measure, runtimes
from utils.benchmark import training as ways
from utils.hardware import CPU_ONLY, device, precision
from utils.modeling.attention import attention
from utils.paths import BENCHMARK
from utils.text import tokenize


def own_process() -> dict:
    return {"process": os.getpid()}


def test_each_case_of_each_round_runs_in_a_fresh_process():
    found = measure.compare({"one": own_process, "two": own_process}, rounds=2)
    processes = [result["process"] for results in found.values() for result in results]
    assert len({*processes, os.getpid()}) == 5
    assert all(0 < result["gib"] < 100 for results in found.values() for result in results)


def test_the_lengths_are_those_of_imdb_reviews_cut_to_the_model():
    whole = np.array(json.loads((BENCHMARK / "imdb_lengths.json").read_text()))
    found = measure.review_lengths(64)
    assert len(whole) == 2000
    assert max(found) == 512
    assert np.mean(found) == pytest.approx(np.minimum(whole, 512).mean(), rel=0.05)
    assert found != sorted(found)
    assert found == measure.review_lengths(64)


def test_operations_are_those_of_the_matrix_products():
    dim, hidden, layers, tokens = 384, 1536, 6, 100
    weights = 4 * dim * dim + 2 * dim * hidden
    attention = 2 * tokens * dim  # scores and weighted sum, for each token
    expected = 2 * tokens * layers * (weights + attention) + 2 * dim * 2
    assert measure.forward_gflop("22M", [tokens, tokens]) == pytest.approx(2 * expected / 1e9)


def test_the_last_way_of_training_is_the_main_paths():
    rows = ways.trainings()
    ours = list(rows.values())[-1]
    assert ours.attention_dropout == 0
    assert ours.attention == attention()[0]
    assert ours.by_length
    assert ours.keep_memory
    assert ours.bf16 == (precision()[0] == "bf16")
    names = list(rows)
    assert names[0].startswith("usual")
    assert names[-1].endswith("(ours)")


def test_made_up_texts_have_the_lengths_asked_for():
    lengths = [3, 50, 512]
    texts = inference.random_texts(lengths)
    assert tokenize(runtimes.load_tokenizer(), texts).lengths == lengths


def test_runtimes_without_extras_answer_the_same(tmp_path):
    texts = ["A moving, clever film.", "Dull and far too long. " * 40]
    exact = inference.exact_probabilities(texts)
    assert (exact >= 0.5).tolist() == [True, False]
    for runtime in runtimes.contenders():
        if runtime.file == "model.safetensors":
            found = inference.probabilities(runtime.name, tmp_path, texts)["probabilities"]
            assert np.allclose(found, exact, atol=0.02), runtime.name


def test_a_benchmark_asks_for_what_it_needs_alone_and_before_it_takes_its_time(
    monkeypatch, tmp_path
):
    monkeypatch.setenv(CPU_ONLY, "true")  # as the script sets it, and undone here
    bench = load_script("bench.py")
    monkeypatch.setattr(bench, "RELEASED", tmp_path)
    monkeypatch.setattr(bench, "set_up", None)  # no reviews, and no Hub
    monkeypatch.setattr("sys.argv", ["bench.py", "--part", "growth"])
    with pytest.raises(SystemExit, match=r"error: .* holds no exported model"):
        bench.main()


@pytest.mark.parametrize("script", ["bench.py", "loadtest.py"])
def test_runtimes_are_compared_on_the_processor_whatever_accelerator_there_is(script, monkeypatch):
    monkeypatch.setenv(CPU_ONLY, "false")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert device().type == "mps"
    load_script(script)
    assert device().type == "cpu"
    pipelines = []
    monkeypatch.setattr(runtimes, "pipeline", lambda *_, **given: pipelines.append(given))
    runtimes.contenders()[0].load(None)
    assert [given["device"].type for given in pipelines] == ["cpu"]


def test_an_epoch_is_timed(monkeypatch):
    monkeypatch.setitem(ways.BATCH, "tiny", 2)
    monkeypatch.setitem(measure.SIZES, "tiny", {"dim": 32, "hidden_dim": 64, "n_heads": 4})
    for way in ways.trainings().values():
        assert 0 < ways.train("tiny", way, [8, 12, 20, 9])["seconds"] < 60
