"""The reply as it grows in Slack: paced edits, rollover into further parts, a last flush."""
