"""`python -m tests.bench`: every benchmark, one after the other. The guest's stands apart: tests.bench.bench_guest."""

from tests.bench import (
    bench_capture,
    bench_console,
    bench_pvscsi,
    bench_queues,
    bench_replay,
    bench_rings,
    bench_tools,
    bench_transport,
    bench_vmtools,
)

for bench in (
    bench_rings,
    bench_queues,
    bench_capture,
    bench_transport,
    bench_replay,
    bench_pvscsi,
    bench_console,
    bench_vmtools,
    bench_tools,
):
    bench.main()
