"""Metadata as the API shows it: it comes from manifests and strangers, and must be inert wherever it is put."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from web.schemas import Product

PRODUCT = "product"  # the metadata key that makes an item a product
LONGEST_LINK = 2048
MOST_LISTED = 500  # characters of a value that goes out with each of many items
_LINK = re.compile(r"https?://[^\x00-\x20\x7f/?#\\\[\]]+([/?#][^\x00-\x20\x7f]*)?", re.IGNORECASE)


def product_of(metadata: Mapping[str, Any]) -> Product | None:
    """What can be bought, as far as the metadata says it in the form it should have."""
    if PRODUCT not in metadata:
        return None
    price, link = metadata.get("price"), metadata.get("url")
    return Product(
        title=_text(metadata.get("title")),
        price=price if isinstance(price, (int, float)) and not isinstance(price, bool) else None,
        price_currency=_text(metadata.get("price_currency")),
        availability=_text(metadata.get("availability")),
        seller=_text(metadata.get("seller")),
        url=link if isinstance(link, str) and is_link(link) else None,
    )


def is_link(text: str) -> bool:
    """Whether it can be offered to be followed: http or https to a host, no script and no other scheme."""
    return len(text) <= LONGEST_LINK and _LINK.fullmatch(text) is not None


def clean(value: Any) -> Any:
    """Metadata as JSON can hold it: file names that are no UTF-8 leave halves of surrogate pairs."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {clean(key): clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [clean(each) for each in value]
    return value


def listed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as an answer of many items shows it: without values of more than 500 characters."""
    return {clean(key): clean(value) for key, value in metadata.items() if _length(value) <= MOST_LISTED}


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(1 + _length(each) for each in value) if isinstance(value, list) else 0


def _text(value: Any) -> str | None:
    return clean(value) if isinstance(value, str) else None
