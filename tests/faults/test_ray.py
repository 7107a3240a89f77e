"""Nodes of a Ray cluster killed under a study: what was recorded stays, what was cut short is trained again."""

from __future__ import annotations

import os
import random
import signal
import warnings

import pytest

from tests.faults.arena import Arena, either, kill_driver
from tests.faults.test_kills import sqlite

#: A node that is gone is noticed in seconds.
ALERT = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
COMMON = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.mark.faults
def test_killed_nodes_lose_and_double_nothing(tmp_path, monkeypatch):
    arena = Arena(tmp_path, sqlite, seeds=40)
    for name, value in arena.surroundings().items():  # nodes hand them on to their workers
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        utilities = pytest.importorskip("ray.cluster_utils", reason="needs Ray: pip install 'isoloss[ray]'")
        cluster = utilities.Cluster(initialize_head=True, head_node_args={**COMMON, "_system_config": ALERT})
        try:
            for _ in range(3):
                cluster.add_node(**COMMON)
            arena.words = ("--engine", "ray", "--engine-option", f"address={cluster.address}", "--device", "cpu")

            def kill_node(arena: Arena, rng: random.Random) -> str | None:
                nodes = [node for node in cluster.list_all_nodes() if not node.is_head()]
                victim = rng.choice(nodes)
                for found in victim.live_processes():
                    os.kill(found[1].pid, signal.SIGKILL)
                cluster.remove_node(victim, allow_graceful=False)
                cluster.add_node(**COMMON, wait=False)
                return "Ray node"

            arena.storm(12, 12, either({kill_node: 5, kill_driver: 1}))
        finally:
            cluster.shutdown()
