"""What the curation page's server answers: the page, its pictures, and changes as JSON."""

import importlib.resources
import json
import logging
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from localblur.common.command import one_line
from localblur.common.errors import LocalblurError
from localblur.datasets.curation.length_sample import LengthSampler
from localblur.datasets.curation.stats import measure_pairs
from localblur.datasets.storage.reader import PairsFile
from localblur.datasets.view import pictures as view_pictures
from localblur.datasets.view.guard import Guard
from localblur.datasets.view.state import ConflictError, Curation, NoSuchPairError, ReadOnlyError

logger = logging.getLogger(__name__)

PAGE_PACKAGE = "localblur.datasets.view_page"
PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
"""For pictures: their address holds the identity of the file."""
KEPT_BYTES = 96 << 20
LENGTHS_SAMPLED = 16
"""Pairs per split whose blur length is estimated: somebody waits for it."""
JSON_LIMIT_BYTES = 64 << 10

STATUS = {NoSuchPairError: 404, ReadOnlyError: 403, ConflictError: 409}


def build_app(curation: Curation, token: str, port: int, ticket: str | None = None) -> ASGIApp:
    """The page's server for one pairs file, guarded as `Guard` says, to be run on loopback port `port`."""
    answers = Answers(curation)
    app = Starlette(
        routes=[
            Route("/", answers.page),
            Route("/page/{name}", answers.page_file),
            Route("/api/file", answers.file),
            Route("/api/pairs", answers.pairs),
            Route("/api/areas", answers.areas),
            Route("/api/pairs/{number:int}", answers.pair),
            Route("/api/pairs/{number:int}", answers.decide, methods=["POST"]),
            Route("/api/pairs/{number:int}/thumbnail", answers.thumbnail),
            Route("/api/pairs/{number:int}/cells", answers.cells),
            Route("/api/pairs/{number:int}/picture/{which}", answers.picture),
            Route("/api/pairs/{number:int}/window/{which}", answers.window),
            Route("/api/pairs/{number:int}/mask", answers.mask),
            Route("/api/pairs/{number:int}/mask", answers.set_mask, methods=["PUT"]),
            Route("/api/pairs/{number:int}/mask", answers.unset_mask, methods=["DELETE"]),
            Route("/api/statistics", answers.statistics),
            Route("/api/statistics/{name}.png", answers.plot),
        ],
        exception_handlers={LocalblurError: _complain, OSError: _complain, HTTPException: _complain_http},
    )
    return Guard(app, token, port, ticket)


class Answers:
    """One method per route."""

    def __init__(self, curation: Curation) -> None:
        self._curation = curation
        self._picture = view_pictures.cached(
            KEPT_BYTES, lambda number, which: view_pictures.picture(curation, number, which)
        )
        self._thumbnail = view_pictures.cached(KEPT_BYTES, lambda number: view_pictures.thumbnail(curation, number))
        self._lengths = LengthSampler(most=LENGTHS_SAMPLED)
        folder = importlib.resources.files(PAGE_PACKAGE)
        self._page_files = {
            entry.name: entry.read_bytes() for entry in folder.iterdir() if _suffix(entry.name) in PAGE_TYPES
        }

    def page(self, _request: Request) -> Response:
        return self._page_file("index.html")

    def page_file(self, request: Request) -> Response:
        return self._page_file(request.path_params["name"])

    def _page_file(self, name: str) -> Response:
        if name not in self._page_files:
            raise HTTPException(404, f"there is no file {name!r}")
        return Response(self._page_files[name], media_type=PAGE_TYPES[_suffix(name)])

    def file(self, _request: Request) -> Response:
        curation = self._curation
        header = curation.stored.header
        return JSONResponse(
            {
                "name": curation.path.name,
                "path": str(curation.path.resolve()),
                "identity": curation.identity,
                "user": curation.user,
                "read_only": curation.user is None,
                "count": len(curation.places),
                "source": header.source,
                "licence": header.licence,
                "creator": header.creator,
                "doubtful_below": curation.doubtful_below,
                "pixels": f"{header.bit_depth}-bit, {header.encoding}",
            }
        )

    def pairs(self, _request: Request) -> Response:
        return JSONResponse(self._curation.table())

    def pair(self, request: Request) -> Response:
        return self._state_of(_number(request))

    def areas(self, _request: Request) -> Response:
        return JSONResponse({"blurred_share": self._curation.blurred_shares()})

    def thumbnail(self, request: Request) -> Response:
        return Response(self._thumbnail(_number(request)), media_type="image/jpeg", headers=FOREVER)

    def cells(self, request: Request) -> Response:
        return Response(view_pictures.cells(self._curation, _number(request)), media_type="image/png", headers=FOREVER)

    def picture(self, request: Request) -> Response:
        content = self._picture(_number(request), request.path_params["which"])
        return Response(content, media_type="image/jpeg", headers=FOREVER)

    def window(self, request: Request) -> Response:
        try:
            y, x, height, width = (int(request.query_params[key]) for key in ("y", "x", "height", "width"))
        except (KeyError, ValueError) as error:
            raise LocalblurError("a window needs whole numbers y, x, height and width") from error
        content = view_pictures.window(
            self._curation, _number(request), request.path_params["which"], (y, x, height, width)
        )
        return Response(content, media_type="image/png", headers=FOREVER)

    def mask(self, request: Request) -> Response:
        content = view_pictures.packed_mask(self._curation, _number(request))
        headers = FOREVER | {"content-encoding": "gzip"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def decide(self, request: Request) -> Response:
        number = _number(request)
        change = await _read_json(request)
        unknown = [key for key in change if key not in ("verdict", "note")]
        if unknown or not change or not all(isinstance(value, str) for value in change.values()):
            raise LocalblurError(f"a change has texts verdict or note or both, got {json.dumps(change)[:100]}")
        await run_in_threadpool(self._curation.decide, number, change.get("verdict"), change.get("note"))
        return self._state_of(number)

    async def set_mask(self, request: Request) -> Response:
        number = _number(request)
        scene = self._curation.place(number).scene
        packed = await _read_body(request, scene.height * scene.width + JSON_LIMIT_BYTES)
        mask = self._curation.unpacked_mask(number, packed)
        await run_in_threadpool(self._curation.set_mask, number, mask, request.headers.get("if-match", ""))
        return self._state_of(number)

    async def unset_mask(self, request: Request) -> Response:
        number = _number(request)
        await run_in_threadpool(self._curation.set_mask, number, None, request.headers.get("if-match", ""))
        return self._state_of(number)

    def statistics(self, _request: Request) -> Response:
        from localblur.datasets.curation.plots import PLOTS  # matplotlib is slow to import

        with PairsFile(self._curation.path) as pairs:
            content = measure_pairs(pairs, self._lengths).plain()
        return JSONResponse(content | {"plots": sorted(PLOTS)})

    def plot(self, request: Request) -> Response:
        from localblur.datasets.curation.plots import PLOTS, plot_png

        name = request.path_params["name"]
        if name not in PLOTS:
            raise HTTPException(404, f"there is no plot {name!r}")
        with PairsFile(self._curation.path) as pairs:
            return Response(plot_png(measure_pairs(pairs, self._lengths), name), media_type="image/png")

    def _state_of(self, number: int) -> Response:
        row = self._curation.row(number)
        return JSONResponse(row | {"blurred_share": self._curation.blurred_share(number)})


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


def _number(request: Request) -> int:
    return int(request.path_params["number"])


async def _read_body(request: Request, limit_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit_bytes:
            raise HTTPException(413, f"the request is longer than {limit_bytes} bytes")
    return bytes(content)


async def _read_json(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise HTTPException(415, "changes are sent as application/json")
    try:
        content = json.loads(await _read_body(request, JSON_LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise LocalblurError(f"the request is no JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise LocalblurError(f"the request must be a JSON object, got {type(content).__name__}")
    return content


async def _complain(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
    if isinstance(error, OSError):
        logger.warning("%s", one_line(error))
        status = 507
    return JSONResponse({"error": one_line(error)}, status)


async def _complain_http(_request: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, str(error))
    return JSONResponse({"error": detail}, status)
