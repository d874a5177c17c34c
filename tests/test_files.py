from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pytest

from tdcnet import files, shown
from tdcnet.data.errors import DataError

HOSTILE_JSON = {
    "deep lists": "[" * 200_000,
    "closed deep lists": "[" * 300 + "]" * 300,
    "deep objects": '{"a":' * 500 + "1" + "}" * 500,
    "deep behind a string": json.dumps("]" * 1000) + "[" * 500,
    "not a number": '{"score": NaN}',
    "infinity": "[-Infinity]",
    "an endless number": "[" + "9" * 5000 + "]",
    "a number beyond all": '{"score": 1e999}',
    "a number of 65 bits": "[18446744073709551616]",
    "a key twice": '{"boxes": [1], "boxes": []}',
    "half a character": '["\\ud83d"]',
    "NUL": '{"name": "a\\u0000b"}',
    "deep between strings that hide it": '["' + "]" * 90 + '",' + "[" * 90 + "]" * 90 + ',"' + "[" * 90 + '"]',
    "cut short": '{"images": [',
    "nothing": "",
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_hostile_json_is_one_error_with_the_file(tmp_path, name):
    path = tmp_path / "a.json"
    path.write_text(HOSTILE_JSON[name])
    with pytest.raises(DataError, match=r"a\.json: is "):
        files.read_json(path)


def test_json_is_read_with_and_without_byte_order_mark(tmp_path):
    content = {
        "names": ["[{", "]}\\", 'a"b', "\U0001f600"],
        "deep": [[[{"x": 1.5}]]],
        "long": ["[" * 100, '"['],
        "i": -(2**62),
    }
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a.json").write_text(json.dumps(content), encoding=encoding)
        assert files.read_json(tmp_path / "a.json") == content
    (tmp_path / "a.json").write_bytes("[\xe4]".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.json: is not text in UTF-8"):
        files.read_json(tmp_path / "a.json")


HOSTILE_YAML = {
    "aliases": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "a class": "a: !!python/object/apply:os.system ['true']",
    "deep": "[" * 3000,
    "deep and closed": "[" * 100 + "]" * 100,
    "tabs": "a:\n\t- b",
    "unhashable": "? [a, b]\n: c\n? {x: y}\n: d",
    "a key twice": "train: a\nval: b\ntrain: c",
    "NUL": 'a: "\\0"',
    "a number of 65 bits": "nc: 0xfffffffffffffffff",
    "sixties without end": "nc: 1" + ":59" * 60_000,
    "large": "- a\n" * 200_000,
    "a long anchor": "a: *" + "x" * 9000,
    "a date that is none": "a: 2024-99-99",
}


@pytest.mark.parametrize("name", HOSTILE_YAML)
def test_hostile_yaml_is_one_error_with_the_file(tmp_path, name):
    path = tmp_path / "data.yaml"
    path.write_text(HOSTILE_YAML[name])
    with pytest.raises(DataError, match=r"data\.yaml: ") as caught:
        files.read_yaml(path)
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()


def test_yaml_is_plain_data(tmp_path):
    (tmp_path / "a.yaml").write_text("\ufeffnames: {0: drone, 1: bird}\nnc: 2\npath: .\n", encoding="utf-8")
    assert files.read_yaml(tmp_path / "a.yaml") == {"names": {0: "drone", 1: "bird"}, "nc": 2, "path": "."}


def test_only_regular_files_of_bounded_size_are_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: is a pipe"):
        files.read_text(tmp_path / "pipe")
    with pytest.raises(DataError, match="null: is a device"):
        files.read_text("/dev/null")
    with pytest.raises(DataError, match=r"cannot be read|is a folder"):
        files.read_text(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        files.read_text(tmp_path / ("x" * 300))
    with pytest.raises(FileNotFoundError):
        files.read_text(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        files.read_text("a\0b")
    assert files.read_text("/proc/self/comm").strip()  # which says that it has 0 bytes
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="loop: cannot be read"):
        files.read_text(tmp_path / "loop")
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 1 << 40)
    with pytest.raises(DataError, match=r"hole: has 1,099,511,627,776 bytes or more"):
        files.read_json(tmp_path / "hole")
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(DataError, match=r"at most 10 are read.*TDCNET_LIMITS"):
        files.read_bytes(tmp_path / "a", most=10)
    monkeypatch.setenv("TDCNET_LIMITS", "2")
    assert len(files.read_bytes(tmp_path / "a", most=10)) == 11
    monkeypatch.setenv("TDCNET_LIMITS", "much")
    with pytest.raises(ValueError, match="TDCNET_LIMITS is 'much'"):
        files.read_bytes(tmp_path / "a", most=10)


ARRAYS = {
    "h": np.arange(18, dtype=np.float32).reshape(2, 3, 3),
    "tag": np.array("aligner-1"),
    "none": np.zeros((0, 4)),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


def test_arrays_come_back_as_they_were(tmp_path):
    files.write_arrays(tmp_path / "a.npz", ARRAYS)
    found = files.read_arrays(tmp_path / "a.npz", ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_no_changed_byte_of_arrays_goes_unnoticed(tmp_path):
    path = tmp_path / "a.npz"
    files.write_arrays(path, ARRAYS)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.permutation(len(whole))[:300].tolist():
        data = bytearray(whole)
        data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            found = files.read_arrays(path, ARRAYS)
        except DataError as error:
            assert "a.npz: is damaged" in str(error)
        else:  # a byte that means nothing, such as a time stamp
            assert all(np.array_equal(found[n], a) and found[n].dtype == a.dtype for n, a in ARRAYS.items())
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="is damaged"):
            files.read_arrays(path, ARRAYS)


def test_arrays_in_the_place_of_others_are_not_taken_for_them(tmp_path):
    files.write_arrays(tmp_path / "a.npz", ARRAYS, "a")
    assert files.read_arrays(tmp_path / "a.npz", ARRAYS, "a")["tag"] == "aligner-1"
    with pytest.raises(DataError, match="checksum does not match"):
        files.read_arrays(tmp_path / "a.npz", ARRAYS, "b")


def test_bytes_that_are_no_text_are_told_before_they_are_parsed(tmp_path):
    (tmp_path / "boxes.txt").write_text("1,2,3,4", encoding="utf-16")
    with pytest.raises(DataError, match=r"boxes.txt: is not text in UTF-8 \(it holds NUL\)"):
        files.read_text(tmp_path / "boxes.txt", errors="replace")


def test_arrays_without_checksum_or_with_objects_are_refused(tmp_path):
    np.savez(tmp_path / "old.npz", h=ARRAYS["h"])
    with pytest.raises(DataError, match="of an older version"):
        files.read_arrays(tmp_path / "old.npz", ["h"])
    np.savez(tmp_path / "objects.npz", h=np.array([{}], dtype=object), sha256=np.zeros(32, "u1"), allow_pickle=True)
    with pytest.raises(DataError, match="is of type object"):
        files.read_arrays(tmp_path / "objects.npz", ["h"])
    said = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,)}\n"
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("h.npy", np.lib.format.magic(1, 0) + len(said).to_bytes(2, "little") + said)
        archive.writestr("sha256.npy", b"")
    with pytest.raises(DataError, match="says 799999999992 bytes"):
        files.read_arrays(tmp_path / "large.npz", ["h"])


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "a[1].txt"
    files.write_atomically(target, b"before")
    with pytest.raises(RuntimeError), files.replacing(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"before" and len(list(target.parent.iterdir())) == 1


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path):
    target = tmp_path / "a[1].txt"
    old, new, other = (tmp_path / f".{name}.{'0' * 31}{i}.part" for i, name in enumerate(["a[1].txt"] * 2 + ["b"]))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    files.write_atomically(target, b"x")
    assert not old.exists() and new.exists() and other.exists()


def test_names_from_files_steer_nothing():
    assert shown.printable("drone\x1b[2Jä 1\u202e") == "drone\\x1b[2Jä 1\\x202e"
    assert shown.shown("a\n" * 100, 20) == "'a\\x0aa\\x0aa\\x0aa\\x..'" and shown.shown([1, None]) == "[1, None]"
    assert len(shown.shown([10**4000] * 10**6)) <= 80
    assert shown.csv_cell("\t=1\n") == "' =1\\x0a" and shown.csv_cell("\uff1d1") == "'\uff1d1"
    assert [shown.csv_cell(v) for v in ("=1+1", "  @x", "a=b", 1.5, "-2", "-2+3")] == [
        *("'=1+1", "'  @x", "a=b", 1.5, "-2", "'-2+3"),
    ]
    assert shown.csv_text([["a", "@b\n"], [-1.5, "x,y"]]) == 'a,\'@b\\x0a\n-1.5,"x,y"\n'


def test_listed_paths_stay_below_their_root(tmp_path):
    assert files.below(tmp_path, "a/../b\\c.png", "list") == tmp_path / "b" / "c.png"
    for name in ("../x", "/etc/passwd", "a/../../x", "..", "C:\\x", "..\\x", "a\0b"):
        with pytest.raises(DataError, match=r"list: names .* leads out of"):
            files.below(tmp_path, name, "list")
    for name in ("a/" + "x" * 256, "a/" * 3000, "\U0001f600" * 64, "\ud83d"):
        with pytest.raises(DataError, match=r"list: names .{,90}, which no file can be called"):
            files.below(tmp_path, name, "list")
    assert files.below(tmp_path, "x" * 255, "list").name == "x" * 255
