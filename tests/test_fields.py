"Every field of a recipe has an effect: it is changed, and something a user can see differs."
import hashlib
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from pact_nb.recipes import Recipe, from_params
from pact_nb.checkpoints import load_weights
from pact_nb.runs import run, run_name

BASE = dict(width=2, epochs=2, train_images=128)


def weights(path: Path) -> str:
    "Hash of the last weights and α."
    h = hashlib.sha256()
    for name, t in load_weights(path / "last.pt")["trainer"]["model"].items():
        h.update(name.encode())
        h.update(t.contiguous().numpy())
    return h.hexdigest()


def outcome(tmp: Path, name: str, **params) -> dict:
    "Weights, summary and messages of a small run."
    said = []
    done = run(from_params({**BASE, **params, "run_dir": str(tmp / name)}), said.append)
    return dict(weights=weights(done.path), summary=done.summary, said=said, path=done.path)


# field: (what both runs have, what the second has on top); the trained weights must differ
TRAINED = {
    "train_images": ({}, dict(train_images=160)), "valid_fraction": ({}, dict(valid_fraction=0.3)),
    "augment": ({}, dict(augment="none")), "model": ({}, dict(model="resnet32", width=2)),
    "width": ({}, dict(width=3)), "shortcut": ({}, dict(shortcut="B")),
    "w_bits": ({}, dict(w_bits=2)), "a_bits": ({}, dict(a_bits=2)),
    "first_bits": ({}, dict(first_bits=4)), "last_bits": ({}, dict(last_bits=4)),
    "bits_by": ({}, dict(bits_by="layer2=2")), "w_quant": ({}, dict(w_quant="sawb")),
    "activation": ({}, dict(activation="dorefa")), "fp_shortcut": ({}, dict(fp_shortcut=True)),
    "warmup_epochs": ({}, dict(warmup_epochs=1)), "alpha_from": ({}, dict(alpha_from="max")),
    "alpha0": (dict(alpha_from="fixed", alpha0=2.0), dict(alpha0=1.0)),
    "lambda_w_alpha": (dict(w_quant="pact", w_bits=2), dict(lambda_w_alpha=0.5)),
    "alpha_lr": ({}, dict(alpha_lr=0.1)), "lambda_alpha": ({}, dict(lambda_alpha=0.1)),
    "optimizer": ({}, dict(optimizer="adam")), "lr": ({}, dict(lr=0.05)),
    "lr_batch": ({}, dict(lr_batch=128)),
    "lr_warmup": (dict(schedule="cosine"), dict(lr_warmup=1.0)),
    "momentum": ({}, dict(momentum=0.5)), "weight_decay": ({}, dict(weight_decay=0.01)),
    "schedule": ({}, dict(schedule="cosine")),
    "milestones": (dict(schedule="multistep", milestones="5"), dict(milestones="1")),
    "gamma": (dict(schedule="multistep", milestones="1"), dict(gamma=0.5)),
    "min_lr": (dict(schedule="cosine"), dict(min_lr=0.05)), "epochs": ({}, dict(epochs=1)),
    "batch_size": ({}, dict(batch_size=32)), "alpha_grad": ({}, dict(alpha_grad="interior")),
    "w_scale": (dict(w_bits=1), dict(w_scale="channel")),
    "hysteresis": (dict(w_bits=1), dict(hysteresis=0.3)),
    "hysteresis_abs": (dict(w_bits=1), dict(hysteresis_abs=0.05)),
    "residual_bits": ({}, dict(residual_bits=4)),
    "beta2": (dict(optimizer="adam"), dict(beta2=0.9)),
    "eps": (dict(optimizer="adam"), dict(eps=0.1)), "accumulate": ({}, dict(accumulate=2)),
    "seed": ({}, dict(seed=1)), "amp": ({}, dict(amp="bfloat16"))
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    torch.set_num_threads(1)
    return outcome(tmp_path_factory.mktemp("plain"), "plain")


@pytest.mark.parametrize("name", TRAINED)
def test_changes_the_weights(name, plain, tmp_path):
    both, other = TRAINED[name]
    first = outcome(tmp_path, "first", **both) if both else plain
    assert outcome(tmp_path, "second", **{**both, **other})["weights"] != first["weights"]


def test_same_twice(plain, tmp_path):
    assert outcome(tmp_path, "again")["weights"] == plain["weights"]


def test_recipe():
    "A named recipe brings values of its own, and gives its runs their name."
    cifar, plain = from_params(dict(recipe="cifar10_resnet20")), from_params({})
    assert replace(cifar, recipe="x") != replace(plain, recipe="x")
    assert (cifar.dataset, cifar.model, cifar.epochs) == ("cifar10", "resnet20", 200)
    assert run_name(from_params(dict(recipe="svhn_convnet"))).startswith("svhn_convnet")


def folders(root: Path, shift: int, size: int = 8) -> str:
    "A small data set of class folders."
    from torchvision.io import write_png
    for part in ("train", "test", "val"):
        for c in ("a", "b"):
            (root / part / c).mkdir(parents=True)
            for i in range(8):
                write_png(
                    torch.randint(
                        0, 256, (3, size, size), generator=torch.Generator().manual_seed(shift + i)
                    ).to(torch.uint8),
                    str(root / part / c / f"{i}.png"),
                )
    return str(root)


def test_dataset_data_dir_image_size(plain, tmp_path):
    how = dict(
        recipe="digits", dataset="folder", train_images=None, augment="crop", valid_fraction=0.25,
        batch_size=4
    )
    a, b = folders(tmp_path / "a", 0), folders(tmp_path / "b", 100)
    first, second = outcome(tmp_path, "one", data_dir=a, **how), outcome(
        tmp_path, "two", data_dir=b, **how
    )
    larger = outcome(tmp_path, "three", data_dir=a, image_size=16, **how)
    assert len({x["weights"] for x in (plain, first, second, larger)}) == 4


def test_cifar100(tmp_path):
    "Recipe cifar10_resnet20 on the fine classes of a small CIFAR-100, as Hugging Face stores it."
    import pyarrow as pa
    import pyarrow.parquet as pq
    from torchvision.io import encode_png
    for part in ("train", "test"):
        x = torch.randint(0, 256, (200, 3, 32, 32), generator=torch.Generator().manual_seed(0))
        rows = [{"bytes": encode_png(i.to(torch.uint8)).numpy().tobytes(), "path": None} for i in x]
        labels = {
            "fine_label": [i % 100 for i in range(200)],
            "coarse_label": [i % 20 for i in range(200)]
        }
        pq.write_table(
            pa.table({"img": rows, **labels}), tmp_path / f"{part}-00000-of-00001.parquet"
        )
    how = dict(recipe="cifar10_resnet20", dataset="cifar100", data_dir=str(tmp_path), batch_size=64)
    done = outcome(tmp_path, "run", **how)["summary"]
    assert done["status"] == "finished" and done["test_n"] == 200 and 0 <= done["test_top5"] < 0.5


def test_workers(tmp_path):
    from pact_nb.runs import batches, load_recipe_data
    r = from_params(
        dict(
            recipe="imagenet_resnet18", data_dir=folders(tmp_path / "i", 0, 40), image_size=32,
            workers=1, valid_fraction=0.25
        )
    )
    data = load_recipe_data(r, tmp_path)
    assert [
        batches(
            data.train, from_params({**r.__dict__, "workers": w}), data, train=True
        ).loader.num_workers
        for w in (0, 1)
    ] == [0, 1]


def test_extra(tmp_path):
    import sys
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
    from broken_data import parquet
    from pact_nb.runs import load_recipe_data
    for part, n in (("train", 6), ("test", 4), ("extra", 5)): parquet(tmp_path, part, n)
    sizes = [
        len(
            load_recipe_data(
                from_params(
                    dict(recipe="svhn_convnet", data_dir=str(tmp_path), valid_fraction=0.0, extra=e)
                ),
                tmp_path,
            ).train
        )
        for e in (True, False)
    ]
    assert sizes == [11, 6]


def test_init(tmp_path):
    start = outcome(tmp_path, "float", w_bits=32, a_bits=32, activation="relu")
    assert (
        outcome(tmp_path, "low", init=str(start["path"]))["weights"]
        != outcome(tmp_path, "scratch")["weights"]
    )


def test_teacher(plain, tmp_path):
    start = str(outcome(tmp_path, "float", w_bits=32, a_bits=32, activation="relu")["path"])
    taught = [
        outcome(tmp_path, f"taught{i}", teacher=start, **how)["weights"]
        for i, how in enumerate(({}, dict(teacher_weight=0.9), dict(temperature=1.0)))
    ]
    assert len({plain["weights"], *taught}) == 4
    with pytest.raises(ValueError, match="not the folder of a run"):
        run(from_params(dict(**BASE, teacher=str(tmp_path))))


def test_norm_batches(plain, tmp_path):
    anew = outcome(tmp_path, "anew", norm_batches=2)
    a, b = (load_weights(x["path"] / "best.pt")["model"] for x in (plain, anew))
    differ = {n for n in a if not torch.equal(a[n], b[n])}
    assert (
        anew["weights"] == plain["weights"]
        and differ
        and all("running_" in n or "num_batches" in n for n in differ)
    )
    rows = [[json.loads(s) for s in (x["path"] / "metrics.jsonl").read_text().splitlines()]
            for x in (plain, anew)]
    best = json.loads((plain["path"] / "summary.json").read_text())["best_epoch"] - 1
    (p, a) = (r[best] for r in rows)  # the row of what was saved is of what was saved
    assert a["valid_loss"] != p["valid_loss"] and a["train_loss"] == p["train_loss"]


def test_device():
    if torch.cuda.is_available(): pytest.skip("a GPU is there")
    with pytest.raises(ValueError, match="no CUDA GPU"): run(from_params(dict(device="cuda")))


def test_compile(tmp_path):
    "Compiled, or the reason why not; and eager without one where it is off."
    mode = lambda how: outcome(tmp_path, how, compile=how)["summary"]["mode"]
    compiled, eager = mode("on"), mode("off")
    assert "compiled" in compiled and "compile" not in eager and "eager" in eager, (compiled, eager)
    if shutil.which("c++") or shutil.which("g++"): assert "failed" not in compiled, compiled


def test_tf32_cudnn_benchmark():
    "In force inside alone, and refused where they cannot be."
    from pact_nb.speed import gpu_settings
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    now = lambda: (cudnn.allow_tf32, products.allow_tf32, cudnn.benchmark)
    before, seen = now(), {}
    for tf32 in ("off", "convolutions", "all"):
        with gpu_settings(torch.device("cuda"), tf32, True): seen[tf32] = now()
    assert now() == before and seen == {
        "off": (False, False, True), "convolutions": (True, False, True), "all": (True, True, True)
    }
    with gpu_settings(torch.device("cpu"), "off", True): assert now() == before
    for name, value in (("tf32", "off"), ("cudnn_benchmark", True)):
        with pytest.raises(ValueError, match="needs a GPU"):
            from_params({name: value, "device": "cpu"})


def test_processes():
    with pytest.raises(ValueError, match="torchrun --nproc-per-node 2"):
        run(from_params(dict(world_size=2)))
    with pytest.raises(ValueError, match="needs cuda"):
        run(from_params(dict(sync_bn=True, device="cpu")))


def test_log_every(plain, tmp_path):
    said = outcome(tmp_path, "lines", log_every=1)["said"]
    assert sum("step" in s for s in said) == 4 and not any("step" in s for s in plain["said"])


def test_max_minutes_resume_run_dir(tmp_path):
    paused = run(
        from_params(dict(**BASE, max_minutes=1e-6, run_dir=str(tmp_path / "x"))), lambda s: None
    )
    assert paused.summary["status"] == "paused" and paused.path == tmp_path / "x"
    with pytest.raises(ValueError, match="resume is False"):
        run(from_params(dict(**BASE, resume=False, run_dir=str(tmp_path / "x"))))
    with pytest.raises(ValueError, match="holds no run"):
        run(from_params(dict(**BASE, resume=True, run_dir=str(tmp_path / "y"))))
    assert (
        run(
            from_params(dict(**BASE, resume=True, run_dir=str(tmp_path / "x"))), lambda s: None
        ).summary["resumed"]
        == 1
    )


def test_save_minutes(tmp_path, monkeypatch):
    import pact_nb.carry_out as runs
    count, save = [], runs.save_weights
    monkeypatch.setattr(
        runs, "save_weights", lambda path, *a, **kw: (count.append(path.name), save(path, *a, **kw))
    )
    often = (outcome(tmp_path, "often", save_minutes=0.0), count.count("last.pt"))[1]
    count.clear()
    assert (outcome(tmp_path, "seldom"), count.count("last.pt"))[1] < often


def test_fused(plain, tmp_path):
    "On: the operators run where a compiler is there. Off and auto: a run this small does without."
    from pact_nb.fused import load_fused
    on = outcome(tmp_path, "on", fused="on")
    assert on["summary"]["mode"] == ("fused" if not load_fused() else f"eager ({load_fused()})")
    assert plain["summary"]["mode"] == "eager"
    assert (on["weights"] != plain["weights"]) == (not load_fused())  # another order of sums
    with pytest.raises(ValueError, match="amp off"):
        run(from_params(dict(fused="on", amp="bfloat16", device="cpu")))


TESTED = {
    *TRAINED, "fused", "recipe", "dataset", "data_dir", "image_size", "workers", "extra", "init",
    "teacher", "teacher_weight", "temperature", "norm_batches", "device", "compile", "world_size",
    "sync_bn", "tf32", "cudnn_benchmark",
    "log_every", "max_minutes", "resume", "run_dir", "save_minutes"
}


def test_none_forgotten(): assert TESTED == {f.name for f in fields(Recipe)}
