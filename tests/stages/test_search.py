"""A search's space, its proposals and its record; optuna itself is tested by its makers."""

from __future__ import annotations

import json
import math

import optuna
import pytest
from omegaconf import OmegaConf

from tdcnet.cli import with_space
from tdcnet.data.errors import DataError
from tdcnet.report.search import Trial, best_of, figure_of, table_of, write_search
from tdcnet.stages.search import _rounded, check_known, propose, read_trials, space_of

KINDS = optuna.distributions
LR, BATCH = "module.lr=tag(log, interval(1e-4, 1e-2))", "dataset.batch_size=4,8"
SPACE = {"module.lr": KINDS.FloatDistribution(1e-4, 1e-2, log=True), "+x": KINDS.CategoricalDistribution(["a", "b"])}


def propose_all(count: int, judge, start: list[Trial] | None = None, space=SPACE, direction="maximize") -> list[Trial]:
    trials = list(start or [])
    while len(trials) < count and (options := propose(optuna, space, trials, 0, direction)):
        trials.append(Trial(len(trials), options, judge(options)))
    return trials


def test_sweeps_in_hydras_words_are_distributions():
    texts = [
        LR,
        BATCH,
        "+a=interval(0,1)",
        "b=int(interval(2,9))",
        "c=range(1,9,4)",
        "model=choice(x,y)",
        "d=[1,2],[3]",
    ]
    assert space_of(texts, KINDS) == {
        "module.lr": KINDS.FloatDistribution(1e-4, 1e-2, log=True),
        "dataset.batch_size": KINDS.CategoricalDistribution(["4", "8"]),
        "+a": KINDS.FloatDistribution(0.0, 1.0),
        "b": KINDS.IntDistribution(2, 9),
        "c": KINDS.CategoricalDistribution(["1", "5"]),
        "model": KINDS.CategoricalDistribution(["x", "y"]),
        "d": KINDS.CategoricalDistribution(["[1,2]", "[3]"]),
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "nothing to search"),
        (None, "nothing to search"),
        (["a=1"], "'a=1' has one value"),
        (["a=interval(1"], "cannot be read"),
        (["a=1,2", "a=3,4"], "a is given twice"),
        (["a=interval(2,1)"], r"'a=interval\(2,1\)': .*low"),
        (["a=tag(log, interval(0,1))"], "'a=tag"),
        (["a=interval(0,inf)"], "names no values to try"),
        (["a=interval(nan,1)"], "names no values to try"),
        (["a=glob(*)"], "names no values to try"),
        (["a=range(0,1000000000)"], "has 1000000000 values; expected up to 10000"),
    ],
)
def test_what_is_no_space_is_told(texts, message):
    with pytest.raises(ValueError, match=message):
        space_of(texts, KINDS)


def test_the_command_takes_options_with_several_values_for_the_space():
    given = ["+experiment=demo", LR, BATCH, "dataset.size=[64,64]", "hydra.run.dir=a b, c", "-c", "job"]
    options = with_space(given)
    assert options[:-1] == ["+experiment=demo", "dataset.size=[64,64]", "hydra.run.dir=a b, c", "-c", "job"]
    assert options[-1] == f"stage.space=['{LR}','{BATCH}']"
    assert with_space(["a=1"]) == ["a=1"]
    assert with_space(["init_from=a.ckpt,b.ckpt"]) == ["stage.space=['init_from=a.ckpt,b.ckpt']"]
    assert with_space(["dataset.root=/a,/b"]) == ["dataset.root=/a,/b"]


def test_an_option_that_is_not_there_is_told():
    config = OmegaConf.create({"module": {"lr": 1, "none": None}, "loss": {"_target_": "x"}})
    check_known(config, dict.fromkeys(["module.lr", "module.none", "loss", "+x", "model/fusion"]))
    with pytest.raises(ValueError, match=r"there is no option module\.lrr\. Did you mean module\.lr\?"):
        check_known(config, {"module.lrr": None})
    with pytest.raises(ValueError, match="--cfg job"):
        check_known(config, {"zzz": None})


@pytest.mark.parametrize(("low", "high"), [(0.9999, 0.99999), (1e6, 1e6 + 400), (1e-4, 1e-2), (-1.0, 1.0)])
def test_numbers_are_written_short_but_fill_their_interval(low, high):
    distribution = KINDS.FloatDistribution(low, high)
    values = {_rounded(low + (high - low) * i / 1000, distribution) for i in range(1001)}
    assert len(values) > 900 and min(values) == low and max(values) == high
    assert max(len(f"{value}") for value in values) < 14


def test_first_trials_lie_all_over_their_interval_and_hang_on_the_seed():
    space = {"x": KINDS.FloatDistribution(0.0, 1.0)}
    drawn = []
    for seed in (0, 1):
        trials: list[Trial] = []
        while len(trials) < 10:
            trials.append(Trial(len(trials), propose(optuna, space, trials, seed, "maximize"), 0.0))
        drawn.append([t.options["x"] for t in trials])
    assert drawn[0] != drawn[1]
    for values in drawn:
        assert min(values) < 0.25 and max(values) > 0.75 and len(set(values)) == 10


def test_proposals_hang_on_the_trials_before_only():
    def judge(options):
        return -abs(math.log10(options["module.lr"]) + 3) + (options["+x"] == "b")

    whole = propose_all(30, judge)
    resumed = propose_all(30, judge, start=whole[:13])
    assert [t.options for t in whole] == [t.options for t in resumed]
    assert len({json.dumps(t.options) for t in whole}) == 30, "none is tried twice"
    best = best_of(whole, "maximize")
    assert best.options["+x"] == "b" and 10**-3.3 < best.options["module.lr"] < 10**-2.7
    assert sum(t.options["+x"] == "b" for t in whole[15:]) > 9, "later proposals follow what was good"
    assert all(
        f"{t.options['module.lr']:.4g}" == f"{t.options['module.lr']}" for t in whole if t.options["module.lr"] > 1e-3
    )


def test_less_is_better_and_dead_trials_are_borne():
    space = {"x": KINDS.FloatDistribution(0.0, 1.0)}
    trials = propose_all(20, lambda o: math.nan if o["x"] > 0.8 else o["x"], space=space, direction="minimize")
    assert best_of(trials, "minimize").figure == min(t.figure for t in trials if not math.isnan(t.figure)) < 0.15
    assert best_of([Trial(0, {"x": 1.0})], "minimize") is None


def test_a_small_space_ends():
    space = {"x": KINDS.CategoricalDistribution(["a", "b"]), "y": KINDS.IntDistribution(1, 3)}
    trials = propose_all(20, lambda o: o["y"], space=space)
    assert len(trials) == 6 and propose(optuna, space, trials, 0, "maximize") is None


def test_a_record_is_read_back_or_refused(tmp_path):
    path, said = tmp_path / "search.json", {"space": ["a"], "metric": "AP50"}
    trials = [Trial(0, {"module.lr": 1e-3, "+x": "a"}, 0.5), Trial(1, {"module.lr": 2e-3, "+x": "b"})]
    assert read_trials(path, said, SPACE) == []

    def write(trials: object, **other: object) -> None:
        path.write_text(json.dumps({**said, "trials": trials, **other}))

    write([t.plain() for t in trials])
    read = read_trials(path, said, SPACE)
    assert [t.options for t in read] == [t.options for t in trials]
    assert read[0].figure == 0.5 and math.isnan(read[1].figure)
    write([], metric="Pd")
    with pytest.raises(ValueError, match="is of another search"):
        read_trials(path, said, SPACE)
    for options in ({"module.lr": 1e-3}, {"module.lr": 1.0, "+x": "a"}, {"module.lr": 1e-3, "+x": "c"}):
        write([{"options": options, "figure": None}])
        with pytest.raises(ValueError, match="trial0 is not of this space"):
            read_trials(path, said, SPACE)
    for other in (5, True, None, {"a": 1}):
        write(other)
        with pytest.raises(DataError, match=r"trials is .*; expected a list"):
            read_trials(path, said, SPACE)
    whole = {"n": KINDS.IntDistribution(1, 9)}
    for value, fits in ((1, True), (9, True), (10, False), (2.5, False), (3.0, False), (True, False)):
        write([{"options": {"n": value}, "figure": 0.1}])
        if fits:
            assert read_trials(path, said, whole)[0].options == {"n": value}
        else:
            with pytest.raises((ValueError, DataError), match="trial"):
                read_trials(path, said, whole)
    for damaged in ([1], [{"options": {"module.lr": []}}], [{"options": {}, "figure": "x"}], [{}]):
        write(damaged)
        with pytest.raises(DataError, match="expected options and a figure"):
            read_trials(path, said, SPACE)


def test_table_and_plot(tmp_path):
    trials = [Trial(i, {"module.lr": 10 ** (-4 + i / 10), "+x": "ab"[i % 2]}, i / 20) for i in range(15)]
    trials.append(Trial(15, {"module.lr": 1e-2, "+x": "a"}))
    table = table_of(trials, "AP50", "maximize", "t")
    assert table.row_count == 12 and next(iter(table.columns[0].cells)) == "14"
    assert table.caption == "3 more in search.csv; 1 without a figure"
    csv, png = write_search(tmp_path, trials, "AP50", "maximize", "t")
    lines = csv.read_text().splitlines()
    assert lines[0].endswith("module.lr,'+x") or lines[0].endswith("module.lr,+x")
    assert len(lines) == 17 and png.stat().st_size > 10_000


@pytest.mark.parametrize(("direction", "expected"), [("maximize", [2, 2, 3, 3]), ("minimize", [2, 1, 1, 0])])
def test_the_best_so_far_is_drawn(direction, expected):
    trials = [Trial(i, {"x": float(i)}, figure) for i, figure in enumerate([2, 1, 3, 0])]
    (line,) = figure_of(trials, "AP50", direction, "t").axes[0].lines
    assert line.get_ydata().tolist() == expected


def test_choices_stand_in_order():
    trials = [Trial(i, {"x": choice}, 0.1 * i) for i, choice in enumerate(["16", "null", "4", "8"])]
    panel = figure_of(trials, "AP50", "maximize", "t").axes[1]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["4", "8", "16", "null"]
