"""The limit that decisions are measured against: the smallest routes of the same framework, on the same server.

`/noop` answers a constant; `/mget` asks the store for two keys first. Neither authenticates anybody.
"""

import os

import redis.asyncio
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response


def factory() -> FastAPI:
    """The application."""
    app, client = FastAPI(), redis.asyncio.Redis.from_url(os.environ["BASELINE_REDIS_URL"])

    @app.get("/noop")
    async def noop() -> Response:
        return JSONResponse({"allow": True})

    @app.get("/mget")
    async def mget(request: Request) -> Response:
        user = request.query_params.get("userId")
        found = await client.mget(f"baseline:{user}", "baseline:catalog")
        return JSONResponse({"allow": found[0] is not None})

    return app
