"""``tdcnet models``: the detectors that come with the package, and what is known of each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tdcnet.weights import DEFAULT, card_of, list_models

SHOWN = (("AP50", "AP50"), ("Pd@0.1", "Pd at 0.1"), ("Pd@0.05", "at 0.05"), ("Pd@0.01", "at 0.01"))
"""Figures of the table, and their headings."""
BINS = {"side": "side, px", "scr": "contrast (SCR)", "speed": "speed, px a frame"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Shows all models, or the card of one."""
    parser = argparse.ArgumentParser("tdcnet models", description=__doc__)
    parser.add_argument("name", nargs="?", help="of a model: everything that its card tells")
    name = parser.parse_args(arguments).name
    console = Console(soft_wrap=True)
    if name is None:
        console.print(overview())
        console.print(
            f"tdcnet predict clip.mp4 uses {DEFAULT}; ckpt_path=NAME takes another. tdcnet models NAME tells more"
        )
        return 0
    try:
        console.print(card_text(name, card_of(name)), markup=False, highlight=False)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    return 0


def overview() -> Table:
    """A row for each model."""
    table = Table("model", "MB", *(heading for _, heading in SHOWN), "threshold", box=box.SIMPLE)
    for name in list_models():
        card = card_of(name)
        figures = [percent(card["figures"][key]) for key, _ in SHOWN]
        size = f"{card['bytes'] / 1e6:.1f}"
        table.add_row(name, size, *figures, f"{card['threshold']:.3g}")
    return table


def card_text(name: str, card: Mapping[str, Any]) -> str:
    """A card in Markdown."""
    data, trained = card["data"], card["training"]
    figures = "\n".join(
        f"| {what} | {percent(each)} | {interval(each)} |" for what, each in card["figures"].items() if each is not None
    )
    lines = [
        f"# {name}\n\n{card['summary']}.\n",
        f"- Network: `{card['network']}`, {card['parameters']:,} parameters in deploy form, half precision, "
        f"{card['bytes'] / 1e6:.1f} MB, SHA-256 `{card['sha256']}`.",
        f"- Input: {card['clip']}.",
        f"- Licence: weights {card['licence']}; data {data['licence']}.",
        f"- Data: {data['name']}. Trained on {data['train']}, evaluated on {data['validation']} "
        f"(SHA-256 of its frames and boxes `{data['validation_sha256']}`).",
        f"- Training: `{trained['command']}`, seed {trained['seed']}, {trained['steps']:,} steps, "
        f"{trained['minutes']:.0f} minutes on {trained['machine']}.",
        f"- Threshold for 0.1 false alarms per frame: {card['threshold']:.3g}.\n",
        "## Figures\n",
        f"Of these weights as they are, on every tenth of the validation videos' frames, {card['frames']} with "
        f"{card['targets']} targets; frames without a target are not among them, so false alarms there are not "
        "counted. 95 % intervals by bootstrap over sequences. Pd by centres within 3 px, at so many false alarms per "
        "frame.\n",
        "| figure | value | interval |\n|---|---|---|",
        figures,
        *_harder(card),
        f"\n{card['seeds']}\n",
        "By the target (Pd at 0.1 false alarms per frame, AP50):\n",
        "| | from | to | targets | Pd@0.1 | AP50 |\n|---|---|---|---|---|---|",
        *(
            f"| {BINS[kind]} | {row['from']:g} | {row['to']} | {row['targets']} | {100 * row['Pd@0.1']:.1f} % | "
            f"{100 * row['AP50']:.1f} % |"
            for kind in BINS
            for row in card["by"][kind]
        ),
        "\n## What it is bad at\n",
        *(f"- {sentence}" for sentence in card["bad_at"]),
    ]
    return "\n".join(lines) + "\n"


def _harder(card: Mapping[str, Any]) -> list[str]:
    """Figures on clips that were made harder, where the card tells them."""
    lines = []
    if "hard" in card:
        rows = "\n".join(
            f"| {what} | {percent(each)} | {interval(each)} |"
            for what, each in card["hard"].items()
            if each is not None
        )
        lines += [
            "\nOn the same frames made hard (`+dataset/degrade=hard`: contrast 0.4, noise of 3 grey levels, 3 standing "
            "look-alikes as bright as the targets):\n",
            "| figure | value | interval |\n|---|---|---|",
            rows,
        ]
    if "stress" in card:
        told = card["stress"]
        ways = ", ".join(
            " ".join(
                (
                    way.replace("_", " "),
                    *([] if row["strength"] is None else [f"{row['strength']:g}"]),
                    f"{100 * row['Pd@0.1']:.0f}",
                )
            )
            for way, row in told["hardest"].items()
        )
        lines.append(
            f"\n`tdcnet stress` on every {told['step']}th frame: mean Pd at 0.1 over all {100 * told['mean']:.1f} %. "
            f"At the hardest step of each, in %: {ways}."
        )
    return lines


def percent(figure: Mapping[str, float] | None) -> str:
    """A figure's value."""
    return "-" if figure is None else f"{100 * figure['value']:.1f} %"


def interval(figure: Mapping[str, float]) -> str:
    """Its interval, if there is one."""
    return f"{100 * figure['low']:.1f} to {100 * figure['high']:.1f} %" if "low" in figure else ""
