"""The page and what it asks for: the addresses of the server, as a Starlette application."""

import contextlib
import json
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from dimp_jax.evaluation.exchange import formats
from dimp_jax.media import video_writer
from dimp_jax.media.images import InputError
from dimp_jax.web import guard
from dimp_jax.web.clips import jpeg, told
from dimp_jax.web.session import Busy, Session

FILES = Path(__file__).parent
PAGE = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js", "/plot.js": "plot.js"}
MOST_JSON_BYTES = 10_000


def make(session: Session, *, names, max_upload_mb: float, about: dict) -> Starlette:
    """The application; it closes the session when it is shut down.

    Args:
      names: `guard.names_of` the address it listens at.
      about: what the page says of the tracker, as JSON types.
    """
    most_bytes = max_upload_mb * 1e6
    too_large = f"larger than {max_upload_mb:g} MB: cut it, or start with a larger --max-upload-mb"

    async def settings(request):
        encoder = video_writer.encoder()
        video = {"plays": encoder.plays, "codec": str(encoder)}
        now = {"ready": session.ready, "running": session.running}
        return JSONResponse(about | now | {"max_upload_mb": max_upload_mb, "video": video})

    async def add_demo(request):
        return JSONResponse((await run_in_threadpool(session.add_demo)).described())

    async def add_upload(request):
        name = request.query_params.get("name", "video")
        if int(request.headers.get("content-length", 0)) > most_bytes:
            raise HTTPException(413, f"{name}: {too_large}")
        with session.upload(name) as path:
            received = 0
            try:
                with path.open("wb") as file:
                    async for part in request.stream():
                        received += len(part)
                        if received > most_bytes:
                            raise HTTPException(413, f"{name}: {too_large}")
                        await run_in_threadpool(file.write, part)
            except ClientDisconnect as error:
                raise HTTPException(400, f"{name}: it did not come to its end") from error
            clip = await run_in_threadpool(session.add_upload, path)
        return JSONResponse(clip.described())

    async def first_frame(request):
        return _picture(_found(session.clips, request).first)

    async def start(request):
        asked = await _json(request)
        if asked.get("clip") not in session.clips:
            raise HTTPException(404, "the clip is no longer here: choose it again")
        return JSONResponse({"id": session.start(asked["clip"], asked.get("box")).id})

    async def progress(request):
        job = _found(session.jobs, request)
        return JSONResponse(job.progress() | {"ready": session.ready})

    async def cancel(request):
        _found(session.jobs, request).cancelled.set()
        return JSONResponse({})

    async def latest(request):
        job = _found(session.jobs, request)
        if job.latest is None:
            raise HTTPException(404, "nothing is tracked yet")
        return _picture(job.latest)

    async def video(request):
        job = _found(session.jobs, request)
        if not job.ended or not job.video.is_file():
            raise HTTPException(404, "there is no video")
        return FileResponse(job.video, media_type="video/mp4")

    async def boxes(request):
        job, name = _found(session.jobs, request), request.path_params["format"]
        if name not in formats.FORMATS:
            raise HTTPException(404, f"no format {name}: expected {', '.join(formats.FORMATS)}")
        if not job.ended or not job.boxes:
            raise HTTPException(404, "there are no boxes")
        file, text = await run_in_threadpool(job.files, name)
        kind = "application/json" if name == "coco" else "text/plain; charset=utf-8"
        attached = f"attachment; filename*=utf-8''{quote(file)}"
        return Response(text, media_type=kind, headers={"content-disposition": attached})

    @contextlib.asynccontextmanager
    async def lifespan(_):
        try:
            yield
        finally:
            session.close()

    routes = [
        *(Route(path, _file(name)) for path, name in PAGE.items()),
        Route("/settings", settings),
        Route("/clips/demo", add_demo, methods=["POST"]),
        Route("/clips", add_upload, methods=["POST"]),
        Route("/clips/{id}/first.jpg", first_frame),
        Route("/jobs", start, methods=["POST"]),
        Route("/jobs/{id}", progress),
        Route("/jobs/{id}/cancel", cancel, methods=["POST"]),
        Route("/jobs/{id}/latest.jpg", latest),
        Route("/jobs/{id}/video.mp4", video),
        Route("/jobs/{id}/boxes/{format}", boxes),
    ]
    answers = {
        HTTPException: lambda _, error: _refused(error.status_code, error.detail),
        InputError: lambda _, error: _refused(422, str(error)),
        Busy: lambda _, error: _refused(409, str(error)),
        OSError: lambda _, error: _refused(507, told(error, session.folder)),
    }
    return Starlette(
        routes=routes,
        middleware=[Middleware(guard.Guard, names=names)],
        exception_handlers=answers,
        lifespan=lifespan,
    )


def _file(name):
    async def answer(request):
        return FileResponse(FILES / name)

    return answer


def _found(kept, request):
    found = kept.get(request.path_params["id"])
    if found is None:
        raise HTTPException(404, "no longer here: the last four clips and results are kept")
    return found


def _picture(image):
    return Response(jpeg(image), media_type="image/jpeg")


def _refused(status, text):
    return JSONResponse({"error": " ".join(text.split())}, status)


async def _json(request) -> dict:
    if int(request.headers.get("content-length", MOST_JSON_BYTES + 1)) > MOST_JSON_BYTES:
        raise HTTPException(413, "expected a short JSON text")
    try:
        asked = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"expected JSON ({error})") from error
    if not isinstance(asked, dict):
        raise HTTPException(400, "expected a JSON object")
    return asked
