"""What a measured run of one and two workers makes of many machines."""

import pandas as pd

from utils.benchmark.scale import table, write_files

RESULT = {
    "reviews": 20_000,
    "files": 20,
    "bytes_a_review": 1000.0,
    "stages": {"reading": 0.01, "tokenising": 1.0, "whole": 20.0},
    "by_workers": {"1": {"start": 10.0, "all": 410.0}, "2": {"start": 10.0, "all": 210.0}},
    "versions": {"processor": "a CPU", "torch": "2", "precision": "fp32"},
}


def test_hours_are_of_the_measured_speed_without_the_start():
    lines = table(RESULT).splitlines()
    assert "| 1 | 20,000 | 410 | 10 | 50.0 |" in lines
    assert "Two workers are 2.00 times as fast as one, once started." in lines
    # 100 reviews a second: 278 hours; the last file takes its 1,000 reviews on one worker.
    assert "| 1 | 278 | + 20 s at most | 0.1 MB/s |" in lines
    assert "| 64 | 4 | + 20 s at most | 6.4 MB/s |" in lines


def test_the_files_hold_each_text_once(tmp_path):
    texts = [f"review {number}" for number in range(12)]
    write_files(tmp_path / "reviews", texts, 3)
    frames = [pd.read_parquet(path) for path in sorted((tmp_path / "reviews").glob("*.parquet"))]
    assert [len(frame) for frame in frames] == [4, 4, 4]
    assert pd.concat(frames)["text"].tolist() == texts
