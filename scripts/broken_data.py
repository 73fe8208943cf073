"""Data sets as people really have them: half copied, mislabelled, a shard short. `make` writes
them, small."""
import io
import tarfile
from pathlib import Path

import numpy as np


def picture(value: int = 100, size: int = 32, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    "Bytes of a `size`×`size` image with a gradient from `value` on."
    from PIL import Image
    ramp = (value + np.add.outer(np.arange(size), 2 * np.arange(size))).astype(np.uint8)
    x = Image.fromarray(np.stack([ramp, ramp // 2, 255 - ramp], -1)).convert(mode)
    x.save(out := io.BytesIO(), kind)
    return out.getvalue()


def parquet(
    root: Path, split: str, n: int = 12, shards: int = 1, labels=None, images=None, names=None,
    column: str = "image"
) -> None:
    """`n` images a shard in Hugging Face's layout, 5 rows a row group; `names` are the classes
    in its metadata."""
    import json
    import pyarrow as pa
    import pyarrow.parquet as pq
    root.mkdir(parents=True, exist_ok=True)
    for s in range(shards):
        raw = images or [picture(7 * i + s) for i in range(n)]
        table = pa.table({
            column: [{"bytes": r, "path": None} for r in raw],
            "label": labels or [i % 3 for i in range(n)]
        })
        meta = (
            {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
            if names
            else {}
        )
        pq.write_table(
            table.replace_schema_metadata({"huggingface": json.dumps(meta)}),
            root / f"{split}-{s:05d}-of-{shards:05d}.parquet", row_group_size=5
        )


def folders(
    root: Path, held: str = "val", classes=("n01", "n02", "n03"), n: int = 4, size: int = 32
) -> Path:
    "Class folders: `n` JPEGs in each of train/<class> and <held>/<class>."
    for part in ("train", held):
        for k, c in enumerate(classes):
            (root / part / c).mkdir(parents=True)
            for i in range(n):
                (root / part / c / f"{c}_{i}.JPEG").write_bytes(picture(20 * k + 5 * i, size))
    return root


def halve(file: Path) -> None:
    "What an interrupted copy leaves."
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2])


def _cifar10(root: Path):
    def pair(name: str, **train) -> Path:
        parquet(root / name, "train", column="img", **train)
        parquet(root / name, "test", column="img")
        return root / name
    halve(pair("cifar10_half_parquet") / "train-00000-of-00001.parquet")
    yield "cifar10_half_parquet", "cifar10", "half written"
    (pair("cifar10_shard_missing", shards=3) / "train-00001-of-00003.parquet").unlink()
    yield "cifar10_shard_missing", "cifar10", "2 of 3 train shards"
    pair("cifar10_label_10", labels=[10] * 12)
    yield "cifar10_label_10", "cifar10", "label of row 0"
    pair("cifar10_label_missing", labels=[0] * 11 + [None])
    yield "cifar10_label_missing", "cifar10", "label of row 11"
    pair("cifar10_not_an_image", images=[picture()] * 11 + [b"<html>"])
    yield "cifar10_not_an_image", "cifar10", "row 11: not a readable image"
    pair("cifar10_wrong_size", images=[picture(size=28)] * 12)
    yield "cifar10_wrong_size", "cifar10", "CIFAR-10's are (3, 32, 32)"
    archive = root / "cifar10_half_archive" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as t:
        t.addfile(
            info := tarfile.TarInfo("cifar-10-batches-py/data_batch_1"),
            io.BytesIO(bytes(info.size))
        )
    halve(archive)
    yield "cifar10_half_archive", "cifar10", "missing or damaged"


def _svhn(root: Path):
    from scipy.io import savemat
    for name in ("svhn_damaged_mat", "svhn_half_mat"):
        (root / name).mkdir()
        for split in ("train", "test", "extra"):
            savemat(
                root / name / f"{split}_32x32.mat",
                {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((4, 1))}
            )
    halve(root / "svhn_half_mat" / "train_32x32.mat")
    # another MD5 sum than the real one
    yield "svhn_damaged_mat", "svhn", "train_32x32.mat: missing or damaged"
    yield "svhn_half_mat", "svhn", "train_32x32.mat: missing or damaged"
    for split in ("train", "test"): parquet(root / "svhn_no_extra", split)
    yield "svhn_no_extra", "svhn", "no extra-00000-of-"


def _folder(root: Path):
    for f in (folders(root / "folder_empty_class", "test") / "test" / "n02").iterdir(): f.unlink()
    yield "folder_empty_class", "folder", "no image in it"
    halve(folders(root / "folder_half_jpeg", "test") / "train" / "n01" / "n01_2.JPEG")
    yield "folder_half_jpeg", "folder", "n01_2.JPEG: not a readable image"
    (folders(root / "folder_text_file", "test") / "train" / "n01" / "notes.txt").write_text("x")
    yield "folder_text_file", "folder", "only png, jpg and webp"
    (folders(root / "folder_sizes_differ", "test") / "train" / "n01" / "n01_9.JPEG").write_bytes(
        picture(size=40)
    )
    yield "folder_sizes_differ", "folder", "give image_size"


def _imagenet(root: Path):
    for f in (folders(root / "imagenet_empty_class") / "train" / "n02").iterdir(): f.unlink()
    yield "imagenet_empty_class", "imagenet", "no image in it"
    gone = folders(root / "imagenet_class_missing") / "val" / "n03"
    for f in gone.iterdir(): f.unlink()
    gone.rmdir()
    yield "imagenet_class_missing", "imagenet", "differ: n03"
    (folders(root / "imagenet_text_file") / "val" / "n01" / "list.csv").write_text("x")
    yield "imagenet_text_file", "imagenet", "only png, jpg and webp"
    (folders(root / "imagenet_empty_file") / "train" / "n02" / "n02_1.JPEG").write_bytes(b"")
    yield "imagenet_empty_file", "imagenet", "n02_1.JPEG: empty file"
    flat = folders(root / "imagenet_flat_val")
    for f in sorted((flat / "val").rglob("*.JPEG")): f.rename(flat / "val" / f.name)
    for c in ("n01", "n02", "n03"): (flat / "val" / c).rmdir()
    yield "imagenet_flat_val", "imagenet", "no class folders in it"
    (root / "imagenet_nothing").mkdir()
    yield "imagenet_nothing", "imagenet", "neither class folders"
    yield from _imagenet_parquet(root)


def _imagenet_parquet(root: Path):
    names = ["tench", "goldfish", "shark"]
    cases = {
        "imagenet_half_parquet": {}, "imagenet_shard_missing": {"shards": 2},
        "imagenet_label_3": {"labels": [0] * 7 + [3] * 5},
        "imagenet_label_text": {"labels": ["shark"] * 12}
    }
    for name, train in cases.items():
        parquet(root / name / "data", "train", names=names, **train)
        parquet(root / name / "data", "validation", names=names)
    halve(root / "imagenet_half_parquet" / "data" / "train-00000-of-00001.parquet")
    (root / "imagenet_shard_missing" / "data" / "train-00000-of-00002.parquet").unlink()
    yield "imagenet_half_parquet", "imagenet", "half written"
    yield "imagenet_shard_missing", "imagenet", "1 of 2 train shards"
    yield "imagenet_label_3", "imagenet", "label of row 7"
    yield "imagenet_label_text", "imagenet", "label of row 0"
    parquet(root / "imagenet_test_unlabelled", "train", names=names)
    parquet(root / "imagenet_test_unlabelled", "test", names=names, labels=[-1] * 12)
    yield "imagenet_test_unlabelled", "imagenet", "its test shards have no labels"


def svhn_files(root: Path, **images: int) -> Path:
    "torchvision's layout of SVHN with so many images a part, label 1 first; SciPy is needed."
    import numpy as np
    from scipy.io import savemat
    for split, n in images.items():
        x = np.arange(n, dtype=np.uint8) * 10 + np.zeros((32, 32, 3, 1), np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": x, "y": np.arange(1, n + 1)[:, None]})
    return root


def without_sums(load):
    "What `load()` returns while torchvision does not compare SVHN's files with their MD5 sums."
    from torchvision.datasets import SVHN
    real = SVHN.split_list
    SVHN.split_list = {k: [*v[:2], None] for k, v in real.items()}
    try: return load()
    finally: SVHN.split_list = real


def make(
    folder: str | Path,  # empty or new; a folder is written in it for each data set
    # name → (dataset, data_dir, part of the message that `load_data` must raise)
) -> dict[str, tuple[str, Path, str]]:
    "Write every broken data set."
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    return {
        name: (dataset, root / name, part)
        for kind in (_cifar10, _svhn, _folder, _imagenet)
        for name, dataset, part in kind(root)
    }
