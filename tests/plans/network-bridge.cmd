nsctl run --network bridge ip addr
