"""Packaging of visearch: metadata lives here, tool settings in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="visearch",
    version="0.1.0",
    description="A visual search engine: index pictures, search them with a picture, a crop or a photo",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    classifiers=[
        "Environment :: Console",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["visearch*", "indexer*", "web*", "training*"]),
    package_data={
        "visearch": ["py.typed"],
        "visearch.models": ["*.onnx", "*.card.json"],
        "training": ["recipes/*.toml"],
        "training.detection": ["recipes/*.toml"],
        "web": ["static/**", "templates/*"],
    },
    # faiss-gpu and onnxruntime-gpu hold the same modules as their CPU forms: `make install-gpu` swaps them.
    install_requires=[
        "numpy>=2.0",
        "pillow>=11.3",
        "lmdb>=1.4",
        "msgpack>=1.0.5",
        "click>=8.1",
        "rich>=13",
        "faiss-cpu>=1.11",
        "openvino>=2024.4",
        "onnxruntime>=1.21",
        "pyarrow>=15",
        "watchfiles>=0.21",
        "filelock>=3.13",
        "flask>=3.1",
        "flask-cors>=6",
        "flask-limiter>=3.10",
        "pydantic>=2.12",
        "prometheus-client>=0.21",
        "waitress>=3.0.1",
        "cryptography>=43",
        "segno>=1.6",
    ],
    extras_require={
        # One pip command for all of them: a bare `pip install timm` brings a CUDA torch.
        "train": [
            "torch>=2.5",
            "torchvision>=0.20",
            "timm>=1.0",
            "safetensors>=0.4",
            "onnx>=1.16",
            "onnxscript",
            "tensorboardX>=2.6",
            "scipy>=1.11",
            "pycocotools>=2.0.8",
        ],
        "report": ["matplotlib>=3.8"],
        "remote": ["fsspec>=2024.6", "aiohttp>=3.10", "s3fs>=2024.6"],  # gs:// takes gcsfs beside it
        "heif": ["pillow-heif>=0.18"],
        "scale": ["ray[data]>=2.50"],
        "test": [
            "pytest>=8,<9.2",  # with 9.2, pytest-xdist 3.8 forgets the groups (its issue 1386)
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis>=6.100",
            "psutil",
            "moto[s3]>=5",
            "onnx>=1.16",
            "schemathesis>=4",
            "playwright>=1.50",
            "axe-playwright-python>=0.1.4",
        ],
        "dev": ["ruff", "mypy>=1.11", "build", "pyarrow-stubs", "types-psutil", "types-waitress"],
    },
    entry_points={"console_scripts": ["visearch=visearch.cli:main"]},
)
