nsctl run --network container:web ip addr
