"""Our object detector: a small one-stage network that goes on learning from YOLOX-nano's weights.

recipe.py   a TOML file -> dataclasses
scenes.py   data sets -> scenes: a picture, its boxes and their labels
views.py    scenes -> what a step sees: crops, mosaics, pasted products
model.py    the network; loss.py which cell answers for which box, and how well
run.py      the loop, read from top to bottom
export.py   checkpoint -> .onnx of the detector contract; average.py and measure.py how good it is
"""
