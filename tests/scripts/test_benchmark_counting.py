from __future__ import annotations

import json

from scripts import benchmark_counting


def test_counts_the_same_as_pycocotools_and_tells_both_times(tmp_path, capsys):
    file = tmp_path / "times.json"
    assert benchmark_counting.main(["--frames", "300", "--batch", "7", "--json", str(file)]) == 0
    written = json.loads(file.read_text())
    assert list(written["seconds"]) == ["all counts of tdcnet", "AP of pycocotools"]
    pairs, rest = divmod(written["held bytes"] - 300 * (44 + 5 * 17 + 8), 12)
    assert rest == 0 and 300 <= pairs < 2 * 300, "what is held per frame, detection, target and pair that is near"
    assert 0 < written["figures"]["AP_all_frames"] < written["figures"]["AP50_all_frames"] < 1
    assert "AP is the same" in capsys.readouterr().out
