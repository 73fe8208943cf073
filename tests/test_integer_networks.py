"""Every network of `integer_networks`: each code equal in integers, in the packed file and in each
ONNX form, or refused with a message that names the thing.

Codes are compared with the float network in float64, where no value lies on a tie by accident."""
import copy
import warnings

import onnxruntime
import pytest
import torch
from torch import nn

from integer_networks import NETWORKS, Case
from pact_nb.integer import ConvertError, agreement, convert
from pact_nb.layers import calibrate, quantize
from pact_nb.onnx_export import FORMS, export_onnx
from pact_nb.onnx_graph import graphs_agreement, session
from pact_nb.packed import load_network, save_network
from pact_nb.portable import RUNTIMES, in_runtimes
from pact_nb.qonnx_export import export_qonnx, qonnx_agreement

onnxruntime.set_default_logger_severity(3)
TIES = 2  # codes that another library's float convolution may round otherwise


def low_bit(case: Case) -> tuple[nn.Module, torch.Tensor]:
    "A quantized network with settled norms and clips, and a batch."
    torch.manual_seed(0)
    net, x = case.make(), torch.randn(4, *case.shape)
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            if m.affine: m.weight.data.uniform_(-1.5, 1.5)
            if m.affine: m.bias.data.normal_()
            if m.running_mean is not None: m.running_mean.normal_(0, 0.3)
            if m.running_var is not None: m.running_var.uniform_(0.5, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parts that stay float are named by a warning
        warnings.filterwarnings("error", message=".*module by module")
        low = quantize(net, *case.bits, **case.how).eval()
    calibrate(low, x)
    return low, x


@pytest.mark.parametrize("name", [n for n, c in NETWORKS.items() if not c.says])
def test_every_code_is_equal(name, tmp_path):
    low, x = low_bit(NETWORKS[name])
    exact = copy.deepcopy(low).double()
    told = agreement(exact, convert(exact, 0.1 * x.double()), [x.double(), 3 * x.double()])
    assert not any(r["differ"] or r["differ_through"] for r in told["layers"].values()), told
    assert told["logits_off"] <= 1e-6 and told["top1_equal"] == 2 * len(x) and told["layers"]

    net = convert(low, x)
    (logits, codes), path = net(x), tmp_path / "net"
    save_network(net, path)
    again, back = load_network(path)[0](x)
    assert torch.equal(again, logits) and all(torch.equal(back[n], q) for n, q in codes.items())

    graphs = {f: export_onnx(net, tmp_path / f, f, x) for f in FORMS}
    for form, off in (("portable", 1e-3), ("integer", 1e-4), ("qdq", 1e-3), ("fast", 0.1)):
        result = session(tmp_path / form).run(None, {"images": x.numpy()})[0]
        assert (torch.from_numpy(result) - logits).abs().max() <= off * logits.abs().max(), form
    found = graphs_agreement(net, graphs, [x])
    found["qonnx"] = qonnx_agreement(net, export_qonnx(net, tmp_path / "q", len(x)), x)
    assert all(found[f]["differ"] <= TIES for f in ("portable", "integer", "qdq", "qonnx")), found
    others = in_runtimes(net, graphs["portable"], x)
    assert set(others.index) == set(RUNTIMES) and (others.differ <= TIES).all(), others
    assert (others.off[others.differ == 0] <= 1e-3).all(), others


@pytest.mark.parametrize("name", [n for n, c in NETWORKS.items() if c.says])
def test_refused_by_name(name):
    case = NETWORKS[name]
    low, x = low_bit(case)
    low = case.change(low)
    with pytest.raises(ConvertError) as e: convert(low, x)
    assert case.says in str(e.value)


def test_how_many():
    assert len(NETWORKS) >= 60
