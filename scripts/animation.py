"""Makes the README's animation: a detector at work on a real clip, as animated WebP.

python scripts/animation.py DRONE_IR/videos/IR_DRONE_020.mp4 docs/images/detections.webp
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import tdcnet
from tdcnet.weights import DEFAULT


def main() -> None:
    """Detects, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a clip")
    parser.add_argument("out", type=Path, help="a .webp file")
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--first", type=int, default=48, help="frame, from 0")
    parser.add_argument("--step", type=int, default=4, help="every so many frames")
    parser.add_argument("--count", type=int, default=40, help="of pictures")
    parser.add_argument("--quality", type=int, default=40)
    given = parser.parse_args()
    wanted = range(given.first, given.first + given.step * given.count, given.step)
    pictures = []
    for frame, found in tdcnet.load(given.model).predict(given.source):
        if found.index in wanted:
            pictures.append(Image.fromarray(found.plot(frame, zoom=2)))
        if found.index >= wanted[-1]:
            break
    given.out.parent.mkdir(parents=True, exist_ok=True)
    first, *others = pictures
    first.save(given.out, save_all=True, append_images=others, duration=100, loop=0, quality=given.quality, method=4)
    print(f"{given.out}: {len(pictures)} pictures, {given.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
