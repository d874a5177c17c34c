"""What a hostile file may ask for: each of these leaves a canary behind if it is ever called."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Payload = Callable[[Path, Path], dict[str, Any]]
"""(folder for what it needs, canary) -> nested config."""


CLEAN = {
    "_target_": "tdcnet.models.Detector",
    "backbone_tdc": {"_target_": "tdcnet.models.ShuffleNet3D", "stem_channels": 8, "widths": [32, 64, 128]},
    "backbone_3d": {"_target_": "tdcnet.models.ShuffleNet3D", "stem_channels": 8, "widths": [32, 64, 128]},
    "backbone_2d": {"_target_": "tdcnet.models.CSPDarknet", "width": 0.125, "depth": 0.33},
    "fusion": {"_target_": "tdcnet.models.SingleStream", "channels": [32, 64, 128], "stream": "2d"},
    "neck": {"_target_": "tdcnet.models.TopDownNeck", "in_channels": [32, 64, 128]},
    "head": {"_target_": "tdcnet.models.DecoupledHead", "in_channels": 32, "num_classes": 1, "width": 64},
}
"""The 2D backbone alone, the quickest there is."""


class Touch:
    """Unpickled, it makes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def _pickle(folder: Path, canary: Path) -> str:
    path = folder / "payload.pkl"
    path.write_bytes(pickle.dumps(Touch(canary)))
    return str(path)


def _npy(folder: Path, canary: Path) -> str:
    array = np.empty(1, dtype=object)
    array[0] = Touch(canary)
    np.save(folder / "payload.npy", array, allow_pickle=True)
    return str(folder / "payload.npy")


def _script(folder: Path, canary: Path, name: str = "payload_script.py") -> str:
    (folder / name).write_text(f"open({str(canary)!r}, 'w')\ndependencies = []\ndef x(): pass\n")
    return str(folder / name)


def _hub(folder: Path, canary: Path) -> dict[str, Any]:
    _script(folder, canary, "hubconf.py")
    return {"_target_": "torch.hub.load", "repo_or_dir": str(folder), "model": "x", "source": "local"}


def _code(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w')"


PAYLOADS: dict[str, Payload] = {
    "torch.hub.load": _hub,
    "torch.load": lambda f, c: {"_target_": "torch.load", "f": _pickle(f, c), "weights_only": False},
    "torch.serialization.load": lambda f, c: {
        "_target_": "torch.serialization.load",
        "f": _pickle(f, c),
        "weights_only": False,
    },
    "numpy.load": lambda f, c: {"_target_": "numpy.load", "file": _npy(f, c), "allow_pickle": True},
    "pandas.read_pickle": lambda f, c: {"_target_": "pandas.read_pickle", "filepath_or_buffer": _pickle(f, c)},
    "distutils.spawn": lambda f, c: {"_target_": "setuptools._distutils.spawn.spawn", "cmd": ["touch", str(c)]},
    "runstring": lambda f, c: {
        "_target_": "numpy.testing._private.utils.runstring",
        "astr": _code(c),
        "dict": {"a": 1},
    },
    "subprocess.run": lambda f, c: {"_target_": "subprocess.run", "args": ["touch", str(c)]},
    "subprocess.Popen": lambda f, c: {"_target_": "subprocess.Popen", "args": ["touch", str(c)]},
    "os.system": lambda f, c: {"_target_": "os.system", "command": f"touch {c}"},
    "os.mkdir": lambda f, c: {"_target_": "os.mkdir", "path": str(c)},
    "builtins.exec": lambda f, c: {"_target_": "builtins.exec", "_args_": [_code(c)]},
    "builtins.open": lambda f, c: {"_target_": "builtins.open", "file": str(c), "mode": "w"},
    "io.open": lambda f, c: {"_target_": "io.open", "file": str(c), "mode": "w"},
    "shutil.copy": lambda f, c: {"_target_": "shutil.copy", "src": _pickle(f, c), "dst": str(c)},
    "runpy.run_path": lambda f, c: {"_target_": "runpy.run_path", "path_name": _script(f, c)},
    "cProfile.run": lambda f, c: {"_target_": "cProfile.run", "statement": _code(c)},
    "timeit.timeit": lambda f, c: {"_target_": "timeit.timeit", "stmt": _code(c), "number": 1},
    "logging.FileHandler": lambda f, c: {"_target_": "logging.FileHandler", "filename": str(c)},
    "torch.save": lambda f, c: {"_target_": "torch.save", "obj": [1], "f": str(c)},
    "numpy.savetxt": lambda f, c: {"_target_": "numpy.savetxt", "fname": str(c), "X": [1]},
    "numpy.memmap": lambda f, c: {"_target_": "numpy.memmap", "filename": str(c), "mode": "w+", "shape": 4},
    "sqlite3.connect": lambda f, c: {"_target_": "sqlite3.connect", "database": str(c)},
    "write_dataset": lambda f, c: {
        "_target_": "tdcnet.data.synthetic.write_dataset",
        "root": str(c),
        "config": {"_target_": "tdcnet.data.synthetic.SyntheticConfig", "height": 32, "width": 32, "frames": 2},
    },
    "write_atomically": lambda f, c: {"_target_": "tdcnet.files.write_atomically", "path": str(c), "data": "x"},
    "through this package": lambda f, c: {
        "_target_": "tdcnet.deploy.weights.torch.load",
        "f": _pickle(f, c),
        "weights_only": False,
    },
    "through its layers": lambda f, c: {
        "_target_": "tdcnet.layers.conv.torch.load",
        "f": _pickle(f, c),
        "weights_only": False,
    },
    "hydra.utils.instantiate": lambda f, c: {
        "_target_": "hydra.utils.instantiate",
        "config": {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(c)]}},
    },
    "importing a module": lambda f, c: {
        "_target_": f"{Path(_script(f, c, 'payload_module.py')).stem}.x",  # its folder is the working one
    },
    "pathlib.Path.touch": lambda f, c: {
        "_target_": "pathlib.Path.touch",
        "self": {"_target_": "pathlib.Path", "_args_": [str(c)]},
    },
}
