"""What importing costs: commands start before anyone waits for what they do not need."""

import json
import subprocess
import sys

_CODE = """
import json, sys, time
import torch
began = time.process_time()
import localblur.training.train_lbag, localblur.training.running.loop, localblur.training.running.dry_run
print(json.dumps({"seconds": time.process_time() - began, "modules": sorted(sys.modules)}))
"""


def test_training_imports_in_less_than_two_seconds_beyond_torch_and_leaves_the_rest_for_later():
    result = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    told = json.loads(result.stdout)
    late = {"accelerate", "tensorboard", "wandb", "matplotlib", "torchvision", "av", "pypylon", "skimage", "kornia"}
    assert not late & set(told["modules"])
    assert told["seconds"] < 2
