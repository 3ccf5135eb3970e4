"""The edge: how many orders a second one Trading Engine Server takes over REST and WebSocket, how long they take at several loads, and what
subscribers of market data cost it."""

from pathlib import Path

from benchmarks import rest, websocket
from benchmarks.cpu import bottleneck, cpu_note
from benchmarks.figures import Figure, Section, latency_figures
from benchmarks.processes import SYMBOLS, Parts, Servers, run_load, servers

CLIENTS = 50
REST_LOADS = (500.0, 1_000.0, 2_500.0)
"""Orders a second, of all clients together."""
WEBSOCKET_LOADS = (1_000.0, 2_500.0, 3_750.0, 5_000.0, 7_500.0)
IMMEDIATE_LOAD = 7_500.0
SUBSCRIBERS = 200
CHANNELS = ("book", "trades")
CHANGES_PER_SECOND = 50.0
"""So that each interval of market data has something to tell."""
SECONDS = 8.0
QUICK_SECONDS = 1.5
WARM_UP_S = 1.0


def run(quick: bool, folder: Path) -> Section:
    seconds = QUICK_SECONDS if quick else SECONDS
    figures: list[Figure] = []
    with servers(folder, Parts(users=CLIENTS)) as running:
        tokens = [running.login(username) for username in running.usernames]
        figures += rest.measured(running, f"REST, {CLIENTS} clients, closed loop", tokens, seconds, None)
        figures += websocket.measured(running, tokens[:10], 50, seconds)
        figures += websocket.measured(running, tokens[:10], 50, seconds, immediate=True)
        for load in WEBSOCKET_LOADS:
            figures += paced_websocket(running, tokens, load, seconds)
        figures += paced_websocket(running, tokens, IMMEDIATE_LOAD, seconds, immediate=True)
        figures += subscribers(running, tokens[0], seconds)
    for load in REST_LOADS:
        # What a paced client places stays: so each load has a venue of its own.
        with servers(folder, Parts(users=CLIENTS)) as running:
            tokens = [running.login(username) for username in running.usernames]
            figures += rest.measured(running, f"REST at {load:,.0f} orders/s", tokens, seconds, load / CLIENTS)
    return Section("api", "The edge: orders by REST and WebSocket, and market data", tuple(figures))


def paced_websocket(
    running: Servers, tokens: list[str], load: float, seconds: float, *, immediate: bool = False
) -> list[Figure]:
    options = {
        "port": running.port,
        "tokens": tokens,
        "symbols": SYMBOLS,
        "seconds": seconds,
        "per_second": load / len(tokens),
        "immediate": immediate,
        "warm_up_s": WARM_UP_S,
        "pids": running.pids,
    }
    result = run_load("benchmarks.websocket_load", options, seconds + 60)
    cpu = result["cpu"]
    name = f"WebSocket at {load:,.0f} orders/s" + (", immediate or cancel" if immediate else "")
    requests = result["place"] + result["cancel"]
    return [
        Figure(
            f"{name}: placed{'' if immediate else ' and canceled'}",
            result["place"] / cpu["elapsed"],
            "/s",
            cpu_note(cpu, requests),
        ),
        *latency_figures(name, result["latencies_ns"], bottleneck(cpu))[:2],
        *([Figure(f"{name}: refused", result["refused"] / cpu["elapsed"], "/s")] if result["refused"] else []),
    ]


def subscribers(running: Servers, token: str, seconds: float) -> list[Figure]:
    options = {
        "port": running.port,
        "tokens": [token],
        "symbols": SYMBOLS[:1],
        "channels": CHANNELS,
        "subscribers": SUBSCRIBERS,
        "per_second": CHANGES_PER_SECOND,
        "seconds": seconds,
        "warm_up_s": WARM_UP_S,
        "pids": running.pids,
    }
    result = run_load("benchmarks.subscribers_load", options, 2 * seconds + 60)
    alone, followed = result["alone"]["cpu"], result["followed"]["cpu"]
    share = followed["TES"] / followed["elapsed"] - alone["TES"] / alone["elapsed"]
    frames = result["followed"]["frames"] / followed["elapsed"] / SUBSCRIBERS
    name = f"{SUBSCRIBERS} subscribers of {' and '.join(CHANNELS)}"
    return [
        Figure(f"{name}: more of a core", 100 * share, "%", bottleneck(followed)),
        Figure(f"{name}: messages to each", frames, "/s"),
    ]
