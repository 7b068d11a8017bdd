"""What a page would fetch."""

import re

SOURCES = (
    r"<(?:script|link|img|iframe|source|video|audio|object|embed)\b[^>]*?(?:src|href|data)=\S+"
)
STYLES = r"@import|url\([^)]*\)"


def external_sources(page: str) -> list[str]:
    """Every source of a page that is not part of it, cut to what is readable."""
    found = re.findall(f"{SOURCES}|{STYLES}", page, re.IGNORECASE)
    return [text[:80] for text in found if 'src="data:' not in text]
