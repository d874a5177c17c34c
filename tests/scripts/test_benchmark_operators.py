from __future__ import annotations

from torch import nn

from scripts import benchmark_operators
from tdcnet import layers


def test_every_operator_is_told(tmp_path, capsys):
    page = tmp_path / "operators.md"
    given = ["--channels", "32", "--size", "9", "7", "--frames", "3", "--rounds", "1", "--markdown", str(page)]
    assert benchmark_operators.main(given) == 0
    printed, rows = capsys.readouterr().out, [r for r in page.read_text().splitlines() if r.startswith("| ")]
    names = {n for n in layers.__all__ if isinstance(part := getattr(layers, n), type) and issubclass(part, nn.Module)}
    for name in names - {"ConvNormAct", "TAdaConvBlock", "CAA"}:  # a block, a wrapper, another name
        (row,) = (r for r in rows if r.startswith((f"| {name} |", f"| {name} (")))
        _, _, _, parameters, gflops, ms, ratio, source, _ = row.split("|")
        assert int(parameters.replace(",", "")) > 0 and float(gflops) >= 0 and float(ms) > 0 < float(ratio), name
        assert source.strip() and name[:12] in printed
    # 32 channels to 2 and back, without biases; two multiply-adds of 64 each
    (squeeze,) = (r for r in rows if r.startswith("| SqueezeExcitation"))
    assert squeeze.split("|")[3].strip() == "128"
