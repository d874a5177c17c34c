"""The command ``tdcnet VERB``: what a verb needs is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

STAGES = {
    "demo": "make clips, train on them, evaluate, export and predict: a few minutes on two cores",
    "train": "train a detector, then evaluate it",
    "eval": "evaluate a checkpoint or an export, and write a report",
    "stress": "see how a detector degrades on clips that are made harder, step by step",
    "deploy": "export a checkpoint for PyTorch, ONNX Runtime or OpenVINO",
    "search": "try values of options, a training each, and tell the best",
    "predict": "find targets in videos, folders of images or stacks",
    "track": "follow targets through videos, or tell how well on a labelled data set",
    "live": "watch a camera or a stream: tracks, alarms, a page in the browser",
}
"""Verbs that are stages of the app and take its options."""
OWN: dict[str, list[str]] = {"train": [], "demo": ["+experiment=demo"]}
"""What such a verb says to the app, if not ``stage=VERB``."""

COMMANDS = {
    "models": "list the detectors that come with tdcnet, or tell all about one",
    "check": "read a data set as training would, and say what is in it and what is wrong with it",
    "split": "deal the recordings of a data set out to training and validation",
    "convert": "write any data set that can be read as COCO with PNG frames",
    "align": "register the frames of a data set ahead of training",
    "compare": "set finished runs side by side",
    "score-masks": "score masks by every published way of counting",
    "convert-official": "turn a checkpoint of TDCNet's authors into one of this project",
    "make-clips": "write made-up clips",
}
"""Verbs that are modules of :mod:`tdcnet.commands` and take arguments."""
COMPLETION = ("completion", "--complete")
"""What prints a shell's completion, and what that asks."""

VERBS = STAGES | COMMANDS
PREDICT = """\
  tdcnet predict SOURCE .. [ckpt_path=MODEL] [OPTION=VALUE ..]

A SOURCE is a video, a stack (TIFF, NPY), a folder of images or videos, or a pattern in quotes.

  ckpt_path=MODEL   a name of `tdcnet models`, a checkpoint, the folder of an export
  threshold=0.5     least score; else the one at which the model had 0.1 false alarms per frame
  tile=false        fits frames into the input whole; true cuts all into tiles (auto)
  scale=2           px of the input for a px of a frame
  draw_threshold, fps, video, sheet: of the pictures
  dataset.align=none         the camera stands still: half the time
  dataset.on_bad_frame=skip  leaves out frames that cannot be read
  trainer=cpu|gpu            else the GPU if there is one

"""
SHORT = ("threshold", "draw_threshold", "tile", "scale", "fps", "video", "sheet")
"""Options of `predict` that need no `stage.` before them."""
SEARCH = """\
  tdcnet search OPTION=VALUES .. [OPTION=VALUE ..]

VALUES are a choice (8,16 or 'range(1,9)'), or an interval to draw from ('interval(0,1)' or, over decades,
'tag(log, interval(1e-4, 1e-2))'; 'int(interval(2,9))' of whole numbers). Quotes keep the shell from reading them.
Each trial is a training with the other options; needs `pip install optuna`.

  stage.trials=20   trainings
  stage.metric=AP50 figure of the last validation; stage.direction=minimize if less is better
  hydra.run.dir=    of a search that was broken off: goes on with it

  tdcnet search +experiment=drone_ir dataset.root=PATH trainer.max_epochs=1 \\
      'module.lr=tag(log, interval(5e-4, 5e-3))' dataset.batch_size=4,8,16

"""
TRACK = """\
  tdcnet track SOURCE .. [ckpt_path=MODEL] [OPTION=VALUE ..]
  tdcnet track dataset=NAME dataset.root=PATH ..    figures on the validation clips

  ckpt_path=MODEL        as of predict
  tracker.score=0.6      that a target's track has, and tracker.confirm=12, its evidence: higher for fewer false ones
  tracker.coast=1        seconds that it lives on unseen; configs/tracker/online.yaml has all of tracker
  --rate 30              frames a second of what does not tell
  --threads N            of the network; one fewer than there are processors, if it is not given
  --video false          no annotated video
  dataset.align=none     the camera stands still

"""
LIVE = """\
  tdcnet live SOURCE [ckpt_path=MODEL] [--OPTION VALUE | OPTION=VALUE ..]

A SOURCE is a camera (0, /dev/video0), an address (rtsp://, http://), a video, a folder, or - for raw frames.

  --page 8080            shows it at http://127.0.0.1:8080; --host 0.0.0.0 to other machines, who need the --token;
                         --upload takes videos there
  --realtime             files at their own rate
  --raw 640x512:uint16   of the frames on standard input; --rate 25 of what does not tell
  --wait                 for a source that cannot be opened at first
  --json FILE            a line a frame with tracks; - for standard output
  --csv FILE, --mot FILE the same as CSV and MOTChallenge text
  --record FOLDER        annotated video in segments; --around_alarms only these, and the seconds before
  --snapshots FOLDER     a picture of each alarm
  --post ADDRESS         alarms by HTTP POST
  --policy every         drops no frame, whatever the delay; newest drops also those of standard input
  --threads N            of the network; one fewer than there are processors, if it is not given
  'stage.rules=[{inside: [[0,0],[320,0],[320,128],[0,128]], seconds: 1, score: 0.5}]'   what is an alarm;
                         also name, speed, classes, repeat and quiet, in seconds
  stage.segment=600      seconds of a file of video; stage.before=5 and after=5 an alarm; stage.keep=100 files at most
  --quiet                no line of figures, which else comes every stage.every=10 seconds
  tracker.score=0.6      and the others, as of track
  dataset.align=none     the camera stands still

"""
HELPS = {"predict": PREDICT, "search": SEARCH, "track": TRACK, "live": LIVE}
"""What `--help` tells of a verb beside all others."""
SHORT_TRACK = ("tile", "scale", "rate", "video", "threads")
SHORT_LIVE = (
    *("policy", "realtime", "rate", "raw", "wait", "page", "host", "token", "json", "csv", "mot", "record"),
    *("around_alarms", "snapshots", "post", "threads", "quiet", "tile", "scale", "upload"),
)
SWITCHES = ("realtime", "wait", "around_alarms", "quiet", "upload")
"""Options of `live` that need no value."""
TEXTS = ("raw", "host", "token", "json", "csv", "mot", "record", "snapshots", "post")
SHORTS = {"predict": SHORT, "track": SHORT_TRACK, "live": SHORT_LIVE}
HYDRAS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun"),
)
"""Hydra's own options."""
WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-dir", "-cd", "--info", "-i")
"""Hydra's own options that another argument belongs to."""

HELP = """\
usage: tdcnet VERB [OPTION ..]

Detects small moving targets in infrared video.

{verbs}

examples:
  tdcnet demo
  tdcnet train +experiment=irstd_uav dataset.root=PATH
  tdcnet eval ckpt_path=logs/train/NAME/TIME/checkpoints/best.ckpt
  tdcnet deploy ckpt_path=BEST.ckpt 'stage.formats=[onnx,openvino,int8]'
  tdcnet predict clip.mp4 ckpt_path=BEST.ckpt
  tdcnet check --format coco --root PATH OUT

The verbs up to live take OPTION=VALUE; `tdcnet train --cfg job` shows all with their values. The others take
--option VALUE; `tdcnet check --help` tells which. `eval "$(tdcnet completion bash)"`, or zsh, and
`tdcnet completion fish | source` let the shell complete them all.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line's verb; Ctrl+C ends it without a word, also while packages are loaded."""
    try:
        _main(arguments)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _main(arguments: Sequence[str] | None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return
    verb, *rest = given
    if verb == "--version":
        from tdcnet import __version__

        print(f"tdcnet {__version__}")
        return
    if verb in COMPLETION:
        print(complete(verb, rest), end="")
        return
    if rest in (["-h"], ["--help"]) and verb in STAGES:
        print(f"tdcnet {verb}: {STAGES[verb]}\n\n{HELPS.get(verb, '')}{help_text()}", end="")
        return
    if verb in COMMANDS:
        module = importlib.import_module(f"tdcnet.commands.{verb.replace('-', '_')}")
        sys.exit(module.main(rest))
    if verb in STAGES:
        sys.argv = [sys.argv[0], *as_options(verb, rest)]
    elif "=" in verb or verb.startswith(("+", "~", "-")):  # options alone, as train.py takes them
        sys.argv = [sys.argv[0], *given]
    else:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        sys.exit(f"error: there is no verb {verb!r}; known are {', '.join(VERBS)}.{meant}")
    from tdcnet.stages.app import run

    run()


def complete(verb: str, arguments: Sequence[str]) -> str:
    """A shell's completion, or what it asks for."""
    from tdcnet.completion import SCRIPTS, candidates

    if verb == "--complete":
        return "".join(f"{each}\n" for each in candidates(" ".join(arguments), STAGES, COMMANDS, SHORTS))
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        sys.exit(f'error: expected tdcnet completion {"|".join(SCRIPTS)}, as in: eval "$(tdcnet completion bash)"')
    return SCRIPTS[arguments[0]]


def as_options(verb: str, arguments: Sequence[str]) -> list[str]:
    """What the app is told for a verb that is a stage."""
    if verb in SHORTS:
        given = with_sources(without_dashes(arguments, verb), verb)
    else:
        given = with_space(arguments) if verb == "search" else list(arguments)
    flags, options = split_flags(given)
    return [*flags, *OWN.get(verb, [f"stage={verb}"]), *options]  # Hydra takes options in one go only


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's own options with what belongs to them, and the others."""
    flags: list[str] = []
    options: list[str] = []
    for each, last in zip(arguments, ["", *arguments], strict=False):
        (flags if each.startswith("-") or last in WITH_VALUE else options).append(each)
    return flags, options


def without_dashes(arguments: Sequence[str], verb: str) -> list[str]:
    """``--page 8080`` and ``--page=8080`` as ``page=8080``, ``--realtime`` as ``realtime=true``; others as they are."""
    short = SHORTS[verb]
    found: list[str] = []
    left = list(arguments)
    while left:
        each = left.pop(0)
        key, sign, value = each.removeprefix("--").partition("=")
        key = key.replace("-", "_")
        if not each.startswith("--") or f"--{key.replace('_', '-')}" in HYDRAS:
            found.append(each)
        elif key not in short:
            near = difflib.get_close_matches(key, short, 1)
            meant = f" Did you mean --{near[0]}?" if near else ""
            if "." in key:
                meant = f" Options of the config have no dashes: {key}={value or 'VALUE'}."
            sys.exit(f"error: tdcnet {verb} has no option --{key}.{meant} `tdcnet {verb} --help` tells all")
        elif sign:
            found.append(f"{key}={value}")
        elif key in SWITCHES:
            found.append(f"{key}={left.pop(0)}" if left[:1] in (["true"], ["false"]) else f"{key}=true")
        elif not left or left[0].startswith("--"):
            sys.exit(f"error: --{key} needs a value; `tdcnet {verb} --help` tells which")
        else:
            found.append(f"{key}={left.pop(0)}")
    return found


def with_sources(arguments: Sequence[str], verb: str = "predict") -> list[str]:
    """Options of the app, of arguments some of which are paths: ``clip.mp4 stage.tile=false``."""
    from tdcnet.stages.overrides import in_quotes

    before = ["", *arguments]
    paths: list[str] = []
    options: list[str] = []
    for each, last in zip(arguments, before, strict=False):
        key, _, value = each.partition("=")
        if is_source(each) and last not in WITH_VALUE:
            paths.append(os.path.expanduser(each) if each.startswith("~/") else each)
        elif key.startswith("tracker.") and verb != "predict":
            options.append(f"stage.{each}")
        elif key not in SHORTS[verb]:
            options.append(each)
        elif value[:1] in ("", "'", '"', "[", "{") or verb != "live":
            options.append(f"stage.{each}")
        else:
            options.append(f"stage.{key}={in_quotes(value) if key in TEXTS else value}")
    return [*options, f"source=[{','.join(map(in_quotes, paths))}]"] if paths else options


def with_space(arguments: Sequence[str]) -> list[str]:
    """Options of the app, of arguments some of which have several values: those are the space of a search."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from tdcnet.stages.overrides import PATHS, in_quotes, override_key

    space: list[str] = []
    options: list[str] = []
    for each, last in zip(arguments, ["", *arguments], strict=False):
        key = override_key(each)
        own = last not in WITH_VALUE and not key.startswith(("stage.", "hydra.", "paths."))
        own = own and (key not in PATHS or key == "init_from")
        try:
            several = own and OverridesParser.create().parse_override(each).is_sweep_override()
        except HydraException:  # a value that needs quotes, or Hydra's own option
            several = False
        (space if several else options).append(each)
    return [*options, f"stage.space=[{','.join(map(in_quotes, space))}]"] if space else options


def is_source(argument: str) -> bool:
    """Whether an argument is a path, and no option."""
    home = argument.startswith("~/")
    if argument == "-" or "://" in argument.partition("=")[0]:  # standard input; an address
        return True
    return home or (not argument.startswith(("-", "+", "~")) and ("=" not in argument or os.path.exists(argument)))


def help_text() -> str:
    """All verbs, and examples."""
    width = max(map(len, VERBS))
    return HELP.format(verbs="\n".join(f"  {verb:<{width}}  {what}" for verb, what in VERBS.items()))
