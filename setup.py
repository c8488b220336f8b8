"""Packaging of visearch: metadata lives here, tool settings in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="visearch",
    version="0.1.0",
    packages=find_packages(include=["visearch*", "indexer*", "web*", "training*"]),
    python_requires=">=3.11",
    install_requires=["numpy", "pillow", "lmdb", "msgpack", "click", "rich", "faiss-cpu", "openvino", "onnxruntime", "pyarrow", "watchfiles"],
    entry_points={"console_scripts": ["visearch=visearch.cli:main"]},
)
