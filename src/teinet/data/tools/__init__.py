"""What can be done with a list of clips: inspect, check, shrink, convert."""
