"""Everything that knows Slack: its payloads, its Web API, its two ways of delivering events."""
