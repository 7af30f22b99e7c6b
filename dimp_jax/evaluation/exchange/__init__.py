"""Results to and from others: servers, other trackers' results, the GOT-10k toolkit."""
