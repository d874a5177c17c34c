"""A reader for tests: the small clips, with birds on recordings of odd number and drones on the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tdcnet.data.formats import irstd_uav
from tdcnet.data.sequence import Sequence


def read(*arguments: Any, **options: Any) -> list[Sequence]:
    found = irstd_uav.read(*arguments, **options)
    return [
        replace(s, labels=[np.full(len(each), int(s.name) % 2) for each in s.labels], classes=("drone", "bird"))
        for s in found
    ]
