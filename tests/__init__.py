"""What slackbot promises, checked."""
