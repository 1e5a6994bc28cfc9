"""The command `export-model`: a trained model as an ONNX file."""

from pathlib import Path

import click

from localblur.common.command import Command, output_option, overwrite_option
from localblur.common.errors import LocalblurError
from localblur.common.files import refuse_existing
from localblur.training.inference.model_skipping import stored_skipping
from localblur.training.inference.onnx_export import export_onnx, import_onnx
from localblur.training.options import network_option
from localblur.training.published_weights import open_model


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@network_option
@output_option("The file to write, NAME.onnx.")
@overwrite_option
def main(model: Path, network: str | None, output: Path, overwrite: bool) -> None:
    """Write a trained model as an ONNX file for pictures of any size.

    MODEL is a model folder, the run folder of train-lbag (its best model is taken), or a published file of weights
    (with --network). The file's outputs are compared with torch at several sizes; one that differs by more than 1e-4 is
    not written. Needs the onnx extra.

    \b
    Example:
      export-model run -o model.onnx
      deblur photo.jpg --model model.onnx --runtime onnx -o restored
    """
    if output.suffix.lower() != ".onnx":
        raise LocalblurError(f"{output} must end in .onnx")
    refuse_existing(output, overwrite)
    import_onnx()
    module, card = open_model(model, network)
    output.parent.mkdir(parents=True, exist_ok=True)
    differences = export_onnx(module, card, output, stored_skipping(model))
    for (height, width), difference in differences.items():
        click.echo(f"{width}x{height}: largest difference to torch {difference:.1e}")
    click.echo(
        f"{card.network}, {card.parameters / 1e6:.2f} M parameters: {output}, {output.stat().st_size / 1e6:.1f} MB"
    )
