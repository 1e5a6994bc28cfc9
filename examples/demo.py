"""The main job end to end on the simulated rig: two cameras, aligned pairs with masks, a trained network, pictures.

Every stage runs the command a user would type; the page at the end shows what each of them produced.

    python examples/demo.py --output demo            the full demo: at most 10 minutes on two cores
    python examples/demo.py --output demo --short    the same chain on small pictures, a few dozen training steps
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from demo_page import write_page
from demo_video import write_clips

SHOWN_CHARACTERS = 240


@dataclass(frozen=True)
class Plan:
    """How much of everything the demo makes."""

    size: str = "640x480"
    train_scenes: int = 7
    pairs_per_train_scene: int = 4
    test_scenes: int = 10
    pairs_per_test_scene: int = 2
    static_pairs: int = 4
    clips: int = 40
    clip_size: tuple[int, int] = (384, 256)
    steps: int = 150
    overrides: tuple[str, ...] = ("validation.every_steps=50", "validation.samples=32", "log_every_steps=10")


FULL = Plan()
SHORT = Plan(
    size="320x240",
    train_scenes=2,
    pairs_per_train_scene=2,
    test_scenes=2,
    pairs_per_test_scene=2,
    static_pairs=3,
    clips=4,
    clip_size=(256, 192),
    steps=30,
    overrides=("schedule.warmup_steps=5", "validation.every_steps=30", "validation.samples=8"),
)


@dataclass
class Journal:
    """The commands that were run and how long each took."""

    output: Path
    commands: list[dict[str, object]] = field(default_factory=list)

    def run(self, stage: str, *command: str | Path) -> None:
        """Run one of the project's commands; a failure ends the demo with its exit code."""
        words = [str(word) for word in command]
        shown = shlex.join(words)
        say(f"  $ {shown if len(shown) < SHOWN_CHARACTERS else shown[:120] + ' … ' + shown[-60:]}")
        program = Path(sys.executable).with_name(words[0])
        started = time.monotonic()
        with (self.output / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"\n$ {shown}\n")
            log.flush()
            result = subprocess.run([program, *words[1:]], stdout=log, stderr=subprocess.STDOUT, check=False)
        if result.returncode != 0:
            tail = (self.output / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
            raise SystemExit("\n".join([*tail, f"demo: {words[0]} ended with exit code {result.returncode}"]))
        self.commands.append({"stage": stage, "command": shown, "seconds": round(time.monotonic() - started, 1)})


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def capture(journal: Journal, plan: Plan, folder: Path) -> Path:
    """Two emulated Basler cameras record scenes for training (one set of textures) and for the test (another)."""
    recording = folder / "recording"
    common = ("--emulate", "--size", plan.size, "--rig", "7", "-o", recording)
    calibrations = ("--calibrate", "static", "--calibrate", "chart", "--count", str(plan.static_pairs))
    journal.run("capture", "capture", "--pair", *calibrations, *common)
    for split, scenes, pairs in (
        ("train", plan.train_scenes, plan.pairs_per_train_scene),
        ("test", plan.test_scenes, plan.pairs_per_test_scene),
    ):
        for number in range(scenes):
            name = f"{split}{number:02d}"
            seed = str(number + (1000 if split == "test" else 0))
            journal.run(
                "capture",
                *("capture", "--pair", "--scene", name, "--count", str(pairs), "--seed", seed, "--textures", split),
                *common,
            )
    return recording


def align(journal: Journal, folder: Path, recording: Path) -> Path:
    """Align, colour-match, judge and mask every pair; one training scene becomes the validation split."""
    scenes = sorted(path.name for path in (recording / "scenes").iterdir())
    training = [scene for scene in scenes if scene.startswith("train")]
    splits = {scene: "test" if scene.startswith("test") else "train" for scene in scenes}
    splits[training[-1]] = "val"
    listing = folder / "splits.txt"
    listing.write_text("".join(f"{scene} {split}\n" for scene, split in splits.items()), encoding="utf-8")
    pairs = folder / "rig.h5"
    report = folder / "alignment"
    journal.run(
        "align",
        *("align-dataset", recording, "-o", pairs, "--masks", "sequence", "--store", "srgb8"),
        *("--split", listing, "--report", report),
    )
    journal.run("align", "pairs-file", "inspect", pairs)
    return pairs


def synthesize(journal: Journal, plan: Plan, folder: Path) -> Path:
    """Generate high-frame-rate clips of moving objects and average their frames into blurred pictures."""
    clips = write_clips(folder / "clips", plan.clips, plan.clip_size)
    pairs = folder / "synthetic.h5"
    journal.run("synthesize", "synthesize-gopro", *clips, "-o", pairs, "--frames", "7..13", "--split", "train=1")
    return pairs


def train(journal: Journal, plan: Plan, folder: Path, data: list[Path]) -> Path:
    """Train the model in the box on, with the pairs of this rig."""
    run = folder / "run"
    settings = [word for text in (f"steps={plan.steps}", *plan.overrides) for word in ("--set", text)]
    journal.run("train", "train-lbag", *data, "--recipe", "fine-tune", *settings, "-o", run)
    return run


def main() -> None:
    """Run all stages and say where the page is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", "-o", type=Path, default=Path("demo"))
    parser.add_argument("--short", action="store_true", help="small pictures and a few training steps")
    arguments = parser.parse_args()
    plan, folder = (SHORT if arguments.short else FULL), arguments.output
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "log.txt").is_file():
            raise SystemExit(f"demo: {folder} is not empty and not an earlier demo; choose another --output")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.txt").touch()
    journal = Journal(folder)
    started = time.monotonic()
    say("1/5 capture: two emulated cameras record the simulated rig")
    recording = capture(journal, plan, folder)
    say("2/5 align, match colours, judge, mask")
    rig_pairs = align(journal, folder, recording)
    say("3/5 synthesise pairs from generated high-frame-rate video")
    synthetic_pairs = synthesize(journal, plan, folder)
    say(f"4/5 train the model in the box on for {plan.steps} steps (progress: {folder / 'log.txt'})")
    model = train(journal, plan, folder, [rig_pairs, synthetic_pairs])
    say("5/5 evaluate on scenes never seen, deblur, write the page")
    # the last, not the best: that is chosen by PSNR inside the masks alone
    models = ("--model", model / "last", "--model", "model-in-the-box")
    journal.run("evaluate", "evaluate-deblur", rig_pairs, *models, "--split", "test", "-o", folder / "scores")
    facts = {"seconds": round(time.monotonic() - started, 1), "plan": asdict(plan), "commands": journal.commands}
    (folder / "demo.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    page = write_page(folder, journal.run)
    say(f"done in {time.monotonic() - started:.0f} s. The pictures of every stage: {page.resolve()}")


if __name__ == "__main__":
    main()
