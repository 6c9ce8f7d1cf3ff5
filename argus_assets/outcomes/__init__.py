"""What the outside is told of a batch: events, alerts, their signatures. Pure: sending and keeping are in resources/."""
