"""The bot, broken on purpose: killed at every step of its work, and surrounded by trouble."""
