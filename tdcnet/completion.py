"""Completion of the command line in bash, zsh and fish: the shell asks ``tdcnet --complete LINE`` what may come next.

Answers are made of file names and of lines that begin with ``key:``, so that no config is composed and nothing heavy
imported: a person waits for them.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from tdcnet.config_folder import config_folder

SCRIPTS = {
    "bash": """\
_tdcnet() {
    local IFS=$'\\n'
    COMPREPLY=($(tdcnet --complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    # bash takes what follows = and : for a word of its own
    local word="${COMP_LINE:0:COMP_POINT}"; word="${word##*[[:space:]]}"
    [[ $word == *[=:]* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*[=:]}"}"}")
    [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -o default -F _tdcnet tdcnet
""",
    "zsh": """\
_tdcnet() {
    local -a found
    found=("${(@f)$(tdcnet --complete "${words[1,CURRENT-1]} ${words[CURRENT]}" 2>/dev/null)}")
    if [[ -n ${found[1]} ]]; then compadd -S '' -- $found; else compset -P '*='; _files; fi
}
compdef _tdcnet tdcnet
""",
    "fish": """\
complete -c tdcnet -a '(tdcnet --complete (commandline -cp | string collect) 2>/dev/null)'
""",
}
"""What a shell evaluates."""
VALUES = {"ckpt_path", "init_from"}
"""Options that take a name of the zoo, or a path."""
TOP = ("ckpt_path=", "init_from=", "seed=", "name=", "differences=", "hydra.run.dir=", "--cfg", "--multirun", "--help")
"""Options that no group of configs tells."""


def candidates(
    line: str, stages: Collection[str], commands: Collection[str], short: Mapping[str, Iterable[str]]
) -> list[str]:
    """What the last word of a command line may become; nothing where it is a path.

    Args:
        line: up to the cursor, from the command's name on.
        stages: verbs that take options of the app.
        commands: verbs that take ``--option``.
        short: options of verbs that take sources.
    """
    words = line.split()[1:]
    word = words.pop() if words and not line[-1].isspace() else ""
    if not words:
        found: Iterable[str] = [*stages, *commands, "completion", "--help", "--version"]
    elif words[0] == "completion":
        found = SCRIPTS if len(words) == 1 else []
    elif words[0] == "models":
        found = _models()
    elif words[0] in commands:
        found = _flags(words[0]) if word.startswith("-") else []
    elif words[0] in short:
        own = [f"--{name}" if word.startswith("-") else f"{name}=" for name in short[words[0]]]
        found = [*_options(word, own), *_paths(word)] if word else _paths(word)
    elif words[0] in stages:
        found = _options(word, [])
    else:
        found = []
    return sorted({each for each in found if each.startswith(word) and (each != word or word[-1] != ".")})


def _options(word: str, own: Iterable[str]) -> Iterable[str]:
    """Options of the app; where ``=`` is typed, values of a group."""
    configs = config_folder()
    sign = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, _ = word[len(sign) :].partition("=")
    if equals:
        if key in VALUES:
            return [f"{key}={name}" for name in _models()]
        return [f"{sign}{key}={name}" for name in _choices(configs, key)]
    groups = sorted({str(path.parent.relative_to(configs)) for path in configs.rglob("*.yaml")} - {".", "hydra"})
    groups = [group for group in groups if not group.startswith("experiment/")]  # ablation/boxes is of experiment
    if "." in key:
        group = key.partition(".")[0]
        return [f"{sign}{group}.{name}" for name in _keys(configs, group)]
    added = "experiment"
    groups = [group for group in groups if group != added]
    plain = [f"{group}=" for group in groups] + [f"{group}." for group in groups if "/" not in group]
    return [*own, *TOP, *plain, f"+{added}="]


def _paths(word: str) -> Iterable[str]:
    """Files and folders that begin so; a folder's end in a slash."""
    if any(mark in word for mark in "*?[=") or word.startswith("~"):
        return []
    return [f"{path}/" if os.path.isdir(path) else path for path in glob.glob(f"{word}*")]


def _choices(configs: Path, group: str) -> Iterable[str]:
    """Configs of a group, those of an experiment's folders too."""
    folder = configs / group
    if not re.fullmatch(r"\w+(/\w+)*", group) or not folder.is_dir():
        return []
    found = folder.rglob("*.yaml") if group == "experiment" else folder.glob("*.yaml")
    return [str(path.relative_to(folder).with_suffix("")) for path in found]


def _keys(configs: Path, group: str) -> Iterable[str]:
    """Options in any config of a group: ``key=``, and ``key.`` where it has more below."""
    if not re.fullmatch(r"\w+", group):
        return []
    found = []
    for path in (configs / group).glob("*.yaml"):
        lines = path.read_text().splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if (match := re.match(r"(\w+):", line)) and match[1] not in ("defaults", "_target_", "_partial_"):
                found.append(f"{match[1]}{'.' if following.startswith('  ') else '='}")
    return found


def _flags(verb: str) -> Iterable[str]:
    """Options of a verb, as its source names them: running it takes seconds."""
    folder = Path(__file__).parent / "commands"
    source = (folder / f"{verb.replace('-', '_')}.py").read_text(encoding="utf-8")
    shared = (folder / "arguments.py").read_text(encoding="utf-8")
    own = source[source.index('"""', 3) :]
    for function in re.findall(r"^def (add_\w+)", shared, re.M):
        if f"{function}(parser" in source:
            own += shared[shared.index(f"def {function}") :].partition("\ndef ")[0]
    return ["--help", *re.findall(r'"(--[a-z][a-z-]*)"', own)]


def _models() -> Iterable[str]:
    from tdcnet.weights import list_models

    return list_models()
