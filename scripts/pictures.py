"""Keeps the pages' pictures at 256 colours, a third of the bytes that matplotlib writes:
python scripts/pictures.py [--write]"""
import base64
import io
import sys

import nbformat
from house import ROOT
from PIL import Image

COLOURS = 256


def reduced(png: bytes) -> bytes:
    "The picture with at most 256 colours; as it was if no smaller for it, or if transparent."
    image = Image.open(io.BytesIO(png))
    if image.mode == "P" or image.convert("RGBA").getchannel("A").getextrema()[0] < 255: return png
    few = image.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(out := io.BytesIO(), "PNG", optimize=True)
    return min(png, out.getvalue(), key=len)


def reduce_page(page) -> bool:
    "Reduce every picture among a page's outputs; whether one changed."
    changed = False
    for output in (o for c in page.cells for o in c.get("outputs", [])):
        if not (text := output.get("data", {}).get("image/png")): continue
        old = base64.b64decode(text)
        if (new := reduced(old)) == old: continue
        output["data"]["image/png"] = base64.b64encode(new).decode() + "\n" * text.endswith("\n")
        changed = True
    return changed


def main() -> None:
    write, found = "--write" in sys.argv[1:], []
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        page = nbformat.read(path, as_version=4)
        if not reduce_page(page): continue
        found.append(str(path.relative_to(ROOT)))
        if write: nbformat.write(page, path)
    print("\n".join(found) or "all pictures have few colours")
    sys.exit(bool(found) and not write)


if __name__ == "__main__": main()
