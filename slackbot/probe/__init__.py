"""Questions to the real Noxus and the real Slack that no documentation answers, beside what the simulators assume."""
