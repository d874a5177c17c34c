"""Detects in a video with a detector that comes with the package, and prints what moves.

python examples/detect.py clip.mp4
"""

import sys

import tdcnet


def main(source: str) -> None:
    """Prints a line for each detection, and writes the files of `tdcnet predict` into `found`."""
    detector = tdcnet.load("motion_2d")
    for _, found in detector.predict(source):
        for (x1, y1, x2, y2), score in zip(found.boxes, found.scores, strict=True):
            when = "" if found.time is None else f" {found.time:7.3f} s"
            print(f"frame {found.index:5d}{when}  {x1:6.1f} {y1:6.1f} {x2:6.1f} {y2:6.1f}  {score:.2f}")
    for path in detector.predict(source).save("found"):
        print("wrote", path)


if __name__ == "__main__":
    main(sys.argv[1])
