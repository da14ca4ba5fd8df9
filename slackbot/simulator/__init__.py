"""A local Slack workspace and a local Noxus on real sockets, for the demo, the tests and the benchmarks."""
