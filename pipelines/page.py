"""Self-contained HTML pages: pictures and videos travel inside the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, select_autoescape

from pipelines.review import Frames, Picture, data_uri, encode_picture
from pipelines.video_io import encode_mp4


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture or a video with its caption."""

    caption: str
    uri: str
    is_video: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a heading row."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One step of the work: what was done, the numbers, the pictures."""

    title: str
    text: str = ""
    tables: Sequence[Table] = field(default_factory=tuple)
    figures: Sequence[Figure] = field(default_factory=tuple)
    clip_id: str = ""
    """Of a section about one clip, which a person may accept or reject on the page."""


def picture(caption: str, pixels: Picture) -> Figure:
    """A still figure."""
    return Figure(caption=caption, uri=data_uri(encode_picture(pixels), "image/jpeg"))


def video(caption: str, frames: Frames, fps: float) -> Figure:
    """A playing figure; the sides are padded to even sizes, which H.264 needs."""
    height, width = frames.shape[1:3]
    even = frames[:, : height - height % 2, : width - width % 2]
    return Figure(caption=caption, uri=data_uri(encode_mp4(even, fps), "video/mp4"), is_video=True)


def metrics_table(caption: str, metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """The `metrics` object of an evaluation file as a table."""
    rows = [
        (name, f"{value['mean']:.4g}", f"{value['std']:.3g}", f"{int(value['n'])}")
        for name, value in metrics.items()
    ]
    return Table(caption=caption, header=("metric", "mean", "std", "n"), rows=rows)


def render_page(title: str, summary: Sequence[str], sections: Sequence[Section]) -> str:
    """The page as HTML; every text is escaped."""
    environment = Environment(
        loader=PackageLoader("pipelines", "templates"), autoescape=select_autoescape(["html"])
    )
    return environment.get_template("page.html").render(
        title=title, summary=summary, sections=sections
    )
