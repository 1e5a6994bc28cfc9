"""What VGG19 says about a restored picture."""

import pytest
import torch

from localblur.common.errors import LocalblurError
from localblur.training.objectives.perceptual import PerceptualLoss
from localblur.training.objectives.vgg_features import VGGFeatures

CPU = torch.device("cpu")


def test_weights_that_are_not_there_are_one_line(tmp_path):
    with pytest.raises(LocalblurError, match="vgg_weights"):
        PerceptualLoss(None, CPU)
    with pytest.raises(LocalblurError, match=r"none\.pth"):
        PerceptualLoss(tmp_path / "none.pth", CPU)


def test_it_is_the_squared_difference_of_features_and_teaches_the_restored_picture(monkeypatch, tmp_path):
    torch.manual_seed(0)
    features = VGGFeatures()
    # the file of all of VGG19 has 548 MB; here its first layers are random
    monkeypatch.setattr("localblur.training.objectives.perceptual.load_vgg_features", lambda _path: features)
    loss = PerceptualLoss(tmp_path, CPU)
    sharp = torch.rand(1, 3, 16, 16)
    assert float(loss(sharp, sharp)) == 0
    restored = (sharp + 0.1).requires_grad_()
    value = loss(restored.to(torch.bfloat16).float(), sharp)
    expected = (features(restored.to(torch.bfloat16).float()) - features(sharp)).square().mean()
    assert float(value.detach()) == pytest.approx(float(expected.detach()))
    value.backward()
    assert float(restored.grad.abs().max()) > 0
