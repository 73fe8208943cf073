"A start from weights that no run of ours has made."

from unittest.mock import patch
from urllib.error import URLError

import pytest
import torch

from pact_nb.models import create_model
from pact_nb.parallel import World
from pact_nb.recipes import from_params
from pact_nb.runs import build_model, check_recipe, find_source, start_from

CPU = torch.device("cpu")


def recipe(**more):
    return from_params(
        dict(recipe="imagenet_resnet18", width=4, image_size=32, alpha_from="mse") | more
    )


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(5)
    torch.save(create_model("resnet18", 1000, 3, 4).state_dict(), tmp_path / "resnet18.pth")
    return str(tmp_path / "resnet18.pth")


def test_a_file_of_weights(file):
    "Every tensor of the file is in the network, but a last layer for other classes, which is said."
    r, said = recipe(init=file), []
    check_recipe(r, World(), CPU)
    model = build_model(r, 10, 3)
    fresh = model.fc.weight.detach().clone()
    start_from(model, r, find_source(r), said.append)
    want, have = torch.load(file), model.state_dict()
    assert all(torch.equal(have[n], t) for n, t in want.items() if not n.startswith("fc."))
    assert (
        torch.equal(have["fc.weight"], fresh)
        and "for 1000 classes, ours for 10; it starts from scratch" in said[0]
    )
    whole = build_model(r, 1000, 3)
    start_from(whole, r, find_source(r), said.append)
    assert torch.equal(whole.state_dict()["fc.weight"], want["fc.weight"]) and len(said) == 1


def test_refused(file, tmp_path):
    for more, part in (
        (dict(width=8), "the networks differ"),
        (dict(model="resnet50", recipe="imagenet_resnet50"), "the networks differ"),
    ):
        r = recipe(init=file, **more)
        with pytest.raises(ValueError, match=part):
            start_from(build_model(r, 1000, 3), r, find_source(r))
    (tmp_path / "x.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="not a checkpoint of tensors"):
        check_recipe(recipe(init=str(tmp_path / "x.pth")), World(), CPU)
    with pytest.raises(ValueError, match="torchvision has no such weights"):
        check_recipe(recipe(init="ResNet99_Weights.V1"), World(), CPU)
    with pytest.raises(ValueError, match="not the folder of a run"):
        check_recipe(recipe(init=str(tmp_path)), World(), CPU)


def test_by_name():
    "torchvision's weights by name; without a network the error names the way round it."
    state = create_model("resnet18", 1000, 3).state_dict()
    r = recipe(init="ResNet18_Weights.IMAGENET1K_V1", width=None)
    with patch("torchvision.models._api.WeightsEnum.get_state_dict", lambda *a, **k: state):
        check_recipe(r, World(), CPU)
        model = build_model(r, 1000, 3)
        start_from(model, r, find_source(r))
    assert torch.equal(model.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])

    def offline(*a, **k):
        raise URLError("no route")

    with patch("torchvision.models._api.WeightsEnum.get_state_dict", offline), pytest.raises(
        ValueError, match="fetch the .pth file elsewhere"
    ):
        check_recipe(r, World(), CPU)
