"""Every network of `networks.py` from a 32-bit copy to a saved state: right, or refused by name.

`python -m pytest tests/test_networks.py -q` takes under two minutes on one core.
"""
import copy
import inspect
import io
import math
import random
import builtins
import re
import threading
import warnings

import pytest
import torch
from judge import count, is_low, leaves, loss_of, names, plain, rows_of, same, unlisted
from networks import CASES, Case
from torch import nn
from torch.nn.parameter import is_lazy

from pact_nb.graph import in_evaluation
from pact_nb.layers import calibrate, check_levels, quantize, report
from pact_nb.pact import PACT, SignedPACT

torch.set_num_threads(1)
HAS_X = "x" in inspect.signature(quantize).parameters


class Refused(Exception):
    "The package said no: at which step, in which words."
    def __init__(self, step: str, words: str):
        super().__init__(f"{step}: {words}")
        self.words = words


class Bench:
    "One network on its way through the steps, with all that was said."
    def __init__(self, case: Case):
        self.case, self.said, self.x = case, [], case.x()

    def ask(self, step: str, call, *args, **kwargs):
        "Call the package; a ValueError is a refusal, warnings are kept."
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try: return call(*args, **kwargs)
            except ValueError as e: raise Refused(step, str(e)) from e
            finally: self.said += [str(w.message) for w in heard]

    def copy(self, w: int, a: int, seed: int = 0, look: bool = True, **more) -> nn.Module:
        "A quantized copy of a network made anew."
        if look and HAS_X: more["x"] = self.given
        return self.ask(f"quantize at {w} bits", quantize, self.case.make(seed), w, a, **more)

    @property
    def given(self): return self.x if len(self.x) > 1 else self.x[0]
    def skips(self, step: str) -> bool: return step in self.case.without

    def mode(self, net: nn.Module, training: bool) -> nn.Module:
        return net if self.skips("modes") else net.train(training)


def state(net: nn.Module) -> dict:
    tensors = net.state_dict().items()
    return {plain(n): t.detach().clone() for n, t in tensors if not is_lazy(t)}


def differs(a: dict, b: dict) -> list[str]:
    "Names in `a` whose tensor is another one in `b`, or not there."
    return [n for n, t in a.items() if n not in b or not torch.equal(t, b[n])]


def untouched(bench: Bench) -> None:
    "quantize changes nothing in the network it is given."
    net = bench.mode(bench.case.make(), False)
    before, modes = state(net), [m.training for m in net.modules()]
    more = dict(x=bench.given) if HAS_X else {}
    bench.ask("quantize", quantize, net, 4, 4, **more, **bench.case.options)
    assert not differs(before, state(net)), "the network itself was changed"
    assert modes == [m.training for m in net.modules()], "the network changed its mode"


def equal_in_evaluation(bench: Bench) -> None:
    net, low = bench.case.make(), bench.copy(32, 32, activation="relu")
    lost = differs(state(net), state(low))
    assert not lost, f"state lost or changed: {', '.join(lost)}"
    net, low = (bench.mode(m, False) for m in (net, low))
    with torch.no_grad(): assert same(net(*bench.x), low(*bench.x)), "32 bits differ, evaluation"
    assert same(net(*bench.x), low(*bench.x)), "32 bits differ, evaluation with gradient"


def close(a, b) -> bool:
    "Equal but for rounding."
    a, b = leaves(a), leaves(b)
    return len(a) == len(b) and all(torch.allclose(s, t, 1e-4, 1e-5) for s, t in zip(a, b))


def equal_with_clips(bench: Bench) -> None:
    "Every activation clipped far out, none rounded: the same numbers."
    net, low = bench.case.make(), bench.copy(32, 32, alpha=1e6)
    net, low = (bench.mode(m, False) for m in (net, low))
    with torch.no_grad(): assert close(net(*bench.x), low(*bench.x)), "clips alone change it"


def trained(net: nn.Module, x: tuple, seed: int) -> tuple:
    "Results, buffers and gradients of two calls in training mode."
    torch.manual_seed(seed)
    random.seed(seed)
    net.train()
    first, second = net(*x), net(*x)
    loss_of(second).backward()
    grads = {plain(n): p.grad for n, p in net.named_parameters() if p.grad is not None}
    return [first, second], {plain(n): b for n, b in net.named_buffers()}, grads


def equal_in_training(bench: Bench) -> None:
    low = bench.copy(32, 32, activation="relu")
    for seed in range(1 + 2 * ("rand" in bench.case.expect)):
        net = bench.case.make()
        outs, buffers, grads = trained(net, bench.x, seed)
        mine, my_buffers, my_grads = trained(copy.deepcopy(low), bench.x, seed)
        assert same(outs, mine), "32 bits differ, training"
        moved = differs(buffers, my_buffers)
        assert not moved, f"buffers differ after training: {', '.join(moved)}"
        assert grads.keys() == my_grads.keys(), f"gradients of {set(grads) ^ set(my_grads)}"
        off = [n for n, g in grads.items() if not torch.allclose(g, my_grads[n], 1e-4, 1e-6)]
        assert not off, f"other gradients: {', '.join(off)}"


def heard_without_x(bench: Bench) -> None:
    "Without an example, a copy that is another network is at least warned of."
    quiet = Bench(bench.case)
    try: low = quiet.copy(32, 32, look=False, activation="relu")
    except Refused: return
    net = bench.case.make()
    net, low = (bench.mode(m, False) for m in (net, low))
    try: alike = same(net(*bench.x), low(*bench.x))
    except TypeError: alike = False  # an input that the copy does not take
    assert alike or quiet.said, "without x another network, unheard"


def reported(bench: Bench, low: nn.Module) -> dict[str, dict]:
    "The rows of the report by plain name, after a look at what must stand there."
    told = bench.ask("report", report, low)
    for net in (low, bench.case.make()):
        missing = unlisted(dict(net.named_parameters()), told)
        assert not missing, f"report has no row for {', '.join(missing)}"
    rows = {plain(n): r for n, r in rows_of(told).items()}
    assert len(rows) == len(told), "two rows of one name"
    return rows


def signs(low: nn.Module, row: dict) -> list[bool]:
    "Whether each quantizer that a layer reads is two-sided."
    return [isinstance(low.get_submodule(n), SignedPACT) for n in names(row)]


def as_expected(case: Case, low: nn.Module, rows: dict) -> None:
    "The layers that must be low-bit, float, or read a certain grid."
    for n in case.low:
        got = [rows[n][b] for b in ("w_bits", "a_bits")] if n in rows else None
        assert got == [4, 4], f"{n} must be 4/4; report says {got}"
    for n in case.whole: assert n in rows and not is_low(rows[n], "w_bits"), f"{n} must be float"
    for n in case.unsigned: assert not any(signs(low, rows[n])), f"{n} reads a two-sided grid"
    for n in case.signed: assert all(signs(low, rows[n])), f"{n} reads an unsigned grid"


def lowered(bench: Bench) -> nn.Module:
    "Quantize at 4 bits, report, calibrate, check, and count for oneself."
    low, case = bench.copy(4, 4, **bench.case.options), bench.case
    reported(bench, low)
    bench.mode(low, not (bench.skips("modes") or bench.skips("calibrate in training")))
    bench.ask("calibrate", calibrate, low, bench.given)
    checked = bench.ask("check_levels", check_levels, bench.mode(low, False), bench.given)
    rows = reported(bench, low)
    n, bad = count(low, bench.x, list(report(low))) if not bench.skips("modes") else (0, [])
    assert not bad, "; ".join(bad)
    claims = [r for r in rows.values() if is_low(r, "a_bits")]
    assert len(checked) >= len(claims), f"{len(checked)} checked of {len(claims)} that claim"
    as_expected(case, low, rows)
    return low


def learners(low: nn.Module, float_grads: set) -> dict[str, nn.Parameter]:
    "The weights and α of low-bit layers that training must reach."
    found = {}
    for r in report(low):
        name = f"{plain(r['layer'])}.weight"
        if not is_low(r, "w_bits") or name not in float_grads: continue
        found[name] = low.get_submodule(r["layer"]).weight
        found |= {n: low.get_submodule(n).alpha for n in names(r)}
    return found


def one_step(bench: Bench, low: nn.Module) -> None:
    low = copy.deepcopy(low).train()
    reached = set(trained(bench.case.make(), bench.x, 0)[2])
    loss = loss_of(low(*bench.x))
    assert math.isfinite(loss.item()), "the loss is not finite"
    loss.backward()
    for n, p in learners(low, reached).items():
        if n.endswith("alpha") and bench.skips("alpha"): continue
        assert p.grad is not None, f"{n} gets no gradient"
        assert p.grad.isfinite().all(), f"the gradient of {n} is not finite"
    moved = [p for p in low.parameters() if p.grad is not None]
    nn.utils.clip_grad_norm_(moved, 1.0)
    torch.optim.SGD(moved, 1e-3).step()
    assert all(t.isfinite().all() for t in leaves(low(*bench.x))), "not finite after a step"


def saved_and_loaded(bench: Bench, low: nn.Module) -> None:
    "The state in a file, loaded into a low-bit copy of a network with other weights."
    file, low = io.BytesIO(), bench.mode(copy.deepcopy(low), False)
    torch.save(low.state_dict(), file)
    file.seek(0)
    other = bench.mode(bench.copy(4, 4, seed=1, **bench.case.options), False)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert same(low(*bench.x), other(*bench.x)), "a loaded network is another one"


def whole_way(bench: Bench) -> None:
    "All steps in order."
    untouched(bench)
    equal_in_evaluation(bench)
    equal_with_clips(bench)
    if not bench.skips("train"): equal_in_training(bench)
    heard_without_x(bench)
    low = lowered(bench)
    if not bench.skips("step"): one_step(bench, low)
    saved_and_loaded(bench, low)
    if not (extra := bench.case.extra): return
    extra(bench.case.make(), copy.deepcopy(low), bench.x, bench.said)


def holds(text: str, words: str) -> bool:
    "Whether one of the words is in a text; short ones, names of layers, by themselves alone."
    def there(w): return re.search(rf"(?<!\w){re.escape(w)}(?!\w)" if len(w) < 4 else w, text, re.I)
    return any(there(w) for w in words.split("|"))


def verdict(case: Case) -> None:
    "AssertionError where a network comes to another end than it must."
    bench, (expect, _, words) = Bench(case), case.expect.partition(":")
    try: whole_way(bench)
    except Refused as e:
        assert expect.endswith("refused") or expect == "told", f"refused at {e}"
        if expect.startswith("right"): words += "|32-bit|32 bits"  # found by comparing, not by name
        assert holds(e.words, words), f"refused, but not by name ({words}): {e}"
        return
    assert expect != "refused", f"must be refused, naming {words}"
    heard = any(holds(w, words) for w in bench.said)
    assert expect not in ("warned", "told") or heard, f"nobody said {words}; heard {bench.said}"


@pytest.mark.parametrize("name", CASES)
def test_right_or_refused(name):
    verdict(CASES[name])


def test_takes_an_example():
    assert HAS_X, "quantize has no argument x"


@pytest.mark.parametrize("what", [None, "resnet18", nn.Linear, [nn.Linear(2, 2)]])
def test_no_network(what):
    with pytest.raises(TypeError, match="odule"): quantize(what, 4, 4)


def test_meta_device():
    "α is born where the network is."
    with torch.device("meta"): net = CASES["sequential with batch norm"].make()
    low = quantize(net, 4, 4, w_quant="lsq")
    assert {t.device.type for t in (*low.parameters(), *low.buffers())} == {"meta"}
    assert low(torch.zeros(2, 3, 8, 8, device="meta")).shape == (2, 4)


@pytest.mark.parametrize("w_quant", ["lsq", "pact"])
def test_learned_clip_of_other_bits(w_quant):
    "A state of 8 bits in a network of 2: refused, or weights that are not all 0."
    net = CASES["three functional relus"].make()
    low = quantize(net, 2, 4, w_quant=w_quant)
    try: low.load_state_dict(quantize(net, 8, 4, w_quant=w_quant).state_dict())
    except (RuntimeError, ValueError): return
    assert all((low.get_submodule(n).quant_weight() != 0).float().mean() > 0.3 for n in "bc")


@pytest.mark.parametrize("ask", [check_levels, calibrate])
def test_float_network_is_no_pass(ask):
    "Nothing to check is a complaint."
    case = CASES["three functional relus"]
    with pytest.raises(ValueError): ask(case.make(), case.x()[0])


def test_twice_is_once():
    "A network quantized again is the same network."
    case = CASES["sequential with batch norm"]
    low = quantize(case.make(), 4, 4).eval()
    calibrate(low, case.x()[0])
    assert same(quantize(low, 4, 4).eval()(*case.x()), low(*case.x()))


def test_stochastic_depth_is_gone_in_evaluation():
    case = CASES["randomdepthfunction"]
    low = quantize(case.make(), w_bits=4, a_bits=4)
    calls = lambda g: sum(type(m).__name__ == "TrainingOnly" for n in g.graph.nodes
                          if n.op == "call_module" and (m := g.get_submodule(n.target)) is not None)
    assert (calls(low), calls(alone := in_evaluation(low))) == (2, 0)
    assert torch.equal(low.eval()(*case.x()), alone(*case.x()))


def test_detector_around_a_low_network():
    "A quantized trunk inside a network of one's own, and inside DataParallel."
    case = CASES["lists"]
    low = quantize(case.make(), 4, 4)
    calibrate(low, case.x()[0])
    for outer in (nn.Sequential(low, nn.Softmax(1)), nn.DataParallel(low)):
        assert len(check_levels(outer, case.x()[0])) == 3


def test_dead_activation():
    "An activation that nothing reaches: a way on, or a word that names it."
    net = CASES["three functional relus"].make()
    net.b.bias.data.fill_(-100.0)
    low, x = quantize(net, 4, 4), CASES["three functional relus"].x()[0]
    acts = [n for n, m in low.named_modules() if isinstance(m, PACT)]
    try: calibrate(low, x)
    except ValueError as e: assert any(n in str(e) for n in acts)


def looked_at(spoil) -> list[str]:
    "What the judge says of a sound network that was spoilt after its report."
    case = CASES["three functional relus"]
    low = quantize(case.make(), 4, 4)
    calibrate(low, case.x()[0])
    told = list(report(low))
    spoil(low)
    return count(low, case.x(), told)[1]


def _no_rounding(low):
    for m in low.modules():
        if isinstance(m, PACT): m.k = 32


@pytest.mark.parametrize("spoil, word", [
    (lambda low: None, ""), (_no_rounding, "rounds nothing"),
    (lambda low: setattr(low.b, "w_bits", 32), "float weight"),
    (lambda low: setattr(low.b, "w_bits", 6), "b multiplies with"),
    (lambda low: low.b.register_forward_pre_hook(lambda m, a: (a[0] + 0.01,)), "off its levels"),
    (lambda low: setattr(low.b, "forward", lambda x: nn.Conv2d.forward(low.b, x)), "float weight"),
    (lambda low: setattr(low.b, "forward", lambda x: x[..., 1:-1, 1:-1]), "was not seen")])
def test_the_judge(spoil, word):
    "The judge finds nothing in a sound network and each kind of fault in a spoilt one."
    said = looked_at(spoil)
    assert any(word in s for s in said) if word else not said, said


class Bounded(nn.Module):
    "Pixels are bounded and scaled first."
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x.clamp(0, 255) / 255)))))


def test_bound_on_the_input():
    "It is no activation: it stays as it is, and no α learns there."
    low, x, read = quantize(Bounded(), 4, 4), torch.rand(4, 3, 8, 8) * 255, []
    low.a.register_forward_pre_hook(lambda m, args: read.append(args[0]))
    low(x)
    assert torch.equal(read[0], x / 255)
    assert sum(isinstance(m, PACT) for m in low.modules()) == 2


class Pieces(nn.Module):
    "As in the blocks of YOLOv8: pieces beside what is made of the last one."
    def __init__(self, cut):
        super().__init__()
        self.a, self.b, self.c, self.cut = (
            nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1), nn.Conv2d(12, 4, 1), cut)

    def forward(self, x):
        parts = list(self.cut(torch.relu(self.b(torch.relu(self.a(x))))))
        return self.c(torch.cat([*parts, torch.cat(parts, 1) * 2], 1))


@pytest.mark.parametrize("cut", [
    lambda t: t.chunk(2, 1), lambda t: torch.chunk(t, chunks=3, dim=1),
    lambda t: t.split([1, 5], 1), lambda t: torch.tensor_split(t, (1, 4), 1),
    lambda t: t.split(split_size=[2, 4], dim=1)])
def test_list_of_pieces(cut):
    net, x = Pieces(cut), torch.randn(2, 3, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low = quantize(net, 32, 32, activation="relu", x=x)
    assert torch.equal(low(x), net(x))


def test_one_trace_at_a_time():
    "A trace replaces functions that all threads share; a thread that does not trace may ask."
    net, failed, tracing = Bounded(), [], threading.Event()
    real = builtins.isinstance, torch.is_grad_enabled
    def caught(work):
        try: work()
        except Exception as e: failed.append(e)
    def traces():
        for _ in range(5): quantize(net, 4, 4)
    def asks():
        while tracing.is_set(): torch.is_grad_enabled()
    tracing.set()
    tracers = [threading.Thread(target=caught, args=(traces,)) for _ in range(3)]
    asker = threading.Thread(target=caught, args=(asks,))
    for t in (*tracers, asker): t.start()
    for t in tracers: t.join()
    tracing.clear()
    asker.join()
    assert failed == [] and real == (builtins.isinstance, torch.is_grad_enabled)


def test_hook_that_makes_the_weight():
    "As in equalised learning rates: before its first run the layer has none."
    net = tower_of_two()
    w = net[2].weight
    del net[2].weight
    net[2].register_parameter("weight_orig", w)
    net[2].register_forward_pre_hook(lambda m, a: setattr(m, "weight", m.weight_orig * 0.2))
    with pytest.raises(ValueError, match="weight of 2 is computed by a hook"): quantize(net, 4, 4)


def tower_of_two():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(),
                         nn.Conv2d(8, 4, 1))


def test_attribute_of_the_users():
    "A name of the user's is not taken for one of ours."
    from pact_nb.integer import convert
    net = tower_of_two()
    net[2].kind = "depthwise"
    low, x = quantize(net, 4, 4).eval(), torch.randn(2, 3, 8, 8)
    calibrate(low, x)
    assert torch.allclose(convert(low, x)(x)[0], low(x), atol=1e-5)


def refused(part, call, error=(TypeError, ValueError)):
    with pytest.raises(error, match=part): call()


def test_what_is_no_network_of_torch():
    from torch.nn.utils import prune

    from pact_nb.tracing import check_network, copied
    line = nn.Sequential(nn.Linear(2, 2))
    assert type(check_network(nn.DataParallel(line))) is nn.Sequential
    assert list(copied(nn.Sequential(nn.DataParallel(nn.Linear(2, 2)))).state_dict()) == [
        "0.weight", "0.bias"]
    exported = torch.export.export(line, (torch.zeros(1, 2),)).module()
    pruned = prune.l1_unstructured(nn.Conv2d(3, 8, 3), "weight", 0.5)
    pruned(torch.randn(1, 3, 4, 4))
    refused("must be a torch.nn.Module; got str", lambda: check_network("resnet18"))
    refused("Make a network of it first", lambda: check_network(nn.Sequential))
    refused("an exported program", lambda: check_network(exported))
    refused("quantize the Python network", lambda: check_network(torch.jit.script(line)))
    refused("run the network once", lambda: check_network(nn.Sequential(nn.LazyLinear(2))))
    refused("prune.remove", lambda: copied(pruned))


def test_hooks_on_parameters_are_told():
    net = tower_of_two()
    net[2].weight.register_hook(lambda g: g * 0)
    with pytest.warns(UserWarning, match="hooks on the parameters 2.weight stay behind"):
        quantize(net, 4, 4)
