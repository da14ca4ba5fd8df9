"""Text rules: what people write becomes readable, what the agent writes becomes safe and fits Slack. All pure."""
