"""Critics: what they and the network learn from each other."""

import pytest
import torch
from torch import nn

from localblur.training.objectives.objective_settings import AdversarialSettings
from localblur.training.running.adversarial import Adversary, critic_loss, gradient_penalty, pleasing_loss
from localblur.training.running.config import OptimizerSettings
from localblur.training.runtime import Runtime


class Linear(nn.Module):
    """Scores a picture by its product with fixed weights: the gradient is those weights."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, image):
        return (image * self.weights).sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)


def test_the_penalty_of_a_linear_critic_is_that_of_its_slope():
    weights = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    critic = Linear(weights)
    pictures = torch.rand(2, 4, 3, 6, 6)
    penalty = gradient_penalty(critic, *pictures, torch.rand(4, 1, 1, 1))
    # pictures are in [0, 1], slopes are those in [-1, 1]
    assert float(penalty.detach()) == pytest.approx((float(weights.norm()) / 2 - 1) ** 2, rel=1e-5)
    penalty.backward()
    assert float(critic.weights.grad.abs().max()) > 0


def test_the_penalty_is_that_of_each_sample_not_of_the_batch():
    """The slope of a quadratic critic differs from sample to sample."""

    class Quadratic(nn.Module):
        def forward(self, image):
            return 0.5 * image.square().sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)

    sharp = torch.stack([torch.full((3, 4, 4), value) for value in (0.1, 0.9)])
    restored = torch.rand(2, 3, 4, 4)
    norms = sharp.flatten(1).norm(dim=1) / 2
    penalty = gradient_penalty(Quadratic(), restored, sharp, torch.ones(2, 1, 1, 1))
    assert float(penalty.detach()) == pytest.approx(float((norms - 1).square().mean()), rel=1e-5)


@pytest.mark.parametrize("kind", ["vanilla", "wgan-gp"])
def test_a_critic_that_is_right_costs_less_and_pleasing_it_costs_more(kind):
    low, high = torch.full((2, 1, 1, 1), -2.0), torch.full((2, 1, 1, 1), 2.0)
    assert float(critic_loss(low, high, kind)) < float(critic_loss(high, low, kind))
    assert float(pleasing_loss(high, kind)) < float(pleasing_loss(low, kind))


@pytest.fixture(scope="module")
def runtime():
    return Runtime("cpu")


def test_a_critic_learns_to_tell_apart_and_its_judgement_reaches_only_the_pictures(runtime):
    torch.manual_seed(0)
    settings = AdversarialSettings(kind="vanilla", critic="patch", critic_steps=4)
    adversary = Adversary(settings, OptimizerSettings(lr=1e-3, betas=(0.5, 0.999)), runtime)
    sharp = torch.rand(2, 3, 32, 32)
    restored = nn.functional.avg_pool2d(sharp, 5, stride=1, padding=2).requires_grad_()
    losses = [float(adversary.learn(restored, sharp, 1.0)["critic"]) for _ in range(3)]
    assert losses[-1] < 0.5 * losses[0]
    assert restored.grad is None
    adversary.judge(restored).backward()
    assert float(restored.grad.abs().max()) > 0
    assert not any(parameter.requires_grad for parameter in adversary.critic.parameters())


def test_a_step_that_is_not_finite_leaves_the_critic_as_it_was(runtime):
    adversary = Adversary(AdversarialSettings(critic="patch"), OptimizerSettings(), runtime)
    before = {name: value.clone() for name, value in adversary.critic.state_dict().items()}
    adversary.learn(torch.full((1, 3, 32, 32), torch.nan), torch.rand(1, 3, 32, 32), 1.0)
    assert all(torch.equal(before[name], value) for name, value in adversary.critic.state_dict().items())


def test_the_schedule_reaches_the_critic(runtime):
    adversary = Adversary(AdversarialSettings(critic="patch", lr=2e-3), OptimizerSettings(), runtime)
    adversary.learn(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), 0.25)
    assert adversary.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)
