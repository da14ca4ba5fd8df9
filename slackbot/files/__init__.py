"""Files between Slack and the agent, both ways: which of them pass, and what people hear about the others."""
