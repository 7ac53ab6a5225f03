"""Tools for lists of clips: inspect, check, shrink, convert."""
