"""kill -9 of the database server, of workers and of drivers on it: all that it answered for is there."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.arena import Arena, either, kill_driver, kill_worker
from tests.postgres import needs_postgres, server

pytestmark = [pytest.mark.slow, needs_postgres]


@pytest.mark.faults
@pytest.mark.parametrize("kills", [50])
def test_a_killed_server_loses_and_doubles_nothing(tmp_path, kills):
    with server() as postgres:

        def kill_postgres(arena: Arena, rng: random.Random) -> str | None:
            arena.look()
            postgres.kill()
            time.sleep(rng.uniform(0.0, 1.0))
            postgres.start()
            return "PostgreSQL"

        arena = Arena(tmp_path, lambda place: postgres.new_ledger(), seeds=40 if kills > 20 else 4)
        arena.storm(kills, 30 + kills, either({kill_postgres: 4, kill_worker: 2, kill_driver: 1}))
