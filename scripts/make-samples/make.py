"""Writes samples/essays from the plain sources beside this file.

Needs python-docx and reportlab (see requirements.txt). The output is the same, byte for byte,
on every run, so that a changed essay shows as one changed file:

    python scripts/make-samples/make.py
"""

import io
import json
import zipfile
from datetime import datetime
from pathlib import Path

from docx import Document
from docx.shared import Pt
from reportlab.lib.enums import TA_JUSTIFY, TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
ESSAYS = HERE.parent.parent / "samples" / "essays"
LEVELS = HERE.parent.parent / "samples" / "essays.levels.json"

# Essay -> (kind of file, language, level). The level is the author's intention; it is kept
# outside the folder, so that no judge ever sees it.
PLAN = {
    "Ali Rezaei": ("txt", "en", "fair"),
    "Amina Yusuf": ("pdf", "en", "good"),
    "Björn Ström": ("pdf", "en", "weak"),
    "Elin Sjögren": ("txt", "en", "good"),
    "Freja Holm": ("pdf", "en", "excellent"),
    "Hugo Lind": ("txt-crlf", "en", "weak"),
    "Kevin Nilsson": ("pdf", "en", "struggling"),
    "Leo Dahl": ("docx", "en", "fair"),
    "Maja Lindqvist": ("docx", "en", "excellent"),
    "Noah": ("txt", "en", "struggling"),
    "Omar_Haddad": ("txt", "en", "excellent"),
    "Sofia Berg": ("docx", "sv", "weak"),
    "Tuva Nyström": ("txt-1252", "sv", "fair"),
    "Viktor Håkansson": ("docx", "en", "good"),
    "Wilma Ek": ("txt", "en", "fair"),
    "Åsa Öberg": ("txt", "sv", "excellent"),
}

PDF_LOOKS = {
    "Amina Yusuf": dict(font="Times-Roman", size=12, leading=18, align=TA_JUSTIFY, indent=0, gap=8),
    "Björn Ström": dict(font="Helvetica", size=11, leading=15, align=TA_LEFT, indent=0, gap=10),
    "Freja Holm": dict(font="Times-Roman", size=11, leading=14, align=TA_JUSTIFY, indent=18, gap=0),
    "Kevin Nilsson": dict(font="Courier", size=11, leading=14, align=TA_LEFT, indent=0, gap=12),
}

FIXED_TIME = datetime(2025, 1, 7, 12, 0, 0)


def paragraphs(text: str) -> list[str]:
    return [block.strip() for block in text.strip().split("\n\n")]


def is_title(text: str) -> bool:
    return len(text) < 80 and not text.endswith((".", "!"))


def docx(text: str) -> bytes:
    document = Document()
    core = document.core_properties
    core.author = core.last_modified_by = core.title = core.comments = ""
    core.created = core.modified = FIXED_TIME
    core.revision = 1
    document.styles["Normal"].font.size = Pt(12)
    for index, block in enumerate(paragraphs(text)):
        if index == 0 and is_title(block):
            document.add_heading(block, level=1)
        else:
            document.add_paragraph(block)
    drawn = io.BytesIO()
    document.save(drawn)
    return with_fixed_times(drawn)


def with_fixed_times(archive: io.BytesIO) -> bytes:
    """A ZIP archive notes when each part was written; those times are made constant."""
    out = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, date_time=(2025, 1, 7, 12, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(name))
    return out.getvalue()


def pdf(text: str, font: str, size: int, leading: int, align: int, indent: int, gap: int) -> bytes:
    body = ParagraphStyle(
        "body", fontName=font, fontSize=size, leading=leading, alignment=align,
        firstLineIndent=indent, spaceAfter=gap,
    )
    bold = {"Times-Roman": "Times-Bold", "Helvetica": "Helvetica-Bold", "Courier": "Courier-Bold"}
    title = ParagraphStyle("title", fontName=bold[font], fontSize=size + 5, leading=leading + 8)
    story = []
    for index, block in enumerate(paragraphs(text)):
        escaped = block.replace("&", "&amp;").replace("<", "&lt;")
        if index == 0 and is_title(block):
            story += [Paragraph(escaped, title), Spacer(1, 10)]
        else:
            story.append(Paragraph(escaped, body))
    out = io.BytesIO()
    SimpleDocTemplate(
        out, pagesize=A4, leftMargin=72, rightMargin=72, title="", author="", invariant=1,
    ).build(story)
    return out.getvalue()


def main() -> None:
    ESSAYS.mkdir(parents=True, exist_ok=True)
    levels = {}
    for name, (kind, language, level) in sorted(PLAN.items()):
        text = (SOURCES / f"{name}.txt").read_text(encoding="utf-8")
        if kind == "txt":
            data = text.encode("utf-8")
        elif kind == "txt-crlf":
            data = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode("utf-8")
        elif kind == "txt-1252":
            data = text.encode("cp1252")
        elif kind == "docx":
            data = docx(text)
        else:
            data = pdf(text, **PDF_LOOKS[name])
        file = f"{name}.{kind.split('-')[0]}"
        (ESSAYS / file).write_bytes(data)
        levels[file] = {"language": language, "level": level}
    LEVELS.write_text(json.dumps(levels, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
