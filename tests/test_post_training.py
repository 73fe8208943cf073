"Post-training quantization of networks that share, freeze or never use a part."
import warnings

import pytest
import torch
from torch import nn

from pact_nb.calibration import post_training
from pact_nb.layers import calibrate, quantize


def two() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(),
                         nn.Flatten(), nn.Linear(128, 2))


def images(): return torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_one_bias_of_two_layers():
    net = two()
    net[2].bias = net[0].bias
    with pytest.raises(ValueError, match="0 and 2 share one bias"):
        post_training(net, images(), None, 4, 4, repair="bias")


def test_activation_that_never_fires():
    net, x = two(), images()
    net[2].bias.data.fill_(-99.0)
    with pytest.raises(ValueError, match="silent='keep'"): post_training(net, x, None, 4, 4)
    low = post_training(net, x, None, 4, 4, repair="bias", silent="keep")
    torch.testing.assert_close(low(x).mean(0), net(x).mean(0), atol=1e-5, rtol=0)


def test_wrapped_twin():
    net, x = two(), images()
    low = post_training(nn.DataParallel(net), x, None, 4, 4, repair="bias")
    torch.testing.assert_close(low(x).mean(0), net(x).mean(0), atol=1e-5, rtol=0)


class Asks(nn.Module):
    "What it does depends on the values: it is converted module by module."
    def __init__(self):
        super().__init__()
        self.a, self.n, self.fc = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 2)
        self.b, self.relu, self.relu2 = nn.Conv2d(8, 8, 1), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        h = self.relu(self.n(self.a(x if x.sum() > 0 else -x)))
        return self.fc(self.relu2(self.b(h)).mean((2, 3)))


def test_both_repairs_need_a_trace():
    with warnings.catch_warnings(action="ignore"):
        with pytest.raises(ValueError, match="could not be traced"):
            post_training(Asks(), images(), None, 4, 4, repair="norms, bias")
        for repair in ("norms", "bias"): post_training(Asks(), images(), None, 4, 4, repair=repair)


def test_codes_of_a_weight_that_is_zero():
    from pact_nb.integer import convert
    net, x = two(), images()
    nn.init.zeros_(net[2].weight)
    low = quantize(net, 4, 4, w_quant="sawb").eval()
    calibrate(low, x)
    torch.testing.assert_close(convert(low, x)(x)[0], low(x), atol=1e-5, rtol=0)


class Behind(nn.Module):
    "conv, norm, ReLU, conv, `between`, norm: one norm for both, or two."
    def __init__(self, between=None, shared=False):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.n, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 4)
        self.m, self.between = self.n if shared else nn.BatchNorm2d(8), between or nn.Identity()

    def forward(self, x):
        h = self.between(self.b(torch.relu(self.n(self.a(x)))))
        return self.fc(torch.relu(self.m(h)).mean((2, 3)))


def means_behind_norms(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    found, norms = [], {net.n, getattr(net, "m", net.n)}
    hooks = [m.register_forward_hook(lambda m, a, out: found.append(out.detach().mean((0, 2, 3))))
             for m in norms]
    with torch.no_grad(): net(x)
    for h in hooks: h.remove()
    return torch.stack(found)


NETS = {"identity": Behind, "dropout": lambda: Behind(nn.Dropout2d(0.2)),
        "pool": lambda: Behind(nn.MaxPool2d(2)), "one norm": lambda: Behind(shared=True)}


def left(name: str, repair: str) -> float:
    "What a repair leaves of the drift of the channel means behind the norms."
    torch.manual_seed(0)
    net, x = NETS[name](), torch.randn(256, 3, 10, 10)
    for _ in range(20): net.train()(x)
    low = post_training(net.eval(), x, None, 3, 3, repair=repair)
    return (means_behind_norms(low, x) - means_behind_norms(net, x)).abs().max().item()


@pytest.mark.parametrize("name", ["identity", "dropout", "one norm"])
def test_bias_alone_leaves_nothing(name):
    assert left(name, "none") > 0.03 and left(name, "bias") < 1e-5


@pytest.mark.parametrize("name", ["identity", "dropout"])
def test_both_leave_nothing(name): assert left(name, "norms, bias") < 1e-5


def test_both_are_not_worse_than_norms():
    for name in ("pool", "one norm"):
        assert left(name, "norms, bias") < 1.5 * left(name, "norms")
