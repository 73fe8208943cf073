"""A matrix network × step over networks of torchvision and timm: random weights, small inputs.

    nice python scripts/matrix.py                    # all that results/networks.json has not yet
    python scripts/matrix.py --only "tv resnet18" --again
    python scripts/matrix.py --table results/networks.json

Each network has a process and 120 s of its own. A cell begins with right, refused, told (wrong,
but the user hears of it), wrong, crash or time; near is for the form that need not be exact, and
for floats behind a tie.
"""
import argparse
import copy
import inspect
import io
import json
import math
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
LIMIT, SEED, BATCH, BITS = 120, 0, 2, 4
TIES = 2  # codes that float32 may round otherwise than exact arithmetic
STEPS = ("read", "eval32", "train32", "layers", "calibrate", "levels", "check", "step", "save",
         "cost", "convert", "packed", "qdq", "integer", "fast")
VERSIONS = ("torch", "torchvision", "timm", "onnx", "onnxruntime")


def tv(name: str, size: int = 32, wrap: str = "", **how) -> tuple:
    return "tv", name, size, wrap, how


def ti(name: str, size: int = 64, **how) -> tuple: return "timm", name, size, "", how


NETWORKS = {
    "tv resnet18": tv("resnet18"),
    "tv resnet18, DataParallel": tv("resnet18", wrap="parallel"),
    "tv resnet18, compiled": tv("resnet18", wrap="compiled"),
    "tv vgg11_bn, cut": tv("vgg11_bn"),
    "tv vgg16, cut": tv("vgg16"),
    "tv alexnet, cut": tv("alexnet", 64),
    "tv squeezenet1_1": tv("squeezenet1_1", 64),
    "tv shufflenet_v2_x1_0": tv("shufflenet_v2_x1_0"),
    "tv mobilenet_v2": tv("mobilenet_v2"),
    "tv mobilenet_v3_small": tv("mobilenet_v3_small"),
    "tv mnasnet0_5": tv("mnasnet0_5"),
    "tv regnet_x_400mf": tv("regnet_x_400mf"),
    "tv regnet_y_400mf": tv("regnet_y_400mf"),
    "tv efficientnet_b0": tv("efficientnet_b0"),
    "tv densenet121": tv("densenet121"),
    "tv resnext50_32x4d": tv("resnext50_32x4d"),
    "tv wide resnet, cut": tv("ResNet", block="Bottleneck", layers=[1, 1, 1, 1],
                              width_per_group=128),
    "tv googlenet": tv("googlenet", 64, init_weights=False),
    "tv googlenet, no aux": tv("googlenet", 64, init_weights=False, aux_logits=False),
    "tv inception_v3": tv("inception_v3", 299, init_weights=False),
    "tv inception_v3, no aux": tv("inception_v3", 96, init_weights=False, aux_logits=False),
    "tv deeplabv3_mobilenet": tv("deeplabv3_mobilenet_v3_large", 64, weights_backbone=None),
    "tv fcn_resnet50": tv("fcn_resnet50", 64, weights_backbone=None),
    "tv convnext, cut": tv("ConvNeXt", block_setting=[(48, 96, 2), (96, 192, 2), (192, None, 2)]),
    "tv vit, cut": tv("VisionTransformer", 32, image_size=32, patch_size=8, num_layers=2,
                      num_heads=2, hidden_dim=48, mlp_dim=96),
    "tv swin, cut": tv("SwinTransformer", 64, patch_size=[4, 4], embed_dim=24, depths=[2, 2],
                       num_heads=[2, 4], window_size=[4, 4]),
    "timm resnet18": ti("resnet18"),
    "timm resnet26d": ti("resnet26d"),
    "timm resnest14d": ti("resnest14d"),
    "timm skresnet18": ti("skresnet18"),
    "timm nf_resnet26": ti("nf_resnet26"),
    "timm eca_nfnet_l0": ti("eca_nfnet_l0"),
    "timm mobilenetv2_100": ti("mobilenetv2_100"),
    "timm mobilenetv3_small_050": ti("mobilenetv3_small_050"),
    "timm tf_mobilenetv3_small_minimal_100": ti("tf_mobilenetv3_small_minimal_100"),
    "timm tf_efficientnet_lite0": ti("tf_efficientnet_lite0"),
    "timm efficientnet_b0": ti("efficientnet_b0"),
    "timm ghostnet_100": ti("ghostnet_100"),
    "timm repvgg_a0": ti("repvgg_a0"),
    "timm mobileone_s0": ti("mobileone_s0"),
    "timm cspresnet50": ti("cspresnet50"),
    "timm vovnet39a": ti("vovnet39a"),
    "timm dla34": ti("dla34"),
    "timm hrnet_w18_small": ti("hrnet_w18_small"),
    "timm mixer_s32_224": ti("mixer_s32_224", img_size=64),
    "timm convnext_atto": ti("convnext_atto"),
    "timm edgenext_xx_small": ti("edgenext_xx_small"),
    "timm vit_tiny_patch16_224": ti("vit_tiny_patch16_224", img_size=64),
}


def built(name: str):
    "The network, its batch norms settled on two batches, and one batch of input."
    import timm
    import torch
    import torchvision
    torch.manual_seed(SEED)
    origin, what, size, _, how = NETWORKS[name]
    if origin == "timm": net = timm.create_model(what, num_classes=10, pretrained=False, **how)
    else:
        models, how = torchvision.models, parts(how)
        places = models, models.segmentation
        net = next(getattr(m, what) for m in places if hasattr(m, what))(num_classes=10, **how)
    x, many = torch.randn(BATCH, 3, size, size), 2 if size > 200 else 8
    larger = 64 if size == 32 and "image_size" not in how else size
    if what in ("vgg11_bn", "vgg16", "alexnet"): narrow(net.classifier)
    with torch.no_grad(): nothing_zero(net)
    settle(net, torch.randn(2, many, 3, larger, larger))
    return net.eval(), x


def parts(how: dict) -> dict:
    "Settings whose values are classes of torchvision."
    from torchvision.models import convnext, resnet
    how = dict(how)
    if "block" in how: how["block"] = getattr(resnet, how["block"])
    if "block_setting" in how:
        how["block_setting"] = [convnext.CNBlockConfig(*s) for s in how["block_setting"]]
    return how


def narrow(head) -> None:
    "A head of three linear layers with 64 hidden values in place of 4096."
    from torch.nn import Linear
    places = [i for i, m in enumerate(head) if isinstance(m, Linear)]
    sizes = [head[places[0]].in_features, 64, 64, 10]
    for i, a, b in zip(places, sizes, sizes[1:]): head[i] = Linear(a, b)


def nothing_zero(net) -> None:
    "Random numbers in weights that start at 0, so that no branch and no head is idle."
    for n, p in net.named_parameters():
        if n.endswith("weight") and not p.any(): p.normal_(1.0 if p.dim() == 1 else 0.0, 0.1)


def settle(net, batches) -> None:
    "Running statistics of all batches alike."
    import torch
    norms = [m for m in net.modules() if hasattr(m, "momentum") and hasattr(m, "running_mean")]
    usual = [m.momentum for m in norms]
    for m in norms: m.momentum = None
    with torch.no_grad():
        for x in batches: net.train()(x)
    for m, old in zip(norms, usual): m.momentum = old


class Way:
    "One network on its way through the steps; what later steps need is kept on it."
    def __init__(self, name: str):
        from pact_nb.layers import quantize
        self.base, self.x = built(name)
        self.wrap, self.said, self.low, self.net = NETWORKS[name][3], [], None, None
        self.has_x = "x" in inspect.signature(quantize).parameters

    def copy(self):
        "A float network of its own, wrapped as users wrap it."
        import torch
        net = copy.deepcopy(self.base)
        if self.wrap == "parallel": return torch.nn.DataParallel(net)
        return torch.compile(net, backend="eager") if self.wrap == "compiled" else net

    def quantized(self, bits: int, **how):
        from pact_nb.layers import quantize
        if self.has_x: how["x"] = self.x
        return quantize(self.copy(), bits, bits, **how)

    @property
    def rows(self) -> list[dict]:
        from pact_nb.layers import report
        return list(report(self.low))


def read(w: Way) -> str:
    w.low = w.quantized(BITS)
    unknown = any(r["a_bits"] is None or "not traced" in (r["note"] or "") for r in w.rows)
    return "modules" if unknown else "graph"


def eval32(w: Way) -> str:
    import torch
    from judge import same
    low = w.quantized(32, activation="relu").eval()
    with torch.no_grad(): return "right" if same(w.copy().eval()(w.x), low(w.x)) else "wrong"


def train32(w: Way) -> str:
    import torch
    from judge import plain, same
    found = []
    for net in (w.copy(), w.quantized(32, activation="relu")):
        torch.manual_seed(SEED)
        with torch.no_grad(): out = net.train()(w.x)
        found.append((out, {plain(n): b for n, b in net.named_buffers()}))
    (out, buffers), (mine, my_buffers) = found
    if not same(out, mine): return "wrong: output"
    off = [n for n, b in buffers.items() if n not in my_buffers or not same(b, my_buffers[n])]
    return f"wrong: buffers, {off[0]}" if off else "right"


def layers(w: Way) -> str:
    from judge import is_low
    low = sum(is_low(r, "w_bits") for r in w.rows)
    left = sum("not converted" in (r["note"] or "") for r in w.rows)
    return f"{low} / {len(w.rows) - low - left} / {left}"


def calibrate(w: Way) -> str:
    import torch
    from judge import leaves
    from pact_nb.layers import calibrate
    calibrate(w.low.eval(), w.x)
    def most(net): return max(t.abs().max().item() for t in leaves(net(w.x)) if t.numel())
    with torch.no_grad(): now, was = most(w.low), most(w.copy().eval())
    if not math.isfinite(now): return "wrong: not finite"
    told = any("scale" in s or "post_training" in s for s in w.said)
    return f"{'right' if now < 20 * was else 'told' if told else 'wrong'}: ×{now / was:.2g}"


def levels(w: Way) -> str:
    from judge import count
    from pact_nb.layers import check_levels
    n, bad = count(w.low, (w.x,), w.rows)
    if not bad: return f"right: {n}"
    try: check_levels(w.low, w.x)
    except ValueError: return f"told: {len(bad)} of {n}, {bad[0]}"
    return f"wrong: {len(bad)} of {n}, {bad[0]}"


def check(w: Way) -> str:
    from pact_nb.layers import check_levels
    return f"right: {len(check_levels(w.low, w.x))}"


def step(w: Way) -> str:
    import torch
    from judge import is_low, leaves, loss_of, names
    low = copy.deepcopy(w.low).train()
    loss = loss_of(low(w.x))
    if not math.isfinite(loss.item()): return "wrong: loss not finite"
    loss.backward()
    rows = [r for r in w.rows if is_low(r, "w_bits")]
    want = {r["layer"] + ".weight" for r in rows} | {n + ".alpha" for r in rows for n in names(r)}
    params = dict(low.named_parameters(remove_duplicate=False))
    if idle := [n for n in want if n in params and params[n].grad is None]:
        return f"wrong: {len(idle)} without gradient, {idle[0]}"
    moved = [p for p in low.parameters() if p.grad is not None]
    torch.nn.utils.clip_grad_norm_(moved, 1.0)
    torch.optim.SGD(moved, 1e-3).step()
    fine = all(t.isfinite().all() for t in leaves(low(w.x)))
    return "right" if fine else "wrong: not finite after a step"


def save(w: Way) -> str:
    import torch
    from judge import same
    file = io.BytesIO()
    torch.save(w.low.state_dict(), file)
    file.seek(0)
    other = w.quantized(BITS)
    with torch.no_grad():
        for p in other.parameters(): p.mul_(0.5)
        other.load_state_dict(torch.load(file, weights_only=True))
        return "right" if same(w.low.eval()(w.x), other.eval()(w.x)) else "wrong"


def products(net, x) -> int:
    "Multiply-accumulates of convolutions and matrix products with weights, by torch's counter."
    from torch.utils.flop_counter import FlopCounterMode
    # without gradient attention hides its own
    with FlopCounterMode(display=False) as counter: net(x)
    kinds = counter.get_flop_counts()["Global"]
    return sum(n for op, n in kinds.items() if str(op).split(".")[1] in MATRIX) // 2


MATRIX = "convolution", "_convolution", "addmm", "mm"


def cost(w: Way) -> str:
    from pact_nb.cost import cost
    mine = sum(r["macs"] for r in cost(w.low.eval(), w.x)) * BATCH
    share = mine / products(copy.deepcopy(w.base).eval(), w.x)
    return "right" if 0.999 < share < 1.001 else f"wrong: {share:.1%}"


def convert(w: Way) -> str:
    from pact_nb.integer import agreement, convert
    w.net = None
    net = convert(w.low.eval(), w.x)
    told = agreement(w.low, net, [w.x])
    codes, off = (sum(r[k] for r in told["layers"].values()) for k in ("codes", "differ"))
    w.net, w.ties = net, off
    done = f"{sum(r['integer'] for r in net.layers)} of {len(net.layers)}"
    if off > TIES + 1e-6 * codes: return f"wrong: {off} of {codes} codes"
    return f"right: {done}" + (f", {off} of {codes} codes on a tie" if off else "")


def packed(w: Way) -> str:
    from judge import same
    from pact_nb.packed import load_network, save_network
    with tempfile.TemporaryDirectory() as folder:
        save_network(w.net, path := Path(folder) / "network.safetensors")
        return "right" if same(w.net(w.x)[0], load_network(path)[0](w.x)[0]) else "wrong"


def onnx(w: Way, form: str) -> str:
    from pact_nb.onnx_export import export_onnx
    from pact_nb.onnx_graph import onnx_agreement
    with tempfile.TemporaryDirectory() as folder:
        made = export_onnx(w.net, Path(folder) / "n.onnx", form, w.x)
        told = onnx_agreement(w.net, made, [w.x])
    if not told["differ"]: return f"right: {told['codes']}"
    near = form == "fast" or (form == "qdq" and w.ties)  # what follows a tie differs too
    return f"{'near' if near else 'wrong'}: {told['differ']} of {told['codes']} codes"


def qdq(w: Way) -> str: return onnx(w, "qdq")
def integer(w: Way) -> str: return onnx(w, "integer")
def fast(w: Way) -> str: return onnx(w, "fast")


WORK = {f.__name__: f for f in (read, eval32, train32, layers, calibrate, levels, check, step, save,
                                cost, convert, packed, qdq, integer, fast)}


def needed(step: str, w: Way) -> bool:
    "Whether what a step stands on is there."
    if step in ("read", "eval32", "train32"): return True
    return w.net is not None if step in STEPS[-4:] else w.low is not None


def cell(step: str, w: Way) -> str:
    "One cell, in few words."
    if not needed(step, w): return "–"
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try: return WORK[step](w)[:100]
        except ValueError as e: return f"refused: {words(e)}"
        except Exception as e: return f"crash: {type(e).__name__}: {words(e)}"
        finally: w.said += [str(h.message) for h in heard]


def words(e: Exception) -> str: return " ".join(str(e).split())[:80]


def child(name: str) -> None:
    "All steps of one network; a line of JSON as soon as a cell is known."
    import torch
    torch.set_num_threads(1)
    w = Way(name)
    for s in STEPS: print(json.dumps({s: cell(s, w)}), flush=True)


def one(name: str, limit: int = LIMIT) -> dict:
    "The row of a network, from a process of its own."
    begin, cells = time.time(), {}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        p = subprocess.Popen([sys.executable, __file__, "--one", name], stdout=out, stderr=err)
        try: rc = p.wait(limit)
        except subprocess.TimeoutExpired: rc = p.kill() or "time"
        p.wait()
        out.seek(0), err.seek(0)
        for line in out: cells |= json.loads(line)
        why = "time" if rc == "time" else f"crash: {err.read().strip()[-80:]}"
    missing = [s for s in STEPS if s not in cells]
    cells |= {s: why if s == missing[0] else "–" for s in missing}
    return dict(cells, seconds=round(time.time() - begin))


def verdict(row: dict) -> str:
    "The worst that happened, but for what only convert and the exports refuse."
    def any_of(word, steps=STEPS): return any(row[s].startswith(word) for s in steps)
    for word in ("wrong", "crash", "time"):
        if any_of(word): return word
    if any_of("told") or any_of("refused", STEPS[:10]): return "refused or told"
    return "modules" if row["read"] == "modules" else "right" if row["convert"][0] == "r" and not \
        any_of("refused") else "right, no integer form"


def told(rows: dict) -> dict:
    "Counts: verdicts of networks, and words of each step."
    def tally(words): return {w: words.count(w) for w in sorted(set(words))}
    steps = {s: tally([r[s].split(":")[0] for r in rows.values()]) for s in STEPS if s != "layers"}
    return dict(networks=tally([verdict(r) for r in rows.values()]), steps=steps)


def table(found: dict) -> str:
    "The matrix as text."
    rows = found["networks"]
    lines = [" | ".join(("network", "verdict", *STEPS, "s"))]
    for name, r in rows.items():
        lines.append(" | ".join((name, verdict(r), *(r[s][:34] for s in STEPS), str(r["seconds"]))))
    return "\n".join((*lines, json.dumps(told(rows), indent=1)))


def head(commit: str, limit: int) -> dict:
    now = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=ROOT, capture_output=True)
    return dict(commit=commit or now.stdout.decode().strip(), seed=SEED, batch=BATCH, bits=BITS,
                limit_s=limit, command=" ".join(["python", *sys.argv]),
                python=sys.version.split()[0], versions={n: version(n) for n in VERSIONS})


def all_of(out: Path, names: list[str], again: bool, jobs: int, limit: int, commit: str) -> dict:
    "Every network that the file has not yet; the file is written after each."
    old = json.loads(out.read_text(encoding="utf8"))["networks"] if out.exists() else {}
    todo = [n for n in names if again or n not in old]
    def work(name):
        old[name] = one(name, limit)
        print(f"{name}: {verdict(old[name])}, {old[name]['seconds']} s", flush=True)
        rows = {n: old[n] for n in NETWORKS if n in old}
        found = head(commit, limit) | dict(counts=told(rows), networks=rows)
        out.write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n", encoding="utf8")
    with ThreadPoolExecutor(jobs) as pool: list(pool.map(work, todo))
    return json.loads(out.read_text(encoding="utf8"))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", type=Path, default=ROOT / "results/networks.json")
    p.add_argument("--only", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    p.add_argument("--again", action="store_true", help="networks of the file as well")
    p.add_argument("--jobs", type=int, default=2, help="networks at once, one core each")
    p.add_argument("--limit", type=int, default=LIMIT, help="seconds for one network")
    p.add_argument("--commit", default="", help="what to write as commit")
    p.add_argument("--one", help=argparse.SUPPRESS)
    p.add_argument("--table", type=Path, help="print the table of a file")
    a = p.parse_args()
    if a.one: return child(a.one)
    if a.table: return print(table(json.loads(a.table.read_text(encoding="utf8"))))
    if unknown := sorted(set(a.only) - set(NETWORKS)):
        p.error(f"no network is called {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    print(table(all_of(a.out, a.only, a.again, a.jobs, a.limit, a.commit)))


if __name__ == "__main__": main()
