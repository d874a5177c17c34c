"""``python -m tests.fuzz --minutes 10 --seed 0``: damaged inputs for all readers; ends with 1 if any came out wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz.targets import TARGETS
from tests.fuzz.verdict import FAILURES, FINE


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long (10 unless --inputs is given)")
    parser.add_argument("--inputs", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000, help="of all that is drawn")
    parser.add_argument("--only", nargs="+", choices=TARGETS, metavar="READER", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--keep", type=Path, help="folder for what failed (a new one in the temporary folder)")
    parser.add_argument("--replay", type=Path, nargs="+", help="files from such a folder, instead of new inputs")
    args = parser.parse_args()
    if args.replay:
        return _replay(args.replay)
    keep = args.keep or Path(tempfile.mkdtemp(prefix="tdcnet-fuzz-found-"))
    readers = {name: TARGETS[name].weight for name in args.only or TARGETS}
    minutes = 10.0 if args.minutes is None and args.inputs is None else args.minutes
    print(f"seed {args.seed}; what fails is kept in {keep}")
    counts = None
    worker = campaign.Worker()
    try:
        for state, finding, is_new in campaign.run(readers, args.seed, args.inputs, minutes):
            counts = state
            if is_new:
                finding = campaign.reduce(finding, worker)
                path = finding.write(keep)
                print(
                    f"{finding.reader}: {finding.verdict.kind}: {finding.verdict.place or finding.verdict.said[:150]}"
                )
                print(f"    {finding.verdict.said[:200]!r}\n    {finding.how[:200]}\n    {path}", flush=True)
    except KeyboardInterrupt:
        print("stopped")
    finally:
        worker.close()
    if counts is None:
        return 0
    _table(counts)
    failed = sum(counts.total()[kind] for kind in FAILURES)
    print(f"{counts.inputs} inputs, {failed} failed in {len(counts.findings)} ways; seed {args.seed}")
    return int(failed > 0)


def _replay(paths: list[Path]) -> int:
    worker, failed = campaign.Worker(), 0
    try:
        for path in paths:
            verdict = campaign.replay(path, worker)
            failed += verdict.failed
            print(f"{path}: {verdict.kind}: {verdict.said or verdict.place}")
    finally:
        worker.close()
    return int(failed > 0)


def _table(counts: campaign.Counts) -> None:
    kinds = [kind for kind in (*FINE, *FAILURES) if counts.total()[kind]]
    print("".join([f"{'reader':16}", *(f"{kind:>16}" for kind in kinds), f"{'a second':>10}"]))
    for reader, found in counts.by_reader.items():
        speed = sum(found.values()) / max(1e-9, counts.seconds[reader])
        print("".join([f"{reader:16}", *(f"{found[kind] or '':>16}" for kind in kinds), f"{speed:10.0f}"]))


if __name__ == "__main__":
    sys.exit(main())
