"""Patches of random stripes with a blurred half, and settings with which a tiny network trains on them in a second."""

import os
import signal

import torch
from torch.utils.data import Dataset, get_worker_info

from localblur.training.running.config import TrainingSettings
from localblur.training.running.data import TrainingData

STEPS = 7


class Stripes(Dataset):
    """Patches of random stripes, their right half blurred; a sample is a function of its number."""

    def __init__(self, patch_px=48, broken=(), stop_at=None, different=10**9):
        self.patch_px, self.broken, self.stop_at, self.different = patch_px, broken, stop_at, different

    def __getitem__(self, number):
        if number == self.stop_at:
            # a loader process asks its parent
            os.kill(os.getpid() if get_worker_info() is None else os.getppid(), signal.SIGINT)
        generator = torch.Generator().manual_seed(number % self.different)
        row = torch.rand(3, 1, self.patch_px // 4, generator=generator).repeat_interleave(4, dim=2)
        sharp = row.expand(3, self.patch_px, self.patch_px).contiguous()
        smooth = torch.nn.functional.avg_pool1d(row, 5, stride=1, padding=2, count_include_pad=False)
        mask = torch.zeros(1, self.patch_px, self.patch_px)
        mask[..., self.patch_px // 2 :] = 1
        blurred = torch.where(mask > 0, smooth.expand_as(sharp), sharp)
        if number in self.broken:
            blurred = blurred * float("nan")
        return {"blurred": blurred, "sharp": sharp, "mask": mask, "has_mask": torch.tensor(True)}


def striped_data(fingerprint="stripes", validation=True, **options):
    return TrainingData(
        training=Stripes(**options), validation=Stripes() if validation else None, fingerprint=fingerprint
    )


def tiny_settings(**changes):
    values = {
        "network": {"name": "lbag-small", "options": {"width": 8, "num_res": 1, "dropout": 0.2}},
        "optimizer": {"name": "adamw", "lr": 3e-3, "clip_norm": 1.0},
        "schedule": {"kind": "cosine", "warmup_steps": 2},
        "data": {"patch_px": 48, "batch": 2},
        "validation": {"every_steps": 100, "samples": 2, "patch_px": 48},
        "steps": STEPS,
        "ema_decay": 0.5,
        "precision": "fp32",
        "checkpoint_every_steps": 1000,
        "log_every_steps": 1000,
    }
    return TrainingSettings.model_validate(values | changes)


def assert_equal_bits(a, b):
    """Weights, averaged weights, optimizers, critic and random state of two training states."""
    flat_a, flat_b = dict(tensors(a)), dict(tensors(b))
    assert flat_a.keys() == flat_b.keys()
    different = [name for name in flat_a if not torch.equal(flat_a[name], flat_b[name])]
    assert not different
    assert (a["step"], a["scaler"]) == (b["step"], b["scaler"])


def tensors(value, name=""):
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{name}.{key}")
    elif isinstance(value, list):
        for key, item in enumerate(value):
            yield from tensors(item, f"{name}.{key}")
