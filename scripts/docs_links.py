"The links of a built site: do they lead somewhere, and does a page load anything from elsewhere?"
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
NOT_LOADED = {"canonical", "next", "prev"}  # kinds of <link> that only tell


class Page(HTMLParser):
    "What a page can be entered by, and where it leads: `ids`, `links` as (address, loaded)."
    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links = {"", "top", "__top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        have = dict(attrs)
        self.ids |= {have[k] for k in ("id", "name") if have.get(k)}
        for k in ("href", "src"):
            if have.get(k) is not None:
                self.links.append(
                    (have[k], (tag, k) in LOADS and have.get("rel") not in NOT_LOADED)
                )


def wrong(pages: dict[Path, Page], site: Path, at: Path, link: str, loaded: bool) -> str:
    "What is wrong with a link of the page `at`; empty if nothing is."
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return "is loaded from elsewhere" if loaded and parts.scheme != "data" else ""
    to = at if not parts.path else (at.parent / unquote(parts.path)).resolve()
    if to.is_dir(): to /= "index.html"
    if not to.is_relative_to(site) or not to.is_file(): return "leads nowhere"
    return (
        "has no such anchor" if to in pages and unquote(parts.fragment) not in pages[to].ids else ""
    )


def check(site: Path) -> tuple[list[str], dict[str, int]]:
    "Broken links of every page, and how many pages, links inside and links outside there are."
    site = site.resolve()
    pages = {
        p: Page(p.read_text(encoding="utf8"))
        for p in sorted(site.rglob("*.html"))
        if p.name != "404.html"
    }
    if not pages: raise ValueError(f"{site}: there is no page in it")
    links = [(at, *link) for at, page in pages.items() for link in page.links]
    said = [
        f"{at.relative_to(site)}: {link} {why}"
        for at, link, loaded in links
        if (why := wrong(pages, site, at, link, loaded))
    ]
    outside = sum(bool(urlsplit(link).scheme) for _, link, _ in links)
    return said, dict(pages=len(pages), inside=len(links) - outside, outside=outside)
