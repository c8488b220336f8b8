"""The loop most people write: PIL, the timm transform, torch eager in batches of 32, threads fixed to the cores.

    .venv/bin/python benchmarks/usual_loop.py FOLDER COUNT WEIGHTS CORES

Prints JSON: {"pictures", "seconds"} of the loop alone; imports and loading the model are not counted.
WEIGHTS is mobilenet_edgetpu_100.safetensors.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image

from training.libraries import import_timm

BATCH = 32


def main(folder: Path, count: int, weights: Path, cores: int) -> None:
    """Embed the first `count` pictures of `folder`."""
    torch.set_num_threads(cores)
    timm = import_timm()
    from safetensors.torch import load_file

    model = timm.create_model("mobilenet_edgetpu_100", pad_type="same")
    model.blocks[0][0].bn1.act = torch.nn.Identity()  # the original graph is linear there
    model.load_state_dict(load_file(weights))
    model.reset_classifier(0)
    model.eval()
    config = {"input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": 1.0}
    transform = timm.data.create_transform(**config, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    paths = sorted(folder.iterdir())[:count]
    codes = []
    with torch.inference_mode():
        model(torch.zeros(BATCH, 3, 224, 224))
        start = time.perf_counter()
        for first in range(0, len(paths), BATCH):
            batch = [transform(Image.open(path).convert("RGB")) for path in paths[first : first + BATCH]]
            codes.append(model(torch.stack(batch)) > 0)
        seconds = time.perf_counter() - start
    print(json.dumps({"pictures": sum(map(len, codes)), "seconds": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
